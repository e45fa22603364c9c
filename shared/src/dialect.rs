//! simple_im's one-line form: `[[m]] id = "a_02" c = "hello" to = 3 [m.from] id = 1`, turned into standard TOML.
//!
//! Pairs follow the header on its line, sub-tables follow as `[r.user] id = 1` further along the same line. Only
//! where things begin and end is looked at here; whether they are right is the ordinary parser's to say.

/// Rewrites one line as standard TOML (a line break before each header and each pair); the rest of the work is the
/// ordinary parser's.
///
/// # Errors
/// What was expected and what was found, for people.
pub fn to_standard(line: &str) -> Result<String, String> {
    let mut out = String::with_capacity(line.len() + 16);
    let mut at = blanks(line, 0);
    if !line[at..].starts_with('[') {
        return Err(expected("a header such as [[m]] first", line, at));
    }
    while at < line.len() && !line[at..].starts_with('#') {
        let end = if line[at..].starts_with('[') { header(line, at)? } else { pair(line, at)? };
        out.push_str(line[at..end].trim_end_matches(BLANKS));
        out.push('\n');
        at = blanks(line, end);
    }
    Ok(out)
}

/// Whether a frame's first line is in this form: it opens a header, and is more than one whole header.
pub(crate) fn is_one_line(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    if !line.starts_with(b"[") {
        return false;
    }
    // A header that cannot be read is refused at once, rather than left waiting for a blank line.
    let Some(end) = header_end(line, 0) else { return true };
    !matches!(line[end..].trim_ascii_start().first(), None | Some(b'#'))
}

const BLANKS: [char; 2] = [' ', '\t'];

fn blanks(line: &str, at: usize) -> usize {
    line.len() - line[at..].trim_start_matches(BLANKS).len()
}

/// The end of the header that begins here.
fn header(line: &str, at: usize) -> Result<usize, String> {
    header_end(line.as_bytes(), at).ok_or_else(|| expected("a header such as [[m]] or [m.to]", line, at))
}

fn header_end(line: &[u8], at: usize) -> Option<usize> {
    let closing: &[u8] = if line[at..].starts_with(b"[[") { b"]]" } else { b"]" };
    let mut at = at + closing.len();
    loop {
        match line.get(at)? {
            b']' => return line[at..].starts_with(closing).then_some(at + closing.len()),
            b'"' | b'\'' => at = string_end(line, at)?,
            b'[' | b'#' | b'=' => return None,
            _ => at += 1,
        }
    }
}

/// The end of the `key = value` that begins here.
fn pair(line: &str, start: usize) -> Result<usize, String> {
    let bytes = line.as_bytes();
    let mut at = start;
    loop {
        match bytes.get(at) {
            Some(b'=') if at > start => break,
            Some(b'"' | b'\'') => at = closed(line, at)?,
            Some(byte) if is_key(*byte) => at += 1,
            _ => {
                return Err(expected(
                    if at > start { "`=` after a key" } else { "a header or a key" },
                    line,
                    at,
                ));
            }
        }
    }
    value(line, blanks(line, at + 1))
}

/// Bare keys, the dots between them and blanks around those.
fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b' ' | b'\t') || byte >= 0x80
}

/// The end of the value that begins here.
fn value(line: &str, start: usize) -> Result<usize, String> {
    match line.as_bytes().get(start) {
        Some(b'"' | b'\'') => closed(line, start),
        Some(b'[' | b'{') => nested(line, start),
        None | Some(b'#' | b']' | b'}' | b',' | b'=') => Err(expected("a value after `=`", line, start)),
        Some(_) => {
            let end = line[start..].find([' ', '\t', '[', '#']).map_or(line.len(), |length| start + length);
            Ok(end)
        }
    }
}

/// The end of the array or inline table that begins here.
fn nested(line: &str, start: usize) -> Result<usize, String> {
    let bytes = line.as_bytes();
    let (mut at, mut depth) = (start, 0usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => {
                at = closed(line, at)?;
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b'#' => break,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Ok(at);
        }
    }
    Err(expected(if bytes[start] == b'[' { "a closing ]" } else { "a closing }" }, line, start))
}

/// The end of the string that begins here.
fn closed(line: &str, start: usize) -> Result<usize, String> {
    string_end(line.as_bytes(), start).ok_or_else(|| expected("a closing quote", line, start))
}

/// Four kinds of strings: `"…"` with escapes, `'…'` without, and three quotes of either.
fn string_end(line: &[u8], start: usize) -> Option<usize> {
    let quote = line[start];
    let run = line[start..].iter().take_while(|&&byte| byte == quote).count();
    if run == 2 {
        return Some(start + 2);
    }
    let quotes = if run >= 3 { 3 } else { 1 };
    let mut at = start + quotes;
    loop {
        let byte = *line.get(at)?;
        if byte == b'\\' && quote == b'"' {
            at += 2;
        } else if byte != quote {
            at += 1;
        } else {
            let run = line[at..].iter().take_while(|&&byte| byte == quote).count();
            if quotes == 1 {
                return Some(at + 1);
            }
            // Up to two quotes may stand before the closing three.
            if run >= 3 {
                return Some(at + run.min(5));
            }
            at += run;
        }
    }
}

fn expected(what: &str, line: &str, at: usize) -> String {
    let found: String = line[at..].chars().take(16).collect();
    let column = line[..at].chars().count() + 1;
    if found.is_empty() {
        format!("expected {what} at column {column}; found the end of the line")
    } else {
        format!("expected {what} at column {column}; found {found:?}")
    }
}

#[cfg(test)]
mod tests;
