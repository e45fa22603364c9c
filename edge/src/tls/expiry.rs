//! When a certificate ends: as much of X.509 as it takes to find that.

use std::time::{Duration, SystemTime};

/// The day from which UTCTime's two digits of a year count (RFC 5280): 50 is 1950, 49 is 2049.
const CENTURY: u64 = 50;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The explicit version, which a certificate may leave out.
const VERSION: u8 = 0xa0;

/// The end of this certificate (DER); `None` where there is none to be found.
pub fn of(certificate: &[u8]) -> Option<SystemTime> {
    let (certificate, _) = item(SEQUENCE, certificate)?;
    let (mut fields, _) = item(SEQUENCE, certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = any(fields)?.2;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        fields = any(fields)?.2;
    }
    let (validity, _) = item(SEQUENCE, fields)?;
    let (_, _, after) = any(validity)?;
    let (tag, text, _) = any(after)?;
    seconds(tag, std::str::from_utf8(text).ok()?)
        .map(|since| SystemTime::UNIX_EPOCH + Duration::from_secs(since))
}

/// The contents of an item of this kind, and what follows it.
fn item(kind: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, contents, rest) = any(bytes)?;
    (tag == kind).then_some((contents, rest))
}

/// An item's tag and contents, and what follows it.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Longer than 4 bytes of length no certificate is.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` in seconds since 1970; what ended before that has ended at its beginning.
fn seconds(tag: u8, text: &str) -> Option<u64> {
    let digits = text.strip_suffix('Z').filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let (year, rest) = digits.split_at(2);
            let year: u64 = year.parse().ok()?;
            (if year < CENTURY { 2000 + year } else { 1900 + year }, rest)
        }
        (GENERALIZED_TIME, 14) => {
            let (year, rest) = digits.split_at(4);
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let pair = |at: usize| rest.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day) = (pair(0)?, pair(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let within = pair(4)? * 3600 + pair(6)? * 60 + pair(8)?;
    Some((days(year, month, day) * 86_400 + within).saturating_sub(days(1970, 1, 1) * 86_400))
}

/// Days since the first of March of the year 0: with March first, the leap day is a year's last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month < 3 { (year.saturating_sub(1), month + 9) } else { (year, month - 3) };
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, month, day);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_is_found_in_both_notations() {
        for ((year, month, day), expected) in [
            ((1975, 1, 1), 157_766_400),
            ((2000, 2, 29), 951_782_400),
            ((2049, 12, 31), 2_524_521_600),
            ((2050, 1, 1), 2_524_608_000),
            ((2100, 3, 1), 4_107_542_400),
            ((4096, 1, 1), 67_090_118_400),
        ] {
            let ends = of(&made(year, month, day)).unwrap();
            assert_eq!(ends, SystemTime::UNIX_EPOCH + Duration::from_secs(expected), "{year}-{month}-{day}");
        }
    }

    #[test]
    fn what_is_cut_short_or_no_certificate_has_no_end() {
        let whole = made(2049, 12, 31);
        for length in 0..whole.len() {
            assert_eq!(of(&whole[..length]), None, "{length}");
        }
        for text in ["491231235959", "49123123595Z", "491331235959Z", "490031235959Z", "4912312359-1Z"] {
            assert_eq!(seconds(UTC_TIME, text), None, "{text}");
        }
        assert_eq!(seconds(GENERALIZED_TIME, "19691231235959Z"), Some(0));
    }
}
