//! How wide text is on a terminal, and where it breaks: by what a person sees as one character (a grapheme), of which
//! Chinese and emoji take two columns.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Columns that this takes.
pub fn width(text: &str) -> usize {
    text.graphemes(true).map(columns).sum()
}

/// Columns of one grapheme. The view and this must agree, so both ask the same crate.
pub fn columns(grapheme: &str) -> usize {
    grapheme.width()
}

/// Cut to so many columns, with a sign where something is missing.
pub fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let (mut out, mut used) = (String::new(), 0);
    for grapheme in text.graphemes(true) {
        used += columns(grapheme);
        if used + 1 > most {
            break;
        }
        out.push_str(grapheme);
    }
    if most > 0 {
        out.push('…');
    }
    out
}

/// Lines of at most `most` columns, the first one of at most `first`: broken at spaces, between wide characters, and
/// inside what is longer than a line. Line ends in the text break, too.
pub fn wrap(text: &str, first: usize, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let room = if lines.is_empty() { first } else { most };
        paragraph_into(paragraph, room.max(2), most.max(2), &mut lines);
    }
    lines
}

fn paragraph_into(text: &str, first: usize, most: usize, lines: &mut Vec<String>) {
    let (mut line, mut used, mut room) = (String::new(), 0, first);
    for word in words(text) {
        let wide = width(word.trim_end());
        if used > 0 && used + wide > room {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
            (used, room) = (0, most);
        }
        if wide <= room {
            line.push_str(word);
            used += width(word);
            continue;
        }
        for grapheme in word.graphemes(true) {
            if used + columns(grapheme) > room {
                lines.push(std::mem::take(&mut line));
                (used, room) = (0, most);
            }
            line.push_str(grapheme);
            used += columns(grapheme);
        }
    }
    lines.push(line.trim_end().to_owned());
}

/// What is not broken: a word with the spaces behind it, or one wide character.
fn words(text: &str) -> Vec<&str> {
    let (mut words, mut begin, mut after_space) = (Vec::new(), 0, false);
    for (at, grapheme) in text.grapheme_indices(true) {
        let (space, wide) = (grapheme == " ", columns(grapheme) > 1);
        let breaks = !space
            && (after_space
                || wide
                || text[..at].graphemes(true).next_back().is_some_and(|c| columns(c) > 1));
        if breaks && at > begin {
            words.push(&text[begin..at]);
            begin = at;
        }
        after_space = space;
    }
    words.push(&text[begin..]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_a_terminal() {
        for (text, columns) in [("hello", 5), ("你好", 4), ("👩‍👩‍👧", 2), ("e\u{301}", 1), ("", 0), ("a你b", 4)]
        {
            assert_eq!(width(text), columns, "{text}");
        }
        assert_eq!(
            (cut("hello", 5), cut("hello!", 5), cut("你好吗", 4)),
            ("hello".into(), "hell…".into(), "你…".into())
        );
        assert_eq!(cut("hello", 0), "");
    }

    #[test]
    fn lines_break_where_they_may() {
        assert_eq!(wrap("the quick brown fox", 10, 10), ["the quick", "brown fox"]);
        assert_eq!(wrap("the quick brown fox", 4, 10), ["the", "quick", "brown fox"]);
        assert_eq!(wrap("one\n\nthree", 10, 10), ["one", "", "three"]);
        assert_eq!(wrap("abcdefghij", 4, 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("你好世界 ok", 6, 6), ["你好世", "界 ok"]);
        assert_eq!(wrap("see 你好世界", 7, 7), ["see 你", "好世界"]);
        assert_eq!(wrap("", 5, 5), [""]);
    }

    #[test]
    fn no_line_is_wider_than_it_may_be_and_nothing_is_lost() {
        let text = "mixed 中文 and 👩‍👩‍👧 emoji, averyveryverylongwordwithoutspaces 终 end";
        for most in 2..40 {
            let lines = wrap(text, most, most);
            assert!(lines.iter().all(|line| width(line) <= most), "{most}: {lines:?}");
            let kept = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            assert_eq!(kept(&lines.concat()), kept(text), "{most}");
        }
    }
}
