//! Who may ask: whoever has the token; without one whoever is on this host, but no web page of another's.
//!
//! A page in a browser on this host reaches a loopback port. It cannot read what it is answered, unless a name of its own
//! leads here (DNS rebinding), and it can post. So without a token the name asked for must be no name, and a post's Origin
//! must be this port's own.

use crate::config::Secret;
use hyper::Method;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};
use std::net::IpAddr;

/// Why someone may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has not the token: 401.
    NoToken,
    /// It is a page of another site: 403.
    OtherSite,
}

/// Judges a request by its headers.
pub fn judge(token: Option<&Secret>, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    let host = text(headers, &HOST).unwrap_or_default();
    match token {
        Some(token) if !bears(token, headers) => return Err(Refusal::NoToken),
        None if !is_no_name(host) => return Err(Refusal::OtherSite),
        _ => {}
    }
    let is_change = !matches!(*method, Method::GET | Method::HEAD);
    if is_change
        && text(headers, &ORIGIN).is_some_and(|origin| origin.split_once("://").map(|it| it.1) != Some(host))
    {
        return Err(Refusal::OtherSite);
    }
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn bears(token: &Secret, headers: &HeaderMap) -> bool {
    let Some((scheme, sent)) = text(headers, &AUTHORIZATION).and_then(|it| it.split_once(' ')) else {
        return false;
    };
    scheme.eq_ignore_ascii_case("bearer") && token.is(sent.trim())
}

/// An address or localhost, with or without a port.
fn is_no_name(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) && (name.ends_with(']') || !name.contains(':')) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_token_is_wanted_whole_and_of_its_scheme() {
        let token = Secret::new("0123456789abcdef".to_owned());
        let judge = |value: &str| {
            super::judge(
                Some(&token),
                &Method::GET,
                &headers(&[(AUTHORIZATION, value), (HOST, "any.example")]),
            )
        };
        assert_eq!(judge("Bearer 0123456789abcdef"), Ok(()));
        assert_eq!(judge("bearer  0123456789abcdef"), Ok(()));
        for wrong in
            ["Bearer 0123456789abcde", "Bearer 0123456789abcdeg", "Basic 0123456789abcdef", "Bearer ", "x"]
        {
            assert_eq!(judge(wrong), Err(Refusal::NoToken), "{wrong}");
        }
        assert_eq!(super::judge(Some(&token), &Method::GET, &HeaderMap::new()), Err(Refusal::NoToken));
    }

    #[test]
    fn without_a_token_a_name_that_leads_here_is_another_sites() {
        let judge = |host: &str| super::judge(None, &Method::GET, &headers(&[(HOST, host)]));
        for own in ["127.0.0.1:9600", "127.0.0.1", "localhost:9600", "LOCALHOST", "[::1]:9600", "[::1]"] {
            assert_eq!(judge(own), Ok(()), "{own}");
        }
        for other in ["evil.example:9600", "localhost.evil.example", "", "127.0.0.1.evil.example", "[::1]x:1"]
        {
            assert_eq!(judge(other), Err(Refusal::OtherSite), "{other}");
        }
    }

    #[test]
    fn a_page_of_another_site_may_not_post() {
        let judge = |method: Method, origin: &str| {
            super::judge(None, &method, &headers(&[(HOST, "127.0.0.1:9600"), (ORIGIN, origin)]))
        };
        assert_eq!(judge(Method::POST, "http://127.0.0.1:9600"), Ok(()));
        assert_eq!(judge(Method::GET, "https://evil.example"), Ok(()), "it cannot read the answer");
        for other in ["https://evil.example", "http://127.0.0.1:9601", "null"] {
            assert_eq!(judge(Method::POST, other), Err(Refusal::OtherSite), "{other}");
        }
        let no_page = super::judge(None, &Method::POST, &headers(&[(HOST, "127.0.0.1:9600")]));
        assert_eq!(no_page, Ok(()), "what sends no Origin is no browser");
    }
}
