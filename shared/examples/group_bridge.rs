//! A bridge: what is said in one group is said in the other as well, with the name of who said it, each once and in order.
//! Its user must be a member of both.
//!
//! ```sh
//! SIMPLE_IM_PHONE=13812652251 SIMPLE_IM_PASSWORD=… cargo run -p shared --example group_bridge 9 12
//! ```

use std::{collections::HashMap, env, error::Error};

use shared::{
    client::{Client, Delivery, Event, Options, SendError, http::Api},
    ids::{Conversation, Device, GroupId, MessageId, UserId},
    message::{Target, WantedAck},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let groups: Vec<GroupId> = env::args().skip(1).map(|id| id.parse()).collect::<Result<_, _>>()?;
    let &[one, other] = groups.as_slice() else { return Err("expected two groups, as 9 12".into()) };
    let server = env::var("SIMPLE_IM_SERVER").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let (phone, password) = (env::var("SIMPLE_IM_PHONE")?, env::var("SIMPLE_IM_PASSWORD")?);
    let api = Api::any(server.split(','));
    let login = api.login(&phone, &password, Some("bridge")).await?;
    let options = Options { auto_ack: false, ..Options::of_login(&api, &login, Device::new("bridge")?) };
    let (client, mut events) = Client::connect(options).await?;
    let mut names = Names { api, token: login.token.expose().to_owned(), known: HashMap::new() };
    eprintln!("user {} bridges {one} and {other}", client.user());
    while let Some(event) = events.next().await {
        match event {
            Event::Delivery(delivery) => {
                let to = match delivery.conversation {
                    Conversation::Group(group) if group == one => Some(other),
                    Conversation::Group(group) if group == other => Some(one),
                    _ => None,
                };
                if let Some(to) = to {
                    pass_on(&client, &mut names, &delivery, to).await?;
                }
                client.ack(&delivery).await?;
            }
            Event::Replaced => return Err("this bridge has been started elsewhere".into()),
            Event::LoginRefused(refused) => return Err(refused.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Says it there. What the bridge itself has said is not passed back.
async fn pass_on(
    client: &Client,
    names: &mut Names,
    delivery: &Delivery,
    to: GroupId,
) -> Result<(), Box<dyn Error>> {
    let (Some(text), false) = (delivery.text(), delivery.from == client.user()) else { return Ok(()) };
    let said = format!("{}: {text}", names.of(delivery.from).await?);
    // The same at every try, so that a second one stores nothing twice. The name belongs to the content: it is kept for
    // the time of this run, and a new one makes a new message of what a crash has left unacknowledged.
    let id = MessageId::new(&format!("bridge-{}-{}", delivery.conversation, delivery.seq))?;
    match client.begin_with(id, Target::Group(to), &said, WantedAck::Stored).await?.await {
        Ok(_) => Ok(()),
        Err(SendError::Refused(refused)) => {
            eprintln!("not passed on to {to}: {refused}");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

struct Names {
    api: Api,
    token: String,
    known: HashMap<UserId, String>,
}

impl Names {
    async fn of(&mut self, user: UserId) -> Result<String, Box<dyn Error>> {
        if let Some(name) = self.known.get(&user) {
            return Ok(name.clone());
        }
        let found = self.api.user_by_id(&self.token, user).await?;
        let name = found.map_or_else(|| format!("user {user}"), |user| user.name);
        self.known.insert(user, name.clone());
        Ok(name)
    }
}
