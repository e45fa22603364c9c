//! The screen, as text.

use ratatui::{Terminal, backend::TestBackend};
use shared::{
    client::{Event, http::User},
    ids::{MessageId, Seq, UserId},
};

use super::*;
use crate::chat::{
    clock::Clock,
    tui::{
        dialog::{Act, Dialog, Menu, Purpose},
        model::talk::{History, Item, Pending, What},
        update::{Msg, update},
    },
};

const ME: UserId = UserId(1);
const BOB: UserId = UserId(2);
const TALK: Conversation = Conversation::Direct(ME, BOB);

const PLAIN: Theme = Theme { colour: false, ascii: false };

fn screen(model: &Model, theme: Theme) -> (String, Buffer) {
    let mut terminal = Terminal::new(TestBackend::new(model.size.0, model.size.1)).unwrap();
    terminal.draw(|frame| draw(model, theme, frame)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let mut text = String::new();
    for row in 0..buffer.area.height {
        let mut column = 0;
        while column < buffer.area.width {
            let symbol = buffer[(column, row)].symbol();
            text.push_str(symbol);
            // The second half of a wide character is a cell of its own.
            column += u16::try_from(width(symbol)).unwrap().max(1);
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    (text, buffer)
}

/// The screen without colours.
pub fn shown(model: &Model) -> String {
    screen(model, PLAIN).0
}

fn model(columns: u16, rows: u16) -> Model {
    let mut model = Model::new(ME, "ids".into(), (columns, rows), Clock::utc());
    update(&mut model, Msg::Server(Event::Connected { server: "e1:1987".into(), away: Default::default() }));
    for (id, name) in [(1, "Alice"), (2, "Bob\x1b[2J")] {
        let phone = format!("1380000000{id}");
        model.meet(&User { id: UserId(id), name: name.into(), phone, avatar: String::new(), deleted: 0 });
    }
    let talk = model.talk(TALK);
    talk.history = History::Whole;
    for (seq, from, text) in [
        (1, BOB, "hello"),
        (2, ME, "你好，世界 👩‍👩‍👧"),
        (
            3,
            BOB,
            "a\x1b]0;owned\x07b and a text that is long enough to need another row, or even two of them",
        ),
        (4, ME, "last"),
    ] {
        talk.put(Seq(seq), Item::new(from, 1_444_719_450 + seq * 60, What::Text(text.into())));
    }
    talk.items.get_mut(&Seq(2)).unwrap().read.insert(BOB);
    talk.items.get_mut(&Seq(4)).unwrap().delivered.insert(BOB);
    model.talk(Conversation::direct(ME, ME));
    model
}

fn opened(columns: u16, rows: u16) -> Model {
    let mut model = model(columns, rows);
    model.open = Some(TALK);
    model
}

#[test]
fn a_conversation_beside_the_list() {
    let mut model = opened(72, 14);
    model.talks.get_mut(&TALK).unwrap().draft.insert("typing 你");
    let expected = "\u{20}simple-im Alice: online at e1:1987
 Bob␛[2J               │Bob␛[2J
 notes to myself       │── 2015-10-13 ──
                       │06:58 Bob␛[2J: hello
                       │06:59 me: 你好，世界 👩‍👩‍👧 ✓✓ read
                       │07:00 Bob␛[2J: a␛]0;owned␇b and a text that is
                       │      long enough to need another row, or even
                       │      two of them
                       │07:01 me: last ✓✓
                       │
                       │
                       │────────────────────────────────────────────────
                       │> typing 你
 F1 keys  ^F find  ^G group  ^R people  ^O about  ^N/^P next  ^T unread
";
    assert_eq!(shown(&model), expected);
}

#[test]
fn a_narrow_screen_has_one_side_at_a_time() {
    let mut model = opened(40, 10);
    let talk = shown(&model);
    assert!(talk.contains("me: last") && !talk.contains("notes to myself"), "{talk}");
    model.open = None;
    model.talks.get_mut(&TALK).unwrap().unread = 12;
    let list = shown(&model);
    assert!(list.contains(" 12") && list.contains("notes to myself") && !list.contains("me: last"), "{list}");
    model.size = (19, 5);
    assert!(shown(&model).starts_with("too small"));
}

#[test]
fn without_colour_no_cell_has_one_and_with_ascii_every_frame_is_that() {
    let mut model = opened(72, 14);
    model.dialog = Some(Dialog::Help(0));
    let (_, buffer) = screen(&model, PLAIN);
    use ratatui::style::Color::Reset;
    assert!(buffer.content.iter().all(|cell| cell.fg == Reset && cell.bg == Reset));
    let (_, buffer) = screen(&model, Theme { colour: true, ascii: false });
    assert!(buffer.content.iter().any(|cell| cell.fg != Reset));
    model.ascii = true;
    model.talks.clear();
    let text = screen(&model, Theme { colour: false, ascii: true }).0;
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn what_is_on_its_way_or_refused_says_so() {
    let mut model = opened(72, 14);
    let id = |text: &str| MessageId::new(text).unwrap();
    let talk = model.talks.get_mut(&TALK).unwrap();
    talk.pending.push(Pending { id: id("a"), text: "under way".into(), refused: None });
    talk.pending.push(Pending { id: id("b"), text: "no".into(), refused: Some("blocked\x1b[2J".into()) });
    let text = shown(&model);
    assert!(text.contains("me: under way →") && text.contains("me: no !"), "{text}");
    assert!(text.contains("not sent: blocked␛[2J") && text.contains("1 not stored yet"), "{text}");
    model.line = Line::Down { reason: "closed".into(), seconds: 3 };
    let text = shown(&model);
    assert!(
        text.contains("me: under way …") && text.contains("no connection for 3 s, trying again"),
        "{text}"
    );
}

#[test]
fn scrolled_up_it_says_what_is_below() {
    let mut model = opened(72, 8);
    model.talks.get_mut(&TALK).unwrap().scroll = 2;
    let text = shown(&model);
    assert!(text.contains("2 more below") && !text.contains("me: last"), "{text}");
}

#[test]
fn dialogs_lie_over_the_rest() {
    let mut model = opened(72, 14);
    model.dialog = Some(Dialog::Menu(
        Menu::new("Bob\x1b[2J").line("user 2").choice("Write", Act::Close).choice("Block", Act::Close),
    ));
    let text = shown(&model);
    assert!(text.contains("┌─ Bob␛[2J ─") && text.contains("│  Write"), "{text}");
    model.dialog = Some(Dialog::prompt(Purpose::Find));
    let text = shown(&model);
    assert!(text.contains("Whole phone number:") && text.contains("│ > "), "{text}");
    model.dialog = Some(Dialog::asking(Purpose::OldPassword, "ge heim", "no"));
    let text = shown(&model);
    assert!(text.contains("> *******") && text.contains("no") && !text.contains("heim"), "{text}");
    let mut many = Menu::new("many");
    for n in 0..100 {
        many = many.choice(format!("choice {n}"), Act::Close);
    }
    many.at = 99;
    model.dialog = Some(Dialog::Menu(many));
    assert!(shown(&model).contains("choice 99"), "the chosen one is in sight");
}
