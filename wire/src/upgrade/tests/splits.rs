//! However a request is split, it ends like the whole.
//!
//! A connection feeds growing prefixes until one is complete or refused. Also the fuzzer of the head: no
//! bytes make it panic.

use super::malformed::malformed;
use super::*;

/// Small, so that samples past them stay short.
const LIMITS: HeadLimits = HeadLimits { bytes_max: 512, headers_max: 20 };

/// Sound and faulty heads of every kind, some with bytes behind.
fn samples() -> Vec<Vec<u8>> {
    let mut samples: Vec<Vec<u8>> = malformed().into_iter().map(|(_, head)| head).collect();
    for head in [
        BROWSER.to_owned(),
        format!("\r\n{BROWSER}"),
        format!("\r\n\r\n{BROWSER}"),
        format!("{BROWSER}\u{81}\n\r\n\u{0}"),
        adding("Sec-WebSocket-Protocol: a, b\r\nX:\r\nY: é\r\n"),
        with_target("ws://example.org/ws?roomCode=a"),
        BROWSER.replace("GET", "POST"),
        BROWSER.replace("GET", "HEAD"),
        BROWSER.replace("GET", "OPTIONS"),
        BROWSER.replace("HTTP/1.1", "HTTP/1.0"),
        BROWSER.replace("HTTP/1.1", "HTTP/2.0"),
        BROWSER.replace("HTTP/1.1", "HTTP/1.12"),
        BROWSER.replace("HTTP/1.1\r\n", "HTTP/1.0\n\0"),
        with("Sec-WebSocket-Version", ""),
        with("Upgrade:", ""),
        adding("X: \0\nY: \n"),
        adding("X: \nY: \0"),
        adding(&"X: y\r\n".repeat(30)),
        adding(&format!("X: {}\0\n", "x".repeat(600))),
    ] {
        samples.push(head.into_bytes());
    }
    samples
}

/// The outcome of one prefix after the other, as a connection feeds them: the first that is not Incomplete.
fn fed(bytes: &[u8], ends: impl Iterator<Item = usize>) -> Result<Head<'_>, Refusal> {
    ends.map(|end| parse(&bytes[..end], &LIMITS))
        .find(|result| *result != Ok(Head::Incomplete))
        .unwrap_or(Ok(Head::Incomplete))
}

#[test]
fn byte_by_byte_ends_like_the_whole() {
    for sample in samples() {
        let whole = parse(&sample, &LIMITS);
        assert_eq!(fed(&sample, 0..=sample.len()), whole, "{}", String::from_utf8_lossy(&sample));
    }
}

#[test]
fn every_split_in_two_ends_like_the_whole() {
    for sample in samples() {
        let whole = parse(&sample, &LIMITS);
        for end in 0..=sample.len() {
            assert_eq!(fed(&sample, [end, sample.len()].into_iter()), whole, "at {end}");
        }
    }
}

#[test]
fn no_prefix_of_an_upgrade_is_refused_or_complete() {
    for end in 0..BROWSER.len() {
        assert_eq!(parse(&BROWSER.as_bytes()[..end], &LIMITS), Ok(Head::Incomplete), "{end}");
    }
}

/// A place, and a byte to put there: half of them bytes that mean something in a head.
fn edit() -> impl Strategy<Value = (prop::sample::Index, u8)> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(&b"\r\n :,\t/=\0"[..])];
    (any::<prop::sample::Index>(), byte)
}

proptest! {
    #[test]
    fn any_bytes_end_in_every_split_like_the_whole(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let end = cut.index(bytes.len() + 1);
        prop_assert_eq!(fed(&bytes, [end, bytes.len()].into_iter()), parse(&bytes, &LIMITS));
    }

    #[test]
    fn a_request_with_any_bytes_overwritten_ends_byte_by_byte_like_the_whole(
        edits in prop::collection::vec(edit(), 1..4),
    ) {
        let mut bytes = BROWSER.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert_eq!(fed(&bytes, 0..=bytes.len()), parse(&bytes, &LIMITS));
    }
}
