//! Rows for people (columns as wide as they need to be, two spaces between) and for programs (`--json`).

use serde_json::{Map, Value};

/// A table with a head.
#[derive(Debug)]
pub struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    counts: &'static [&'static str],
}

impl<const N: usize> Table<N> {
    /// With these names over its columns.
    pub fn new(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned)], counts: &[] }
    }

    /// These columns hold whole numbers, and are numbers for programs.
    #[must_use]
    pub fn counting(mut self, columns: &'static [&'static str]) -> Self {
        self.counts = columns;
        self
    }

    /// Adds a row. What a user has chosen (a name, a device) is shown without what would steer a terminal.
    pub fn row(&mut self, row: [String; N]) {
        self.rows.push(row.map(|cell| harmless(&cell)));
    }

    /// For programs: an object a row, by its columns' names; a number that is not there is null.
    pub fn values(&self) -> Vec<Value> {
        let Some((head, rows)) = self.rows.split_first() else { return Vec::new() };
        let cell = |name: &String, cell: &String| match self.counts.contains(&name.as_str()) {
            true => cell.parse::<i64>().map_or(Value::Null, Value::from),
            false => Value::from(cell.as_str()),
        };
        let object = |row: &[String; N]| {
            let cells = head.iter().zip(row).map(|(name, text)| (name.replace(' ', "_"), cell(name, text)));
            Value::Object(cells.collect::<Map<_, _>>())
        };
        rows.iter().map(object).collect()
    }

    /// For people.
    pub fn text(&self) -> String {
        let width = |at: usize| self.rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..N).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Without control characters.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::new(["id", "name", "x"]).counting(&["id", "x"]);
        table.row(["1".into(), "Ännchen".into(), "a".into()]);
        table.row(["12".into(), "b\u{1b}[2J".into(), String::new()]);
        assert_eq!(table.text(), "id  name     x\n1   Ännchen  a\n12  b\u{fffd}[2J\n");
        let second = serde_json::json!({ "id": 12, "name": "b\u{fffd}[2J", "x": null });
        assert_eq!(table.values()[1], second);
    }
}
