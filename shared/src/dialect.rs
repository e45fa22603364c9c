//! simple_im's one-line form: `[[m]] id = "a_02" c = "hello" to = 3 [m.from] id = 1`, turned into standard TOML.
//!
//! Pairs follow the header on its line, sub-tables follow as `[r.user] id = 1` further along the same line.

/// Rewrites one line as standard TOML (a line break before each header and each pair); the rest of the work is the
/// ordinary parser's.
///
/// # Errors
/// What was expected and what was found, for people.
pub fn to_standard(_line: &str) -> Result<String, String> {
    unimplemented!()
}
