//! Executable documents: finds the frames and HTTP calls that a Markdown file shows, so that all of them can be run.
//!
//! | module | holds |
//! |---|---|
//! | here | the fenced blocks of a document, in order |
//! | [`matching`] | placeholders, and whether what came is what the document shows |
//! | [`run`] | plays a document against a running system |
//!
//! | block | what happens |
//! |---|---|
//! | `tcp WHO` | each frame (they are set apart by blank lines) is sent in the text form; nothing but a blank line is a heartbeat |
//! | `raw WHO` | the bytes are sent as they stand, line ends included; `#{n}` counts the bytes after its line, up to the next `#` line |
//! | `expect WHO` | exactly these entries come next, in any order |
//! | `close WHO` | the client's side is closed |
//! | `closed WHO` | the server closes, having said nothing more |
//! | `http WHO` | a call: method, path, pairs (`token=` is the cookie, the others are the form), then header lines |
//! | `response [STATUS]` | its answer; 200 unless another status is named |
//!
//! `WHO` names a connection, opened when it is first used, and again after it was closed. A number after it is the edge
//! (counted from 1) that it goes to; without one, `alice`… goes to 1 and `bob`… to 2, everybody else to 1.

pub mod matching;
pub mod run;

use std::fmt;

/// One fenced block that is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Where its fence stands, counted from 1.
    pub line: usize,
    /// What it is.
    pub kind: Kind,
    /// The connection, or the caller.
    pub who: String,
    /// Which edge, counted from 1.
    pub edge: usize,
    /// What stands between the fences, with a line end after each line.
    pub text: String,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table above says what each does")]
pub enum Kind {
    Tcp,
    Raw,
    Expect,
    Close,
    Closed,
    Http,
    Response(u16),
}

/// What is wrong, and where: in the document itself, or between it and the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line of the document, counted from 1.
    pub line: usize,
    /// What was expected and what was found.
    pub reason: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for Mistake {}

impl Mistake {
    fn new(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

/// The document's blocks. A block of any other kind than these and plain `text` is a mistake, and so is a frame inside
/// `text`: a document shows nothing that is not run.
///
/// # Errors
/// [`Mistake`], with the line.
pub fn blocks(markdown: &str) -> Result<Vec<Block>, Mistake> {
    let mut found = Vec::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            if line.trim_start().starts_with("```") {
                return Err(Mistake::new(
                    at + 1,
                    "expected a fence at the start of its line, found it indented",
                ));
            }
            continue;
        };
        let mut text = String::new();
        let closed = lines.by_ref().any(|(_, line)| {
            let end = line == "```";
            if !end {
                text.push_str(line);
                text.push('\n');
            }
            end
        });
        if !closed {
            return Err(Mistake::new(at + 1, "expected a closing fence, found the end of the document"));
        }
        found.extend(block(at + 1, info.trim(), text)?);
    }
    answered(&found)?;
    Ok(found)
}

fn block(line: usize, info: &str, text: String) -> Result<Option<Block>, Mistake> {
    let mut words = info.split_whitespace();
    let tag = words.next().unwrap_or_default();
    let kind = match tag {
        "text" if text.contains("[[") => {
            return Err(Mistake::new(line, "expected no frame in a block of plain text, found [["));
        }
        "text" => return Ok(None),
        "tcp" => Kind::Tcp,
        "raw" => Kind::Raw,
        "expect" => Kind::Expect,
        "close" => Kind::Close,
        "closed" => Kind::Closed,
        "http" => Kind::Http,
        "response" => {
            let status = words.next().unwrap_or("200");
            let status = status
                .parse()
                .map_err(|_| Mistake::new(line, format!("expected a status, found {status}")))?;
            return Ok(Some(Block { line, kind: Kind::Response(status), who: String::new(), edge: 1, text }));
        }
        _ => {
            return Err(Mistake::new(
                line,
                format!("expected tcp, raw, expect, close, closed, http, response or text, found {tag:?}"),
            ));
        }
    };
    let who =
        words.next().ok_or_else(|| Mistake::new(line, format!("expected a name after {tag}, found none")))?;
    let edge =
        match words.next() {
            None if who.starts_with("bob") => 2,
            None => 1,
            Some(number) => number.parse().ok().filter(|edge| *edge >= 1).ok_or_else(|| {
                Mistake::new(line, format!("expected the number of an edge, found {number}"))
            })?,
        };
    Ok(Some(Block { line, kind, who: who.to_owned(), edge, text }))
}

/// Every call has its answer right after it, and no answer stands alone.
fn answered(blocks: &[Block]) -> Result<(), Mistake> {
    let mut call: Option<&Block> = None;
    for block in blocks {
        match (call.take(), block.kind) {
            (None, Kind::Response(_)) => {
                return Err(Mistake::new(block.line, "expected a call before, found none"));
            }
            (Some(call), kind) if !matches!(kind, Kind::Response(_)) => {
                return Err(Mistake::new(
                    call.line,
                    "expected a response after the call, found another block",
                ));
            }
            _ => {}
        }
        call = (block.kind == Kind::Http).then_some(block);
    }
    call.map_or(Ok(()), |call| {
        Err(Mistake::new(call.line, "expected a response after the call, found the end"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_in_order_with_their_lines() {
        let found = blocks(
            "# Title\n```text\nplain\n```\n```tcp alice\n[[m]]\nid = 1\n```\nwords\n```expect bob 1\n\n```\n\
             ```http carol\nGET /group\n```\n```response 401\nx = 1\n```\n",
        )
        .unwrap();
        let short: Vec<_> =
            found.iter().map(|b| (b.line, b.kind, b.who.as_str(), b.edge, b.text.as_str())).collect();
        assert_eq!(
            short,
            [
                (5, Kind::Tcp, "alice", 1, "[[m]]\nid = 1\n"),
                (10, Kind::Expect, "bob", 1, "\n"),
                (13, Kind::Http, "carol", 1, "GET /group\n"),
                (16, Kind::Response(401), "", 1, "x = 1\n"),
            ]
        );
    }

    #[test]
    fn a_name_tells_the_edge() {
        for (info, edge) in [("alice", 1), ("bob", 2), ("bob-ipad", 2), ("carol", 1), ("alice 2", 2)] {
            assert_eq!(blocks(&format!("```tcp {info}\n```\n")).unwrap()[0].edge, edge, "{info}");
        }
    }

    #[test]
    fn what_would_not_be_run_is_a_mistake() {
        for (text, line, reason) in [
            ("a\n```toml\n[[m]]\n```\n", 2, "\"toml\""),
            ("```\nx\n```\n", 1, "\"\""),
            ("```text\n[[m]]\n```\n", 1, "[["),
            ("```tcp\n```\n", 1, "a name"),
            ("```tcp alice none\n```\n", 1, "the number of an edge"),
            ("```tcp alice\n", 1, "closing fence"),
            ("  ```tcp alice\n  ```\n", 1, "indented"),
            ("```response\n```\n", 1, "a call before"),
            ("```http bob\nGET /x\n```\n", 1, "response after"),
            ("```http bob\nGET /x\n```\n```tcp bob\n```\n", 1, "response after"),
            ("```response often\n```\n", 1, "a status"),
        ] {
            let mistake = blocks(text).unwrap_err();
            assert_eq!(mistake.line, line, "{text}");
            assert!(mistake.reason.contains(reason), "{reason:?} in {mistake}");
        }
    }
}
