//! A line being typed, or several: where the cursor is, and what the editing keys do.

use unicode_segmentation::UnicodeSegmentation;

use super::wrap::columns;

/// The longest text, bytes: no server takes a longer one.
pub const MOST: usize = 32_768;

/// What is being typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input {
    text: String,
    /// Where the next character goes: a grapheme's boundary, in bytes.
    at: usize,
}

impl Input {
    /// What has been typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A star for each character, for what nobody is to read over a shoulder.
    pub fn masked(&self) -> Self {
        let stars = |text: &str| "*".repeat(text.graphemes(true).count());
        let (before, after) = self.text.split_at(self.at);
        Self { text: stars(before) + &stars(after), at: stars(before).len() }
    }

    /// Takes what has been typed.
    pub fn take(&mut self) -> String {
        self.at = 0;
        std::mem::take(&mut self.text)
    }

    /// Types this; what is over the limit, or would be obeyed by a terminal, is left out.
    pub fn insert(&mut self, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\t', "    ");
        for c in text.chars().filter(|c| *c == '\n' || !c.is_control()) {
            if self.text.len() + c.len_utf8() > MOST {
                return;
            }
            self.text.insert(self.at, c);
            self.at += c.len_utf8();
        }
        // What was typed may have become part of the character before or after it.
        let at = self.boundaries().find(|at| *at >= self.at).unwrap_or(self.text.len());
        self.at = at;
    }

    /// One character back.
    pub fn left(&mut self) {
        self.at = self.before();
    }

    /// One character on.
    pub fn right(&mut self) {
        self.at = self.after();
    }

    /// To the beginning.
    pub fn home(&mut self) {
        self.at = 0;
    }

    /// To the end.
    pub fn end(&mut self) {
        self.at = self.text.len();
    }

    /// Removes the character before the cursor.
    pub fn backspace(&mut self) {
        let from = self.before();
        self.text.replace_range(from..self.at, "");
        self.at = from;
    }

    /// Removes the one under it.
    pub fn delete(&mut self) {
        let to = self.after();
        self.text.replace_range(self.at..to, "");
    }

    /// Removes the word before the cursor.
    pub fn delete_word(&mut self) {
        let head = self.text[..self.at].trim_end();
        let from = head
            .rfind(char::is_whitespace)
            .map_or(0, |at| at + head[at..].chars().next().map_or(0, char::len_utf8));
        self.text.replace_range(from..self.at, "");
        self.at = from;
    }

    /// Removes everything before the cursor.
    pub fn delete_to_start(&mut self) {
        self.text.replace_range(..self.at, "");
        self.at = 0;
    }

    /// Removes everything behind it.
    pub fn delete_to_end(&mut self) {
        self.text.truncate(self.at);
    }

    /// As lines of at most `most` columns, and the cursor's line and column in them.
    pub fn lines(&self, most: usize) -> (Vec<String>, (usize, usize)) {
        let most = most.max(2);
        let (mut lines, mut used, mut cursor) = (vec![String::new()], 0, (0, 0));
        for (at, grapheme) in self.text.grapheme_indices(true) {
            let wide = columns(grapheme);
            // The cursor's own column counts, so that it is never outside.
            if grapheme != "\n" && used + wide > most {
                lines.push(String::new());
                used = 0;
            }
            if at == self.at {
                cursor = (lines.len() - 1, used);
            }
            if grapheme == "\n" {
                lines.push(String::new());
                used = 0;
            } else if let Some(line) = lines.last_mut() {
                line.push_str(grapheme);
                used += wide;
            }
        }
        if self.at == self.text.len() {
            if used >= most {
                lines.push(String::new());
                used = 0;
            }
            cursor = (lines.len() - 1, used);
        }
        (lines, cursor)
    }

    fn boundaries(&self) -> impl Iterator<Item = usize> {
        self.text.grapheme_indices(true).map(|(at, _)| at)
    }

    fn before(&self) -> usize {
        self.boundaries().take_while(|at| *at < self.at).last().unwrap_or(0)
    }

    fn after(&self) -> usize {
        self.boundaries().find(|at| *at > self.at).unwrap_or(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Input {
        let mut input = Input::default();
        input.insert(text);
        input
    }

    #[test]
    fn characters_are_whole() {
        let mut input = typed("a👩‍👩‍👧你");
        input.left();
        input.backspace();
        assert_eq!(input.text(), "a你");
        input.insert("e");
        input.insert("\u{301}");
        input.left();
        input.left();
        input.delete();
        assert_eq!(input.text(), "e\u{301}你");
        input.end();
        input.backspace();
        input.backspace();
        input.backspace();
        assert_eq!(input.text(), "");
    }

    #[test]
    fn words_and_lines_go_at_once() {
        let mut input = typed("one two  three ");
        input.delete_word();
        assert_eq!(input.text(), "one two  ");
        input.delete_word();
        assert_eq!(input.text(), "one ");
        input.home();
        input.right();
        input.delete_to_end();
        assert_eq!(input.text(), "o");
        input.delete_to_start();
        assert_eq!(input.text(), "");
    }

    #[test]
    fn what_is_pasted_is_harmless_and_bounded() {
        assert_eq!(typed("a\r\nb\x1b[31mc\td\u{9b}").text(), "a\nb[31mc    d");
        assert_eq!(typed(&"你".repeat(20_000)).text().len(), MOST / 3 * 3);
    }

    #[test]
    fn a_mask_shows_how_much_and_where_alone() {
        let mut input = typed("p你👩‍👩‍👧w");
        input.left();
        assert_eq!((input.masked().text(), input.masked().lines(80).1), ("****", (0, 3)));
    }

    #[test]
    fn the_cursor_is_where_the_text_says() {
        let mut input = typed("你好吗ab");
        assert_eq!(input.lines(4), (vec!["你好".into(), "吗ab".into(), String::new()], (2, 0)));
        input.left();
        assert_eq!(input.lines(4), (vec!["你好".into(), "吗ab".into()], (1, 3)));
        input.home();
        assert_eq!(input.lines(80).1, (0, 0));
        assert_eq!(typed("a\n").lines(10), (vec!["a".into(), String::new()], (1, 0)));
    }
}
