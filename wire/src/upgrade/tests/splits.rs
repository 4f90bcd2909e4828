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

/// The same outcome, as text, by way of [`Partial`], and how often it took a call of `parse`.
fn pieced(bytes: &[u8], ends: impl Iterator<Item = usize>, limits: &HeadLimits) -> (String, usize) {
    let mut head = Partial::default();
    let mut calls = 0;
    let mut start = 0;
    for end in ends.filter(|end| *end > 0) {
        let must_parse = head.push(&bytes[start..end], limits);
        start = end;
        if must_parse {
            calls += 1;
            match parse(head.bytes_mut(), limits) {
                Ok(Head::Incomplete) => head = Partial::new(head.into_bytes()),
                outcome => return (format!("{outcome:?}"), calls),
            }
        }
    }
    (format!("{:?}", Ok::<_, Refusal>(Head::Incomplete)), calls)
}

#[test]
fn byte_by_byte_ends_like_the_whole() {
    for sample in samples() {
        let whole = parse(&sample, &LIMITS);
        assert_eq!(fed(&sample, 0..=sample.len()), whole, "{}", String::from_utf8_lossy(&sample));
        let (outcome, _) = pieced(&sample, 1..=sample.len(), &LIMITS);
        assert_eq!(outcome, format!("{whole:?}"), "{}", String::from_utf8_lossy(&sample));
    }
}

#[test]
fn every_split_in_two_ends_like_the_whole() {
    for sample in samples() {
        let whole = parse(&sample, &LIMITS);
        for end in 0..=sample.len() {
            assert_eq!(fed(&sample, [end, sample.len()].into_iter()), whole, "at {end}");
            let (outcome, _) = pieced(&sample, [end, sample.len()].into_iter(), &LIMITS);
            assert_eq!(outcome, format!("{whole:?}"), "at {end}");
        }
    }
}

#[test]
fn no_prefix_of_an_upgrade_is_refused_or_complete() {
    for end in 0..BROWSER.len() {
        assert_eq!(parse(&BROWSER.as_bytes()[..end], &LIMITS), Ok(Head::Incomplete), "{end}");
    }
}

/// At each place in a head, each byte that is not parsed at once leaves it incomplete.
#[test]
fn what_is_not_parsed_again_could_not_have_changed_the_outcome() {
    let mut put_off = 0;
    for sample in
        [format!("\r\n{BROWSER}"), with_target("ws://example.org/?roomCode=a"), adding("X:\r\nY: é\r\n")]
    {
        let sample = sample.as_bytes();
        for end in 1..sample.len() {
            for byte in 0..=u8::MAX {
                let mut head = Partial::new(sample[..end].to_vec());
                if !head.push(&[byte], &LIMITS) {
                    assert_eq!(parse(head.bytes_mut(), &LIMITS), Ok(Head::Incomplete), "{end} {byte:02x}");
                    put_off += 1;
                }
            }
        }
    }
    assert!(put_off > 50_000, "{put_off}");
}

#[test]
fn a_head_that_drips_in_is_parsed_three_times_a_line_and_not_once_a_byte() {
    // The request line's two words and its version's eight bytes, the empty line.
    const BESIDE_FIELDS: usize = 16;
    let limits = HeadLimits { bytes_max: 8192, headers_max: 100 };
    let parsed = |head: &str| pieced(head.as_bytes(), 1..=head.len(), &limits).1;
    assert!(parsed(BROWSER) <= BESIDE_FIELDS + 3 * 7, "{}", parsed(BROWSER));
    let long = with_target(&format!("/{}", "x".repeat(7_000)));
    assert!(parsed(&long) <= BESIDE_FIELDS + 3 * 7, "{}", parsed(&long));
    let many = with_target(&"/".repeat(7_000)).replace("Host", &format!("{}Host", "X:\r\n".repeat(93)));
    assert!(parsed(&many) <= BESIDE_FIELDS + 3 * 100, "{}", parsed(&many));
    let endless = format!("GET /{}", "x".repeat(9_000));
    assert!(parsed(&endless) <= BESIDE_FIELDS, "{}", parsed(&endless));
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
        let whole = parse(&bytes, &LIMITS);
        prop_assert_eq!(fed(&bytes, [end, bytes.len()].into_iter()), whole);
        let (outcome, _) = pieced(&bytes, [end, bytes.len()].into_iter(), &LIMITS);
        prop_assert_eq!(outcome, format!("{whole:?}"));
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
        let whole = parse(&bytes, &LIMITS);
        prop_assert_eq!(fed(&bytes, 0..=bytes.len()), whole);
        prop_assert_eq!(pieced(&bytes, 1..=bytes.len(), &LIMITS).0, format!("{whole:?}"));
    }
}
