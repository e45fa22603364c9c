//! The token of a cookie or an `Authorization` header. Only its digest leaves this module.

use axum::http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE},
};
use shared::{command::Code, ids::TokenDigest};

use super::{backend::Failure, cookie, input};

/// Longer than any token ever handed out.
const TOKEN_BYTES: usize = 256;

/// Digests the caller's token: `Authorization: Bearer <token>`, or else the cookie `token`, as it stands (base64 with
/// its `+`, `/` and `=`), percent-encoded or in quotes.
///
/// # Errors
/// 401 with `code = "token"` where there is none; 400 where it cannot be read, or where cookies contradict each other.
pub fn digest(headers: &HeaderMap) -> Result<TokenDigest, Failure> {
    let token = match bearer(headers)? {
        Some(token) => Some(token),
        None => cookie(headers, "token")?,
    };
    match token {
        Some(token) => checked(&token),
        None if cookie(headers, cookie::NAME)?.is_some() => Err(Failure::new(
            Code::Forbidden,
            "expected the header IM-Session: cookie beside the cookie im_session, found the cookie alone",
        )),
        None => Err(Failure::new(
            Code::Token,
            "expected a token, as the cookie token=… or the header Authorization: Bearer …, found none",
        )),
    }
}

/// Digests the token of a browser's session, if there is one.
///
/// # Errors
/// 401 for what is no token, 400 where it cannot be read.
pub fn session(headers: &HeaderMap) -> Result<Option<TokenDigest>, Failure> {
    cookie(headers, cookie::NAME)?.map(|token| checked(&token)).transpose()
}

/// The same, where there has to be one.
///
/// # Errors
/// As [`session`]; 401 for none.
pub fn own_session(headers: &HeaderMap) -> Result<TokenDigest, Failure> {
    session(headers)?
        .ok_or_else(|| Failure::new(Code::Token, "expected the cookie im_session of a login, found none"))
}

fn checked(token: &str) -> Result<TokenDigest, Failure> {
    match token.len() {
        1..=TOKEN_BYTES => Ok(TokenDigest::of(token)),
        length => Err(Failure::new(
            Code::Token,
            format!("expected a token of 1 to {TOKEN_BYTES} bytes, found {length}"),
        )),
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let text = utf8(value.as_bytes())?.trim();
    Ok(match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim().to_owned()),
        _ => None,
    })
}

fn cookie(headers: &HeaderMap, name: &str) -> Result<Option<String>, Failure> {
    let mut found: Option<String> = None;
    for header in headers.get_all(COOKIE) {
        for pair in utf8(header.as_bytes())?.split(';') {
            let value = pair.trim().strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
            let Some(value) = value else { continue };
            let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
            // No % occurs in base64, so decoding leaves a token alone that was sent as it stands; + stays +.
            let token = input::percent(value.as_bytes(), false, name)?;
            match &found {
                Some(first) if *first != token => {
                    let reason = format!("expected one cookie {name}, found two that differ");
                    return Err(Failure::malformed(reason));
                }
                _ => found = Some(token),
            }
        }
    }
    Ok(found)
}

fn utf8(bytes: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(bytes)
        .map_err(|_| Failure::malformed("expected UTF-8 in the headers, found other bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_token_is_read_in_every_spelling() {
        let token = "rylFLDGW4NN0h4leO97O/Gibar8KQ+8=";
        for pair in [
            ("cookie", format!("token={token}")),
            ("cookie", format!("theme=dark; token={token}; x=y")),
            ("cookie", format!("token=\"{token}\"")),
            ("cookie", "token=rylFLDGW4NN0h4leO97O%2FGibar8KQ%2b8%3D".to_owned()),
            ("authorization", format!("Bearer {token}")),
            ("authorization", format!("bearer  {token} ")),
        ] {
            let found = digest(&headers(&[(pair.0, &pair.1)])).unwrap();
            assert_eq!(found, TokenDigest::of(token), "{pair:?}");
        }
    }

    #[test]
    fn the_header_goes_before_the_cookie_and_equal_cookies_are_one() {
        let both = headers(&[("cookie", "token=a"), ("authorization", "Bearer b")]);
        assert_eq!(digest(&both).unwrap(), TokenDigest::of("b"));
        let twice = headers(&[("cookie", "token=a"), ("cookie", "token=a")]);
        assert_eq!(digest(&twice).unwrap(), TokenDigest::of("a"));
    }

    #[test]
    fn a_browsers_cookie_is_read_where_it_is_asked_for_and_nowhere_else() {
        let browser = headers(&[("cookie", "theme=dark; im_session=ry+/=")]);
        assert_eq!(own_session(&browser).unwrap(), TokenDigest::of("ry+/="));
        let refused = digest(&browser).unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.code), (403, Code::Forbidden));
        assert_eq!(session(&headers(&[("cookie", "token=a")])).unwrap(), None);
        assert_eq!(own_session(&headers(&[("cookie", "im_session=")])).unwrap_err().code, Code::Token);
        let both = headers(&[("cookie", "token=a; im_session=b")]);
        assert_eq!(digest(&both).unwrap(), TokenDigest::of("a"));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for (pairs, status) in [
            (headers(&[]), 401),
            (headers(&[("cookie", "tokens=a; xtoken=b")]), 401),
            (headers(&[("cookie", "token=")]), 401),
            (headers(&[("cookie", "token=\"\"")]), 401),
            (headers(&[("authorization", "Basic YTpi")]), 401),
            (headers(&[("cookie", &format!("token={}", "a".repeat(257)))]), 401),
            (headers(&[("cookie", "token=a; token=b")]), 400),
            (headers(&[("cookie", "token=a%2")]), 400),
        ] {
            assert_eq!(digest(&pairs).unwrap_err().status.as_u16(), status, "{pairs:?}");
        }
    }
}
