//! The users of a run: registered, logged in on one or two devices, in pairs and groups.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use shared::client::http::Api;
use shared::client::{Backoff, Client, Events, Options as ClientOptions};
use shared::ids::{Conversation, Device, UserId};
use shared::message::{Ask, Target};

use super::Options;
use super::history::{DeviceNo, History, TalkNo};
use super::random::Random;
use super::world::World;

/// Messages that one client has in flight at most.
pub const WINDOW: usize = 64;
/// Events that wait for the application, and for a slow one: a delivery is acknowledged once it is among them.
const EVENTS: usize = 64;
const SLOW_EVENTS: usize = 8;
const PASSWORD: &str = "chaos-password";
/// Registrations and logins under way.
const AT_ONCE: usize = 8;
/// Every so-manieth user has a second device, every so-manieth device is slow.
const TWO_DEVICES: usize = 3;
const SLOW: usize = 7;
/// And every so-manieth goes away and comes back.
const LEAVES: usize = 5;
/// Members of a group beside its creator.
const MEMBERS: (u64, u64) = (4, 7);

/// Everybody.
#[derive(Debug)]
pub struct People {
    /// One a device, by its number.
    pub devices: Vec<Person>,
}

/// One device.
#[derive(Debug)]
pub struct Person {
    /// Its client; another one after each time it was away.
    pub client: Arc<Mutex<Client>>,
    /// How it connects.
    pub options: ClientOptions,
    /// Whose it is.
    pub user: UserId,
    /// It goes away now and then, forgets what it has not saved, and comes back.
    pub leaves: bool,
    /// Its number.
    pub device: DeviceNo,
    /// It takes its deliveries slowly, and now and then not at all for a while.
    pub slow: bool,
    /// Where it writes.
    pub talks: Vec<(TalkNo, Target)>,
}

impl People {
    /// All clients as they are now.
    pub fn clients(&self) -> Vec<Client> {
        self.devices.iter().map(Person::client).collect()
    }
}

impl Person {
    /// Its client as it is now.
    pub fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Registers and connects everybody; what each device is told comes beside.
pub async fn gather(
    options: &Options,
    world: &World,
    history: &mut History,
) -> Result<(People, Vec<Events>)> {
    let (edges, apis) = (&world.edges()?, &world.apis()?);
    // Users have one device or two: their devices' numbers are known before they connect.
    let mut first = 0;
    let users = (0..options.pairs * 2).map(|number| {
        let devices = first..first + if number.is_multiple_of(TWO_DEVICES) { 2 } else { 1 };
        first = devices.end;
        (number, devices)
    });
    let connected = stream::iter(users).map(|(number, devices)| user(number, devices, edges, apis));
    let users: Vec<Vec<Connected>> = connected.buffered(AT_ONCE).try_collect().await?;
    let (mut devices, mut events, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for user in users {
        ids.extend(user.first().map(|it| it.client.user()));
        for it in user {
            let number = devices.len();
            let (slow, leaves) = (is_slow(number), number % LEAVES == LEAVES - 1);
            let name = format!("{}/{}", it.client.user(), it.name);
            let device = history.device(it.client.user(), name, leaves);
            let (user, client) = (it.client.user(), Arc::new(Mutex::new(it.client)));
            let options = it.options;
            devices.push(Person { client, options, user, device, slow, leaves, talks: Vec::new() });
            events.push(it.events);
        }
    }
    for pair in ids.chunks_exact(2) {
        let talk = history.talk(Conversation::direct(pair[0], pair[1]), pair);
        for person in &mut devices {
            match pair.iter().position(|id| *id == person.user) {
                Some(0) => person.talks.push((talk, Target::User(pair[1]))),
                Some(_) => person.talks.push((talk, Target::User(pair[0]))),
                None => {}
            }
        }
    }
    let mut random = Random::part(options.seed, 2);
    for number in 0..options.groups {
        group(number, &ids, &mut devices, history, &mut random).await?;
    }
    Ok((People { devices }, events))
}

struct Connected {
    client: Client,
    events: Events,
    options: ClientOptions,
    name: String,
}

fn is_slow(device: usize) -> bool {
    device % SLOW == SLOW - 1
}

async fn user(
    number: usize,
    numbers: Range<usize>,
    edges: &[[String; 3]],
    apis: &[Api],
) -> Result<Vec<Connected>> {
    let phone = format!("1{number:09}");
    let http = |at: usize| apis[at % apis.len()].clone();
    http(number).register(&phone, "chaos", PASSWORD).await.context("registering")?;
    let mut devices = Vec::new();
    for (device, in_all) in numbers.enumerate() {
        let (name, at) = (format!("d{}", device + 1), number + device);
        // Another node's HTTP: when a client's node is gone, there is one to ask where to go.
        let api = http(at + 1);
        let login = api.login(&phone, PASSWORD, Some(&name)).await.context("logging in over HTTP")?;
        let options = ClientOptions {
            server: Some(edges[at % edges.len()][0].clone()),
            window: WINDOW,
            events: if is_slow(in_all) { SLOW_EVENTS } else { EVENTS },
            resend_after: Duration::from_secs(5),
            heartbeat: Duration::from_secs(5),
            heartbeat_answer: Duration::from_secs(5),
            first_login: Duration::from_secs(120),
            backoff: Backoff { first: Duration::from_millis(200), max: Duration::from_secs(2) },
            ..ClientOptions::of_login(&api, &login, Device::new(&name)?)
        };
        let (client, events) = Client::connect(options.clone()).await.context("connecting")?;
        devices.push(Connected { client, events, options, name });
    }
    Ok(devices)
}

async fn group(
    number: usize,
    ids: &[UserId],
    devices: &mut [Person],
    history: &mut History,
    random: &mut Random,
) -> Result<()> {
    let mut users = ids.to_vec();
    random.shuffle(&mut users);
    users.truncate(usize::try_from(random.between(MEMBERS.0, MEMBERS.1))? + 1);
    let creator = devices.iter().find(|it| Some(&it.user) == users.first()).context("nobody is there")?;
    let ask = Ask::CreateGroup {
        name: format!("chaos {number}"),
        members: users.iter().skip(1).copied().collect(),
    };
    let made = creator.client().request(ask).await.context("making a group")?;
    history.requests += 1;
    let group = made.group_id.context("a group was made and has no id")?;
    let talk = history.talk(Conversation::Group(group), &users);
    for person in devices.iter_mut().filter(|it| users.contains(&it.user)) {
        person.talks.push((talk, Target::Group(group)));
    }
    Ok(())
}
