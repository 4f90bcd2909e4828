//! Whose web pages may connect, by the Origin that a browser sends (RFC 6454, RFC 6455 §10.2).
//!
//! It keeps a foreign page from speaking in the name of a browser's user. It holds up no program: one sends any
//! Origin it likes, or none, so a request without one is let in, as no browser sent it.
//! Invariant: what is listed is in the form that browsers send: lower case, and no port that the scheme implies.

use std::fmt;
use std::sync::Arc;

/// Whose pages may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Everyone's.
    #[default]
    All,
    /// These origins'.
    Listed(Arc<[Box<str>]>),
}

impl Origins {
    /// Reads `all`, or origins with commas between them: `scheme://host[:port]`, or `null`, which is what pages
    /// without an origin send (a file, a sandboxed frame). `None` if it is neither.
    pub fn parse(text: &str) -> Option<Origins> {
        if text == "all" {
            return Some(Origins::All);
        }
        text.split(',').map(serialized).collect::<Option<Arc<[_]>>>().map(Origins::Listed)
    }

    /// True if a request with this Origin may become a connection; letters' case does not count. Linear in the list.
    pub fn allow(&self, origin: Option<&str>) -> bool {
        match (self, origin) {
            (Origins::All, _) | (_, None) => true,
            (Origins::Listed(listed), Some(origin)) => {
                listed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
            }
        }
    }
}

/// As [`Origins::parse`] reads it.
impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origins::All => f.write_str("all"),
            Origins::Listed(listed) => f.write_str(&listed.join(",")),
        }
    }
}

/// An origin as browsers serialize it, RFC 6454 §6.2.
fn serialized(text: &str) -> Option<Box<str>> {
    let text = text.trim().to_ascii_lowercase();
    if text == "null" {
        return Some(text.into());
    }
    let (scheme, authority) = text.split_once("://")?;
    // The last colon of an IPv6 address is inside its brackets.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse::<u16>().ok()?)),
        _ => (authority, None),
    };
    if !is_scheme(scheme) || !is_host(host) {
        return None;
    }
    Some(match port {
        Some(port) if implied_port(scheme) != Some(port) => format!("{scheme}://{host}:{port}").into(),
        _ => format!("{scheme}://{host}").into(),
    })
}

fn is_scheme(scheme: &str) -> bool {
    let is_scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_scheme_byte)
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| {
            !address.is_empty()
                && address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
        }),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    }
}

fn implied_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> String {
        Origins::parse(text).map_or_else(|| "refused".to_owned(), |origins| origins.to_string())
    }

    #[test]
    fn a_list_is_read_in_the_form_that_browsers_send() {
        for (text, read) in [
            ("all", "all"),
            ("https://example.org", "https://example.org"),
            ("HTTPS://Example.ORG:443 , http://localhost:3000", "https://example.org,http://localhost:3000"),
            ("http://a:80,https://a:80,http://a:443", "http://a,https://a:80,http://a:443"),
            ("http://[::1]:80,http://[::1]:8080,http://[::1]", "http://[::1],http://[::1]:8080,http://[::1]"),
            ("null", "null"),
            ("capacitor://localhost,moz-extension://0f-1", "capacitor://localhost,moz-extension://0f-1"),
        ] {
            assert_eq!(listed(text), read, "{text}");
            assert_eq!(listed(read), read, "what is shown is read again");
        }
    }

    #[test]
    fn what_no_browser_sends_as_an_origin_is_refused() {
        for text in [
            "",
            ",",
            "https://a,",
            "example.org",
            "localhost:3000",
            "*",
            "https://",
            "https://*.example.org",
            "https://example.org/",
            "https://example.org/app",
            "https://me@example.org",
            "https://example.org:",
            "https://example.org:https",
            "https://example.org:65536",
            "https://[]",
            "https://[::1",
            "https://exämple.org",
            "://example.org",
            "1https://example.org",
            "all,https://a",
        ] {
            assert_eq!(listed(text), "refused", "{text}");
        }
    }

    #[test]
    fn an_origin_is_compared_without_case_and_whole() {
        let origins = Origins::parse("https://example.org,http://localhost:3000").unwrap();
        for allowed in ["https://example.org", "HTTPS://EXAMPLE.ORG", "http://LocalHost:3000"] {
            assert!(origins.allow(Some(allowed)), "{allowed}");
        }
        for foreign in [
            "http://example.org",
            "https://example.org:8443",
            "https://example.org.evil.test",
            "https://evil-example.org",
            "https://www.example.org",
            "http://localhost",
            "http://localhost:30000",
            "null",
            "",
            "https://example.org https://evil.test",
        ] {
            assert!(!origins.allow(Some(foreign)), "{foreign}");
        }
    }

    #[test]
    fn no_origin_is_no_browser_and_null_is_a_page_like_others() {
        let origins = Origins::parse("https://example.org").unwrap();
        assert!(origins.allow(None));
        assert!(!origins.allow(Some("null")));
        assert!(Origins::parse("null").unwrap().allow(Some("null")));
        assert!(Origins::All.allow(Some("null")) && Origins::All.allow(Some("https://anyone.test")));
    }
}
