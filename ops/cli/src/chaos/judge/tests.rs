//! Histories made by hand: a clean one is clean, and each kind of violation is found, alone.

use shared::ids::{Conversation, UserId};

use super::*;
use crate::chaos::history::{Shown, text};

const DM: TalkNo = 0;

/// User 1 on two devices (0 and 1), user 2 on one (2); six messages in their conversation, three each way.
struct Run {
    history: History,
    rows: Vec<Row>,
}

fn clean() -> Run {
    let mut history = History::default();
    let (one, two) = (UserId(1), UserId(2));
    for (user, name) in [(one, "1/d1"), (one, "1/d2"), (two, "2/d1")] {
        history.device(user, name.to_owned(), false);
    }
    assert_eq!(history.talk(Conversation::direct(one, two), &[one, two]), DM);
    let mut rows = Vec::new();
    for (number, device) in (0..).zip([0, 2, 0, 2, 0, 2]) {
        assert_eq!(history.begin(device, DM, 1000 * number), number);
        let seq = number + 1;
        history.answered(number, Answer::Stored { seq, at_ms: 1000 * number + 5 });
        let what = What::Attempt(number);
        rows.push(Row { talk: DM, seq, what });
        for other in (0..3).filter(|other| *other != device) {
            history.shown[usize::from(other)].push(Shown { talk: DM, seq, what });
        }
    }
    Run { history, rows }
}

impl Run {
    fn verdict(&self) -> Verdict {
        let mut rows = Rows::default();
        self.rows.iter().for_each(|row| rows.add(*row));
        judge(&self.history, &rows)
    }

    /// The kinds of violation found, with their counts.
    fn found(&self) -> Vec<(&'static str, u64)> {
        let verdict = self.verdict();
        let found: Vec<_> = verdict.violations().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(verdict.is_clean(), found.is_empty());
        assert_eq!(verdict.examples.is_empty(), found.is_empty(), "{:?}", verdict.examples);
        found
    }
}

#[test]
fn a_clean_run_is_clean() {
    let run = clean();
    assert_eq!(run.found(), []);
    let verdict = run.verdict();
    assert_eq!((verdict.attempted, verdict.acked, verdict.stored, verdict.delivered), (6, 6, 6, 12));
}

#[test]
fn an_acked_message_without_a_row_is_lost() {
    let mut run = clean();
    // Nobody was shown it either: only the row counts twice, as missing and as a missing number.
    run.rows.retain(|row| row.seq != 6);
    assert_eq!(run.found(), [("lost_rows", 1)]);
    assert_eq!(run.verdict().lost_rows, Lost { early: 0, middle: 0, late: 1 });
}

#[test]
fn a_device_that_was_not_shown_an_acked_message_is_found_with_its_time() {
    for (number, expected) in
        [(1, Lost { early: 1, ..Lost::default() }), (3, Lost { middle: 1, ..Lost::default() })]
    {
        let mut run = clean();
        run.history.shown[1].retain(|it| it.what != What::Attempt(number));
        assert_eq!(run.found(), [("lost_deliveries", 1)]);
        assert_eq!(run.verdict().lost_deliveries, expected);
    }
}

#[test]
fn the_senders_other_device_must_be_shown_it_and_the_sending_one_not() {
    let mut run = clean();
    run.history.shown[1].clear();
    assert_eq!(run.found(), [("lost_deliveries", 6)]);
}

#[test]
fn a_number_shown_twice_is_doubled() {
    let mut run = clean();
    let again = run.history.shown[2][1];
    run.history.shown[2].push(again);
    assert_eq!(run.found(), [("doubled", 1)]);
}

#[test]
fn one_attempt_under_two_numbers_is_stored_twice() {
    let mut run = clean();
    run.rows.push(Row { talk: DM, seq: 7, what: What::Attempt(5) });
    assert_eq!(run.found(), [("stored_twice", 1)]);
    run.history.shown[0].push(Shown { talk: DM, seq: 7, what: What::Attempt(5) });
    assert_eq!(run.found(), [("stored_twice", 2)]);
}

#[test]
fn numbers_that_do_not_grow_at_a_device_are_reordered() {
    let mut run = clean();
    run.history.shown[2].swap(0, 1);
    assert_eq!(run.found(), [("reordered", 1)]);
}

#[test]
fn a_senders_messages_numbered_in_another_order_are_found() {
    let mut run = clean();
    // Attempts 0 and 2 of one device change their numbers everywhere: everybody agrees, only the sender's order is off.
    let swapped = |what: What| match what {
        What::Attempt(0) => What::Attempt(2),
        What::Attempt(2) => What::Attempt(0),
        other => other,
    };
    run.rows.iter_mut().for_each(|row| row.what = swapped(row.what));
    run.history.shown.iter_mut().flatten().for_each(|it| it.what = swapped(it.what));
    run.history.answered(0, Answer::Stored { seq: 3, at_ms: 9 });
    run.history.answered(2, Answer::Stored { seq: 1, at_ms: 9 });
    assert_eq!(run.found(), [("reordered_sender", 1)]);
}

#[test]
fn what_nobody_sent_is_a_phantom() {
    let mut run = clean();
    run.history.shown[0].push(Shown { talk: DM, seq: 7, what: What::Foreign });
    assert_eq!(run.found(), [("phantom", 1)]);
    run.rows.push(Row { talk: DM, seq: 7, what: What::Foreign });
    assert_eq!(run.found(), [("phantom", 2)]);
}

#[test]
fn a_delivery_to_someone_who_takes_no_part_is_a_phantom() {
    let mut run = clean();
    let stranger = run.history.device(UserId(3), "3/d1".to_owned(), false);
    let stolen = run.history.shown[0][0];
    run.history.shown[usize::from(stranger)].push(stolen);
    assert_eq!(run.found(), [("phantom", 1)]);
}

#[test]
fn another_number_than_the_rows_is_found() {
    let mut run = clean();
    run.history.answered(5, Answer::Stored { seq: 8, at_ms: 9 });
    assert_eq!(run.found(), [("misnumbered", 1)]);

    let mut run = clean();
    run.history.shown[2].last_mut().unwrap().seq = 9;
    assert_eq!(run.found(), [("misnumbered", 1)]);

    let mut run = clean();
    run.rows.push(Row { talk: DM, seq: 9, what: What::Request });
    assert_eq!(run.found(), [("misnumbered", 1)]);
}

#[test]
fn a_device_that_comes_back_drops_what_it_has_saved() {
    let mut run = clean();
    let again = run.history.shown[2][1];
    let new = Shown { seq: again.seq + 100, ..again };
    for (shown, rows, repeats) in [(again, 1, 0), (again, 1, 1), (new, 2, 1), (again, 2, 2)] {
        run.history.show_once(1, shown);
        assert_eq!((run.history.shown[1].len() - 6, run.history.repeats), (rows, repeats));
    }
}

#[test]
fn what_has_no_answer_or_was_refused_or_ended_is_found() {
    let mut run = clean();
    run.history.answered(5, Answer::None);
    assert_eq!(run.found(), [("unanswered", 1)]);
    run.history.answered(5, Answer::Refused);
    assert_eq!(run.found(), [("refused", 1)]);
    let mut run = clean();
    run.history.ended.push("1/d1: replaced".to_owned());
    assert_eq!(run.found(), [("clients_ended", 1)]);
}

#[test]
fn a_text_is_its_attempts_only_from_its_sender_and_whole() {
    let run = clean();
    let it = text(2);
    assert_eq!(run.history.what(DM, UserId(1), &it), What::Attempt(2));
    assert_eq!(run.history.what(DM, UserId(2), &it), What::Foreign);
    assert_eq!(run.history.what(DM + 1, UserId(1), &it), What::Foreign);
    assert_eq!(run.history.what(DM, UserId(1), &it[..it.len() - 1]), What::Foreign);
    assert_eq!(run.history.what(DM, UserId(1), &text(99)), What::Foreign);
}
