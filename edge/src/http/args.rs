//! The arguments of one call: path, query and body merged, and checked against the call table.

use std::collections::BTreeMap;

use axum::extract::Request;
use shared::command::Call;

use super::{
    backend::Failure,
    input::{self, Pairs},
    limits::Limits,
};

/// The longest value of one argument, in bytes: the longest is an avatar's address.
pub const VALUE_BYTES: usize = 4096;

/// Reads and checks everything that `request` says.
///
/// # Errors
/// [`Failure`] with 400 or 413, naming the argument.
pub async fn gather(
    call: &Call,
    request: Request,
    limits: &Limits,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut pairs = in_path(call, request.uri().path())?;
    if let Some(query) = request.uri().query() {
        pairs.extend(input::form(query.as_bytes(), "query")?);
    }
    pairs.extend(input::body(request, limits).await?);
    merge(call, pairs)
}

/// The `{name}` parts of the call's path. axum has matched it already, but decodes more leniently than is wanted here.
fn in_path(call: &Call, path: &str) -> Result<Pairs, Failure> {
    let mut pairs = Pairs::new();
    for (pattern, found) in call.path.split('/').zip(path.split('/')) {
        if let Some(name) = pattern.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            pairs.push((name.to_owned(), input::percent(found.as_bytes(), false, name)?));
        }
    }
    Ok(pairs)
}

fn merge(call: &Call, pairs: Pairs) -> Result<BTreeMap<String, String>, Failure> {
    let known = || call.args.iter().map(|arg| arg.trim_end_matches('!'));
    let mut args = BTreeMap::new();
    for (name, value) in pairs {
        if !known().any(|arg| arg == name) {
            let names: Vec<_> = known().collect();
            let expected =
                if names.is_empty() { "no arguments".into() } else { format!("one of {}", names.join(", ")) };
            return Err(Failure::invalid(format!(
                "expected {expected}, found the argument {}",
                input::shown(&name)
            )));
        }
        if value.len() > VALUE_BYTES {
            return Err(Failure::invalid(format!(
                "expected at most {VALUE_BYTES} bytes in the argument {name}, found {}",
                value.len()
            )));
        }
        if value.contains('\0') {
            return Err(Failure::invalid(format!(
                "expected text without U+0000 in the argument {name}, found one"
            )));
        }
        if args.contains_key(&name) {
            return Err(Failure::invalid(format!("expected the argument {name} once, found it twice")));
        }
        args.insert(name, value);
    }
    for required in call.args.iter().filter_map(|arg| arg.strip_suffix('!')) {
        if !args.contains_key(required) {
            return Err(Failure::invalid(format!(
                "expected the argument {required}, found none of that name"
            )));
        }
    }
    Ok(args)
}
