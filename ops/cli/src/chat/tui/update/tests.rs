//! Steps of the state, one after the other, without a screen or a server.

use bytes::Bytes;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use shared::{
    client::{Content, DeliveryKind, Level, Receipt, Refused},
    command::{Code, RequestName},
    ids::Device,
};

use super::*;
use crate::chat::{
    clock::Clock,
    tui::{
        dialog::Dialog,
        model::{Line, talk::What},
    },
};

mod own;

const ME: UserId = UserId(1);
const BOB: UserId = UserId(2);
const TALK: Conversation = Conversation::Direct(ME, BOB);

fn model() -> Model {
    let mut model = Model::new(ME, "ids".into(), (80, 24), Clock::utc());
    step(&mut model, Msg::Server(Event::Connected { server: "e1:1987".into(), away: Default::default() }));
    step(&mut model, Msg::Person(BOB, Ok(Some(user(2, "Bob")))));
    model
}

fn step(model: &mut Model, msg: Msg) -> Vec<Effect> {
    update(model, msg)
}

fn user(id: i64, name: &str) -> User {
    User {
        id: UserId(id),
        name: name.into(),
        phone: format!("1380000000{id}"),
        avatar: String::new(),
        deleted: 0,
    }
}

fn said(from: UserId, conversation: Conversation, seq: i64, text: &str) -> Delivery {
    Delivery {
        kind: DeliveryKind::Message,
        conversation,
        seq: Seq(seq),
        from,
        device: Some(Device::new("phone").unwrap()),
        id: MessageId::new(&format!("x{seq}")).unwrap(),
        ts: 1_444_719_450 + seq,
        content: Content::Text(text.into()),
        raw: Bytes::new(),
    }
}

fn asked(name: RequestName, from: UserId, conversation: Conversation, seq: i64, keys: &str) -> Delivery {
    let content = Content::Request { name, table: keys.parse().unwrap() };
    Delivery { kind: DeliveryKind::Request, content, ..said(from, conversation, seq, "") }
}

fn comes(model: &mut Model, delivery: Delivery) -> Vec<Effect> {
    step(model, Msg::Server(Event::Delivery(delivery)))
}

fn key(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    step(model, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn ctrl(model: &mut Model, c: char) -> Vec<Effect> {
    step(model, Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)))
}

fn types(model: &mut Model, text: &str) -> Vec<Effect> {
    text.chars().for_each(|c| drop(key(model, KeyCode::Char(c))));
    key(model, KeyCode::Enter)
}

/// Chooses this of the menu that is open.
fn choose(model: &mut Model, label: &str) -> Vec<Effect> {
    loop {
        let Some(Dialog::Menu(menu)) = &model.dialog else { panic!("no menu: {:?}", model.dialog) };
        if menu.choices[menu.at].label.starts_with(label) {
            return key(model, KeyCode::Enter);
        }
        assert!(menu.at + 1 < menu.choices.len(), "no {label} in {menu:#?}");
        key(model, KeyCode::Down);
    }
}

#[test]
fn a_message_goes_from_the_keyboard_to_its_place() {
    let mut model = model();
    comes(&mut model, said(BOB, TALK, 1, "hello"));
    assert_eq!(model.talks[&TALK].unread, 1);
    let effects = key(&mut model, KeyCode::Enter);
    assert_eq!(model.open, Some(TALK));
    assert!(effects.contains(&Effect::Read(TALK, Seq(1))), "{effects:?}");
    assert!(effects.contains(&Effect::History(TALK, Target::User(BOB), None)), "{effects:?}");
    assert_eq!(model.talks[&TALK].unread, 0);

    let effects = types(&mut model, "hi, 你好");
    let Effect::Send { conversation, to, id, text, ack } = &effects[0] else { panic!("{effects:?}") };
    assert_eq!(
        (conversation, to, text.as_str(), ack),
        (&TALK, &Target::User(BOB), "hi, 你好", &WantedAck::Receipts)
    );
    assert_eq!((model.unsent(), model.talks[&TALK].draft.text().is_empty()), (1, true));
    step(&mut model, Msg::Sent(TALK, id.clone(), Ok(Stored { seq: Seq(2), ts: 1_444_719_460 })));
    assert_eq!(model.unsent(), 0);
    assert_eq!(model.talks[&TALK].items[&Seq(2)].what, What::Text("hi, 你好".into()));

    let receipt = |level| {
        let (seq, by) = (Some(Seq(2)), Some(BOB));
        Msg::Server(Event::Receipt(Receipt { id: id.clone(), level, seq, group: None, by, device: None }))
    };
    step(&mut model, receipt(Level::Delivered));
    assert_eq!(model.talks[&TALK].items[&Seq(2)].delivered.len(), 1);
    step(&mut model, receipt(Level::Read));
    assert_eq!(model.talks[&TALK].items[&Seq(2)].read.len(), 1);
}

#[test]
fn what_was_refused_can_be_sent_again_or_deleted() {
    let mut model = model();
    comes(&mut model, said(BOB, TALK, 1, "hello"));
    ctrl(&mut model, 'n');
    let effects = types(&mut model, "one");
    let Effect::Send { id, .. } = effects[0].clone() else { panic!("{effects:?}") };
    let refused = Refused {
        code: Some(Code::Blocked),
        reason: "blocked by the other side".into(),
        id: id.to_string(),
        t: None,
    };
    step(&mut model, Msg::Sent(TALK, id.clone(), Err(refused.clone().into())));
    assert_eq!(model.talks[&TALK].pending[0].refused.as_deref(), Some("blocked by the other side"));
    ctrl(&mut model, 'o');
    let effects = choose(&mut model, "Send again");
    let Effect::Send { id: again, text, .. } = effects[0].clone() else { panic!("{effects:?}") };
    assert!(again != id && text == "one", "a refused id stays refused");
    step(&mut model, Msg::Sent(TALK, again, Err(refused.into())));
    ctrl(&mut model, 'o');
    choose(&mut model, "Delete");
    assert!(model.talks[&TALK].pending.is_empty());
}

#[test]
fn leaving_with_something_unsent_asks_first() {
    let mut model = model();
    assert_eq!(ctrl(&mut model, 'x'), [Effect::Quit]);
    comes(&mut model, said(BOB, TALK, 1, "hello"));
    ctrl(&mut model, 'n');
    types(&mut model, "on its way");
    assert_eq!(ctrl(&mut model, 'x'), []);
    assert!(model.notice.as_ref().unwrap().text.contains("1 message not stored yet"));
    key(&mut model, KeyCode::Char('a'));
    assert_eq!(ctrl(&mut model, 'x'), [], "another key in between begins anew");
    assert_eq!(ctrl(&mut model, 'c'), [Effect::Quit]);
}

#[test]
fn requests_are_answered_from_the_people() {
    let mut model = model();
    let effects = comes(&mut model, asked(RequestName::AddContact, BOB, TALK, 1, "message = \"it's me\""));
    assert!(effects.contains(&Effect::Contacts(0)) && asks(&model, BOB), "{effects:?}");
    ctrl(&mut model, 'r');
    choose(&mut model, "? Bob");
    let effects = choose(&mut model, "Accept");
    let accept = Ask::AcceptContact { to: BOB };
    assert_eq!(effects, [Effect::Ask(accept.clone())]);
    let success = Success { seq: Some(Seq(2)), contact_version: Some(1), group_id: None };
    assert_eq!(step(&mut model, Msg::Done(accept, Ok(success), 1_444_719_460)), [Effect::Contacts(0)]);
    assert!(!asks(&model, BOB));
    let contacts = Contacts { version: 1, users: vec![user(2, "Bob")], more: false };
    step(&mut model, Msg::Contacts(Ok(contacts)));
    ctrl(&mut model, 'r');
    let Some(Dialog::Menu(menu)) = &model.dialog else { panic!("{:?}", model.dialog) };
    assert_eq!(menu.choices[0].label, "Bob (13800000002)");
    // No longer: a contact that was ended.
    let ended = User { deleted: 1, ..user(2, "Bob") };
    step(&mut model, Msg::Contacts(Ok(Contacts { version: 2, users: vec![ended], more: false })));
    assert!(!model.people[&BOB].contact && model.contacts == 2);
}

#[test]
fn requests_and_blocks_of_other_devices_are_known() {
    let mut model = model();
    let request =
        |id, name, own| Request { user: user(id, name), own, message: "hi".into(), ts: 1_444_719_450 };
    step(&mut model, Msg::Requests(Ok(vec![request(2, "Bob", false), request(3, "Carol", true)])));
    step(&mut model, Msg::Blocked(Ok(vec![user(4, "Mallory")])));
    assert!(asks(&model, BOB) && !asks(&model, UserId(3)));
    ctrl(&mut model, 'r');
    let Some(Dialog::Menu(menu)) = &model.dialog else { panic!("{:?}", model.dialog) };
    let labels: Vec<&str> = menu.choices.iter().map(|choice| choice.label.as_str()).collect();
    assert_eq!(labels[..2], ["? Bob asks to become a contact", "x Mallory is blocked"]);
    choose(&mut model, "x Mallory");
    let unblock = Ask::Unblock { to: UserId(4) };
    assert_eq!(choose(&mut model, "Unblock"), [Effect::Ask(unblock.clone())]);
    step(&mut model, Msg::Done(unblock, Ok(Success::default()), 0));
    assert!(model.blocked.is_empty());
    // Declined on another device.
    comes(&mut model, asked(RequestName::DeclineContact, ME, TALK, 2, "to = 2"));
    assert!(!asks(&model, BOB));
}

#[test]
fn people_are_found_by_phone() {
    let mut model = model();
    ctrl(&mut model, 'f');
    assert_eq!(types(&mut model, "13800000003"), [Effect::Find("13800000003".into(), Purpose::Find)]);
    assert_eq!(key(&mut model, KeyCode::Enter), [], "one question at a time");
    step(&mut model, Msg::Found(Purpose::Find, Ok(None)));
    let Some(Dialog::Prompt(prompt)) = &model.dialog else { panic!("{:?}", model.dialog) };
    assert!(prompt.said.contains("Nobody") && !prompt.waiting);
    key(&mut model, KeyCode::Enter);
    step(&mut model, Msg::Found(Purpose::Find, Ok(Some(user(3, "Carol")))));
    choose(&mut model, "Ask to become a contact");
    let effects = types(&mut model, "hi");
    assert_eq!(effects, [Effect::Ask(Ask::AddContact { to: UserId(3), message: "hi".into() })]);
    // An answer that comes after the question was closed opens nothing.
    ctrl(&mut model, 'f');
    types(&mut model, "1");
    key(&mut model, KeyCode::Esc);
    step(&mut model, Msg::Found(Purpose::Find, Ok(Some(user(4, "Dan")))));
    assert_eq!(model.dialog, None);
}

#[test]
fn a_group_is_made_and_left() {
    let mut model = model();
    step(&mut model, Msg::Contacts(Ok(Contacts { version: 1, users: vec![user(2, "Bob")], more: false })));
    ctrl(&mut model, 'g');
    let make = Ask::CreateGroup { name: "friends".into(), members: vec![] };
    assert_eq!(types(&mut model, "friends"), [Effect::Ask(make.clone())]);
    let group = GroupId(9);
    let made = Success { seq: Some(Seq(1)), contact_version: None, group_id: Some(group) };
    step(&mut model, Msg::Done(make, Ok(made), 1_444_719_450));
    assert_eq!(
        (model.open, model.title(Conversation::Group(group))),
        (Some(Conversation::Group(group)), "# friends".into())
    );
    let effects = choose(&mut model, "Bob");
    assert_eq!(effects, [Effect::Ask(Ask::CreateGroupMember { group, member: BOB })]);
    let effects = types(&mut model, "hello all");
    assert!(matches!(
        &effects[0],
        Effect::Send { to: Target::Group(GroupId(9)), ack: WantedAck::Receipts, .. }
    ));
    // Removed by somebody else: nothing can be written any more.
    let keys = "group_id = 9\nmember_id = 1";
    comes(&mut model, asked(RequestName::DeleteGroupMember, BOB, Conversation::Group(group), 3, keys));
    assert!(model.talks[&Conversation::Group(group)].left);
    assert_eq!(types(&mut model, "still here?"), []);
    assert!(model.notice.as_ref().unwrap().bad);
}

#[test]
fn the_creator_dissolves_and_removes() {
    let mut model = model();
    let group = GroupId(9);
    let known = Group { id: group, name: "all".into(), creator: ME, count: 2, members: vec![] };
    step(&mut model, Msg::Groups(Ok(vec![known.clone()])));
    ctrl(&mut model, 'n');
    ctrl(&mut model, 'o');
    assert_eq!(choose(&mut model, "Members"), [Effect::Members(group)]);
    let whole = Group { members: vec![ME, BOB], ..known };
    step(&mut model, Msg::Members(group, Ok((whole, vec![user(1, "Me"), user(2, "Bob")]))));
    choose(&mut model, "Bob");
    choose(&mut model, "Remove");
    assert_eq!(choose(&mut model, "Yes"), [Effect::Ask(Ask::DeleteGroupMember { group, member: Some(BOB) })]);
    ctrl(&mut model, 'o');
    choose(&mut model, "Dissolve");
    choose(&mut model, "No");
    assert_eq!(model.dialog, None);
}

#[test]
fn history_loads_where_it_is_looked_for() {
    let mut model = model();
    comes(&mut model, said(BOB, TALK, 100, "newest"));
    ctrl(&mut model, 'n');
    let page = |from: i64, to: i64, more| Page {
        rows: (from..to).map(|seq| said(BOB, TALK, seq, "x")).collect(),
        more,
    };
    let effects = step(&mut model, Msg::History(TALK, Ok(page(51, 101, true))));
    assert!(
        effects.iter().all(|effect| !matches!(effect, Effect::History(..))),
        "the screen is full: {effects:?}"
    );
    assert_eq!(model.talks[&TALK].items.len(), 50);
    let mut asked = Vec::new();
    for _ in 0..10 {
        asked.extend(key(&mut model, KeyCode::PageUp));
    }
    assert_eq!(asked, [Effect::History(TALK, Target::User(BOB), Some(Seq(51)))], "once, at the top");
    // What comes below does not move what is being read, and is not read.
    let scroll = model.talks[&TALK].scroll;
    assert_eq!(comes(&mut model, said(BOB, TALK, 101, "new")), []);
    assert_eq!((model.talks[&TALK].scroll, model.talks[&TALK].unread), (scroll + 1, 1));
    step(&mut model, Msg::History(TALK, Ok(page(1, 51, false))));
    assert_eq!(model.talks[&TALK].history, History::Whole);
    let mut effects = Vec::new();
    for _ in 0..20 {
        effects.extend(key(&mut model, KeyCode::PageDown));
    }
    assert_eq!(effects, [Effect::Read(TALK, Seq(101))]);
    assert_eq!((model.talks[&TALK].scroll, model.talks[&TALK].unread), (0, 0));
}

#[test]
fn what_comes_twice_is_shown_and_counted_once() {
    let mut model = model();
    let row =
        Talk { conversation: TALK, read: 1, unread: 2, left: false, last: Some(said(BOB, TALK, 3, "c")) };
    step(&mut model, Msg::Talks(Ok(vec![row.clone()])));
    for seq in [2, 3, 4, 4, 2] {
        comes(&mut model, said(BOB, TALK, seq, "x"));
    }
    assert_eq!((model.talks[&TALK].unread, model.talks[&TALK].items.len()), (3, 3));
    // The list, asked for anew after a reconnect, as it stood before the last one came.
    step(&mut model, Msg::Talks(Ok(vec![row])));
    assert_eq!(model.talks[&TALK].unread, 3);
}

#[test]
fn without_a_connection_it_says_so_and_asks_for_everything_after_it() {
    let mut model = model();
    step(&mut model, Msg::Server(Event::Disconnected { reason: "closed".into() }));
    step(&mut model, Msg::Second);
    step(&mut model, Msg::Second);
    assert_eq!(model.line, Line::Down { reason: "closed".into(), seconds: 2 });
    let effects = step(
        &mut model,
        Msg::Server(Event::Connected { server: "e2:1988".into(), away: Default::default() }),
    );
    assert_eq!(model.line, Line::Up("e2:1988".into()));
    for effect in [Effect::Talks, Effect::Groups, Effect::Contacts(0)] {
        assert!(effects.contains(&effect), "{effect:?} in {effects:?}");
    }
}

#[test]
fn any_keys_in_any_state_do_no_harm() {
    use proptest::{prelude::*, test_runner::TestRunner};
    let config = ProptestConfig { cases: 48, ..ProptestConfig::default() };
    let codes = vec![
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Tab,
        KeyCode::Backspace,
        KeyCode::Delete,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::F(1),
        KeyCode::Char('a'),
        KeyCode::Char('你'),
        KeyCode::Char('\u{200d}'),
        KeyCode::Char('\u{301}'),
    ];
    let plain = prop::sample::select(codes).prop_map(|code| KeyEvent::new(code, KeyModifiers::NONE));
    let control = (b'a'..=b'z').prop_map(|c| KeyEvent::new(KeyCode::Char(c.into()), KeyModifiers::CONTROL));
    let moves = prop::collection::vec((prop_oneof![plain, control], (1u16..120, 1u16..40)), 0..40);
    TestRunner::new(config)
        .run(&moves, |moves| {
            let mut model = model();
            for seq in 1..30 {
                comes(&mut model, said(BOB, TALK, seq, "你好 world 👩‍👩‍👧"));
                comes(&mut model, said(BOB, Conversation::Group(GroupId(seq)), 1, "x\ny"));
            }
            for (key, (columns, rows)) in moves {
                step(&mut model, Msg::Key(key));
                step(&mut model, Msg::Size(columns, rows));
                crate::chat::tui::view::shown(&model);
            }
            Ok(())
        })
        .unwrap();
}
