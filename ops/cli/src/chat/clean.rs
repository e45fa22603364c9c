//! Text of others, made harmless for a terminal: what moves a cursor, starts an escape or turns the writing direction never
//! gets there.

use std::borrow::Cow;

/// The text with every control character shown as a sign; line ends stay.
pub fn text(text: &str) -> Cow<'_, str> {
    if text.chars().any(|c| c != '\n' && shown(c) != Some(c)) {
        // A line end of two is one.
        Cow::Owned(text.replace("\r\n", "\n").chars().flat_map(spread).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// The same on one line: a line end becomes a sign, too.
pub fn line(text: &str) -> String {
    self::text(text).replace('\n', "␤")
}

fn spread(c: char) -> impl Iterator<Item = char> {
    let (count, c) =
        if c == '\t' { (4, ' ') } else { (1, if c == '\n' { c } else { shown(c).unwrap_or('␦') }) };
    std::iter::repeat_n(c, count)
}

/// What stands for a character; `None` where nothing says what it is.
fn shown(c: char) -> Option<char> {
    match c {
        // Pictures of the control characters, in their order.
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)),
        '\x7f' => Some('␡'),
        '\u{2028}' | '\u{2029}' => Some('\n'),
        // C1 controls (an escape sequence in one character), and what turns the direction of what follows.
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(text("\x1b]0;title\x07\x1b[2J"), "␛]0;title␇␛[2J");
        assert_eq!(text("a\u{9b}2Jb\u{202e}c"), "a␦2Jb␦c");
        assert_eq!(text("one\r\ntwo\rthree\tfour"), "one\ntwo␍three    four");
        assert_eq!(line("one\ntwo"), "one␤two");
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let clean = line(&c.to_string());
            assert!(!clean.chars().any(char::is_control), "{c:?} becomes {clean:?}");
        }
    }

    #[test]
    fn ordinary_text_is_as_it_was() {
        for ordinary in ["", "hello", "你好，世界", "👩‍👩‍👧 e\u{301}", "שלום", "a\nb"] {
            assert!(matches!(text(ordinary), Cow::Borrowed(same) if same == ordinary), "{ordinary:?}");
        }
    }
}
