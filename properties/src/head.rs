//! The upgrade request: any bytes, in any pieces, before anything.
//!
//! Accepted exactly if `rules`, the RFCs read naively, accept it, and with the same values; every prefix is
//! either undecided or decided as the whole, and so are pieces as a connection reads them; every answer is well-formed
//! HTTP. Input: the bytes as they come.

mod rules;

use wire::upgrade::{self, Head, HeadLimits, Partial, Refusal, Request, parse};

/// The server's own, and ones that small inputs reach.
const LIMITS: [HeadLimits; 2] =
    [HeadLimits { bytes_max: 8192, headers_max: 100 }, HeadLimits { bytes_max: 300, headers_max: 9 }];
/// What may come behind a head: nothing of it may count.
const BEHIND: [&[u8]; 4] = [b"\x81\x85\0\0\0\0hello", b"\r\n\r\n", b"\n\0", b"Host: b\r\n\r\n"];
/// Prefixes that are looked at; all of them if the input is no longer.
const PREFIXES_MAX: usize = 512;
/// The longest piece of a request that comes in some.
const PIECE_BYTES_MAX: usize = 48;

/// See the module.
pub fn head(bytes: &[u8]) {
    for limits in &LIMITS {
        let whole = parse(bytes, limits);
        let expected = rules::upgrade(bytes, limits);
        match &whole {
            Ok(Head::Incomplete) => {
                assert!(bytes.len() < limits.bytes_max, "a head of the limit's length is decided");
                assert_eq!(expected, None);
            }
            Ok(Head::Complete(request, head_bytes)) => {
                assert_eq!(expected, Some((*request, *head_bytes)));
                check_upgrade(request, &bytes[..*head_bytes], limits);
            }
            Err(refusal) => {
                assert_eq!(expected, None, "refused with {refusal:?}");
                check_refusal(refusal, bytes);
            }
        }
        check_prefixes(bytes, limits, &whole);
        if bytes.len() <= PREFIXES_MAX {
            check_pieces(bytes, limits, &whole, |_| 1);
        }
        // Pieces as long as what they begin with says: the input decides.
        check_pieces(bytes, limits, &whole, |first| 1 + usize::from(first) % PIECE_BYTES_MAX);
    }
}

/// Undecided up to some byte, and from there on as the whole. So every split in any number of pieces, down to
/// single bytes, ends alike.
fn check_prefixes(bytes: &[u8], limits: &HeadLimits, whole: &Result<Head<'_>, Refusal>) {
    let step = 1 + bytes.len() / PREFIXES_MAX;
    let mut is_decided = false;
    for end in (0..bytes.len()).step_by(step) {
        let result = parse(&bytes[..end], limits);
        if is_decided || result != Ok(Head::Incomplete) {
            is_decided = true;
            assert_eq!(result, *whole, "decided after {end} bytes");
        }
    }
}

/// As a connection reads them, which parses only where a piece may have decided something.
fn check_pieces(
    bytes: &[u8],
    limits: &HeadLimits,
    whole: &Result<Head<'_>, Refusal>,
    length: impl Fn(u8) -> usize,
) {
    let (mut head, mut start) = (Partial::default(), 0);
    while let Some(first) = bytes.get(start) {
        let end = bytes.len().min(start + length(*first));
        let must_parse = head.push(&bytes[start..end], limits);
        start = end;
        if must_parse {
            match parse(head.bytes_mut(), limits) {
                Ok(Head::Incomplete) => head = Partial::new(head.into_bytes()),
                outcome => {
                    assert_eq!(outcome, *whole, "in pieces, decided after {end} bytes");
                    return;
                }
            }
        }
    }
    assert_eq!(*whole, Ok(Head::Incomplete), "in pieces it is not decided");
}

fn check_upgrade(request: &Request<'_>, head: &[u8], limits: &HeadLimits) {
    for behind in BEHIND {
        let bytes = [head, behind].concat();
        assert_eq!(parse(&bytes, limits), Ok(Head::Complete(*request, head.len())));
    }
    if let Some(code) = request.room_code() {
        assert!((1..=upgrade::ROOM_CODE_BYTES_MAX).contains(&code.len()));
    }
    let mut answer = Vec::new();
    upgrade::accept(request, &mut answer);
    let fields = check_response(&answer, 101, None);
    let field = |name: &str| fields.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
    assert_eq!(field("Upgrade"), Some("websocket"));
    assert_eq!(field("Connection"), Some("Upgrade"));
    assert_eq!(field("Sec-WebSocket-Accept").map(str::len), Some(28), "20 bytes in base64");
    assert_eq!(field("Sec-WebSocket-Protocol"), request.protocol);
    assert_eq!(fields.len(), 3 + usize::from(request.protocol.is_some()));
}

fn check_refusal(refusal: &Refusal, bytes: &[u8]) {
    let is_head_method = upgrade::is_head_method(bytes);
    let mut answer = Vec::new();
    refusal.write(is_head_method, &mut answer);
    let fields = check_response(&answer, refusal.status(), Some(is_head_method));
    assert!(fields.contains(&("Connection".to_owned(), "close".to_owned())));
}

/// The fields of a response, which is well-formed: RFC 9112 §2.1 and a body of just its Content-Length.
/// `is_bodiless` is `None` where there is no Content-Length either.
pub(crate) fn check_response(
    response: &[u8],
    status: u16,
    is_bodiless: Option<bool>,
) -> Vec<(String, String)> {
    let response = std::str::from_utf8(response).expect("a response is ASCII");
    let (head, body) = response.split_once("\r\n\r\n").expect("a response has an empty line");
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    assert!(status_line.starts_with(&format!("HTTP/1.1 {status} ")), "{status_line}");
    assert!(is_visible(status_line));
    let fields: Vec<(String, String)> = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").expect("a field has a name and a value");
            assert!(name.bytes().all(rules::is_token_byte) && is_visible(value), "{line}");
            (name.to_owned(), value.to_owned())
        })
        .collect();
    let length = fields.iter().find(|(name, _)| name == "Content-Length").map(|(_, value)| value.parse());
    match (length, is_bodiless) {
        (Some(length), Some(is_bodiless)) => {
            let length: usize = length.expect("a length is a number");
            assert_eq!(body.len(), if is_bodiless { 0 } else { length });
        }
        (length, _) => assert!(length.is_none() && body.is_empty() && matches!(status, 101 | 204)),
    }
    fields
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}
