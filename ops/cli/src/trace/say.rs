//! A road as lines for people: what happened, in the order in which it did, and what is missing.

use std::fmt::Write;

use shared::trace::{Kind, What};

use super::{
    ask::Processes,
    road::{DeviceRoad, Road, Sending, State, Took, Worked},
};

/// Every road, and who has answered.
pub fn all(roads: &[Road], processes: &Processes) -> String {
    let mut out = String::new();
    for road in roads {
        one(road, &mut out);
        out.push('\n');
    }
    let names = |kind| {
        let all = processes.known().filter(|process| process.kind == kind);
        let names: Vec<&str> = all.map(|process| process.name.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    line(&mut out, format_args!("answered: edges {}; workers {}", names(Kind::Edge), names(Kind::Worker)));
    out
}

fn one(road: &Road, out: &mut String) {
    let id = road.id.as_deref().unwrap_or("(an id that no row tells)");
    match &road.stored {
        Some(stored) => line(
            out,
            format_args!(
                "{}/{id} from device {}: stored, {} seq {}{}",
                road.user,
                stored.device,
                stored.conv,
                stored.seq,
                if stored.is_request { ", a request" } else { "" }
            ),
        ),
        None => line(out, format_args!("{}/{id}: not stored", road.user)),
    }
    if let Some(trace) = &road.trace_id {
        line(out, format_args!("  {NO_TIME}  trace id   {trace}"));
    }
    for (number, sending) in road.sending.iter().enumerate() {
        if number > 0 {
            line(out, format_args!("  it came again:"));
        }
        self::sending(sending, out);
    }
    for device in &road.device {
        self::device(device, out);
    }
    for remark in &road.remarks {
        line(out, format_args!("  note: {remark}"));
    }
}

fn sending(sending: &Sending, out: &mut String) {
    if let Some(Took { node, record }) = &sending.accepted {
        line(
            out,
            format_args!("  {}  accepted   edge {node}, session {}", clock(record.opened), record.session),
        );
        line(
            out,
            format_args!(
                "  {}  published  lane {}, stream sequence {}, frame {}",
                clock(record.at),
                record.lane,
                record.stream_seq,
                record.frame
            ),
        );
    }
    if let Some(worked) = &sending.worked {
        self::worked(worked, out);
    }
    for reason in &sending.missing {
        line(out, format_args!("  {NO_TIME}  missing    {reason}"));
    }
}

fn worked(worked: &Worked, out: &mut String) {
    let Worked { worker, row, steps, nodes } = worked;
    let steps = steps.unwrap_or_default();
    let place = match (row.conv, row.seq) {
        (Some(conv), Some(seq)) => format!(": {conv} seq {seq}"),
        _ => String::new(),
    };
    let about = format!(
        "worker {worker}, chunk {} of {} frames, lane {}, stream sequence {}",
        row.chunk, steps.frames, row.lane, row.stream_seq
    );
    for (at, what, more) in [
        (steps.pulled, "pulled", about),
        (steps.committed, "committed", format!("{}{place}", row.outcome)),
        (steps.routed, "routed", String::new()),
        (steps.sent, "sent", String::new()),
    ] {
        if at > 0 {
            line(out, format_args!("  {}  {what:<10} {more}", clock(at)));
        }
    }
    for node in nodes {
        line(out, format_args!("  {}  to node    {}: {}", clock(node.at), node.node, node.how.as_str()));
    }
    let words =
        [(steps.confirmed, "confirmed", "by every node"), (steps.acknowledged, "finished", "JetStream told")];
    for (at, what, more) in words {
        if at > 0 {
            line(out, format_args!("  {}  {what:<10} {more}", clock(at)));
        }
    }
    if steps.pulled == 0 {
        line(
            out,
            format_args!("  {NO_TIME}  {}  worker {worker} has forgotten its chunk{place}", row.outcome),
        );
    } else if steps.acknowledged == 0 {
        line(out, format_args!("  {NO_TIME}  under way  not finished yet, or given up and taken anew"));
    }
}

fn device(device: &DeviceRoad, out: &mut String) {
    let name = device.device.as_deref().unwrap_or("?");
    let on = match &device.now {
        Some(on) => format!("online on {}, session {}", on.node, on.session),
        None => "offline".to_owned(),
    };
    line(out, format_args!("  user {}, device {name}: {} ({on})", device.user, state(device.state)));
    if let Some(at) = device.queued {
        line(out, format_args!("    {}  queued", clock(at)));
    }
    for halt in &device.stops {
        let why = match (halt.what, halt.why.as_str()) {
            (What::Noted, why) => format!(", in backlog mode: {why}"),
            _ => String::new(),
        };
        line(
            out,
            format_args!(
                "    {}  {:<12} node {}, session {}{why}",
                clock(halt.at),
                halt.what.as_str(),
                halt.on.node,
                halt.on.session
            ),
        );
    }
    for reason in &device.why {
        line(out, format_args!("    {reason}"));
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Sender => "sent it",
        State::Acknowledged => "acknowledged",
        State::Written => "written, not acknowledged",
        State::Waiting => "not written yet",
        State::Owed => "owed",
        State::Unknown => "unknown",
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A String takes everything.
    out.write_fmt(text).ok();
    out.push('\n');
}

/// Where a time would stand.
const NO_TIME: &str = "                          ";

/// Microseconds since 1970 as UTC: `2026-11-22 18:05:10.123456`.
pub fn clock(micros: i64) -> String {
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, so that a leap day ends its year; 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) =
        (era * 400 + year + i64::from(month >= 10), if month < 10 { month + 3 } else { month - 9 });
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        for (micros, text) in [
            (0, "1970-01-01 00:00:00.000000"),
            (951_782_400_000_001, "2000-02-29 00:00:00.000001"),
            (1_709_251_199_999_999, "2024-02-29 23:59:59.999999"),
            (1_709_251_200_000_000, "2024-03-01 00:00:00.000000"),
            (4_102_444_799_000_000, "2099-12-31 23:59:59.000000"),
        ] {
            assert_eq!(clock(micros), text);
        }
        assert_eq!(clock(0).len(), NO_TIME.len());
    }
}
