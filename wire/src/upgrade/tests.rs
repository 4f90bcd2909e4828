//! Each rule of the upgrade request by a test of its name.
//!
//! A request is written in full, or as [`BROWSER`] with lines changed. Malformed ones stand in a table in
//! `malformed`; `splits` feeds every sample in every split.

mod malformed;
mod splits;

use super::*;
use proptest::prelude::*;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 8192, headers_max: 100 };

/// What a browser sends, with the key of RFC 6455 §1.3.
const BROWSER: &str = "GET /ws/sync?roomCode=R1&userId=u HTTP/1.1\r\n\
    Host: example.org\r\n\
    Connection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\n\
    Origin: https://example.org\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
    \r\n";

/// The browser's request with the line that starts with `name` replaced by `lines`.
fn with(name: &str, lines: &str) -> String {
    let at = BROWSER.find(name).unwrap();
    let end = at + BROWSER[at..].find("\r\n").unwrap() + 2;
    format!("{}{lines}{}", &BROWSER[..at], &BROWSER[end..])
}

fn with_target(target: &str) -> String {
    with("GET", &format!("GET {target} HTTP/1.1\r\n"))
}

/// The browser's request with more lines behind Host.
fn adding(lines: &str) -> String {
    with("Host", &format!("Host: example.org\r\n{lines}"))
}

fn upgrade(head: &str) -> Request<'_> {
    match parse(head.as_bytes(), &LIMITS) {
        Ok(Head::Complete(request, head_bytes)) if head_bytes == head.len() => request,
        other => panic!("{head:?}: {other:?}"),
    }
}

fn refusal(head: impl AsRef<[u8]>) -> Refusal {
    parse(head.as_ref(), &LIMITS).expect_err(&String::from_utf8_lossy(head.as_ref()))
}

fn status(head: impl AsRef<[u8]>) -> u16 {
    refusal(head).status()
}

#[test]
fn a_browsers_request_is_an_upgrade() {
    assert_eq!(
        upgrade(BROWSER),
        Request {
            path: "/ws/sync?roomCode=R1&userId=u",
            key: "dGhlIHNhbXBsZSBub25jZQ==",
            protocol: None,
            origin: Some("https://example.org"),
        }
    );
}

#[test]
fn the_first_offered_protocol_is_taken() {
    let head = adding("Sec-WebSocket-Protocol: chat.v2 ,chat\r\nSec-WebSocket-Protocol: last\r\n");
    assert_eq!(upgrade(&head).protocol, Some("chat.v2"));
}

#[test]
fn bytes_behind_the_head_are_the_first_frame() {
    let mut bytes = BROWSER.as_bytes().to_vec();
    bytes.extend_from_slice(b"\x81\x82\n\r\n\xff\x00\n\n");
    let Ok(Head::Complete(request, head_bytes)) = parse(&bytes, &LIMITS) else { panic!("not complete") };
    assert_eq!(request, upgrade(BROWSER));
    assert_eq!(&bytes[head_bytes..], b"\x81\x82\n\r\n\xff\x00\n\n");
}

#[test]
fn names_and_tokens_are_read_without_case_and_lists_may_be_repeated_headers() {
    let head = with("Connection", "CONNECTION:keep-alive\r\nconnection:\tfoo , uPGRADE ,\r\n");
    upgrade(&head);
    upgrade(&with("Upgrade:", "uPgRaDe: h2c, WebSocket\r\n"));
    upgrade(&with("Upgrade:", "Upgrade: h2c\r\nUpgrade: websocket\r\n"));
}

#[test]
fn version_8_is_accepted_and_calls_origin_by_its_old_name() {
    let head = with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8\r\n");
    assert_eq!(upgrade(&head).origin, Some("https://example.org"));
    let head = head.replace("Origin", "Sec-WebSocket-Origin");
    assert_eq!(upgrade(&head).origin, Some("https://example.org"));
    let head = BROWSER.replace("Origin", "Sec-WebSocket-Origin");
    assert_eq!(upgrade(&head).origin, None);
}

#[test]
fn one_empty_line_before_the_request_is_tolerated() {
    upgrade(&format!("\r\n{BROWSER}"));
    assert_eq!(status(format!("\r\n\r\n{BROWSER}")), 400);
    assert_eq!(status("\r\n\r"), 400);
    assert_eq!(status("\n"), 400);
    assert_eq!(status("\rG"), 400);
}

#[test]
fn the_keys_last_character_may_have_any_low_bits() {
    for key in ["dGhlIHNhbXBsZSBub25jZR==", "++++++++++////////////=="] {
        assert_eq!(upgrade(&with("Sec-WebSocket-Key", &format!("Sec-WebSocket-Key: {key}\r\n"))).key, key);
    }
}

#[test]
fn an_absolute_target_gives_its_path() {
    for (target, path) in [
        ("http://example.org/ws?roomCode=a", "/ws?roomCode=a"),
        ("WSS://[::1]:443/ws", "/ws"),
        ("ws://example.org?roomCode=a", "?roomCode=a"),
        ("ws://example.org", ""),
        ("/http://example.org", "/http://example.org"),
        ("//", "//"),
    ] {
        assert_eq!(upgrade(&with_target(target)).path, path);
    }
    for target in ["*", "ws", "example.org:80", "ftp://example.org/", "ws:///ws", "ws://a@b/", "?roomCode=a"]
    {
        assert_eq!(status(with_target(target)), 400, "{target}");
    }
}

#[test]
fn the_room_code_is_the_querys_first_decoded() {
    let longest = "x".repeat(ROOM_CODE_BYTES_MAX);
    let longest_escaped = "%78".repeat(ROOM_CODE_BYTES_MAX);
    for (query, code) in [
        ("?roomCode=R1&userId=u", Some("R1")),
        ("?userId=u&roomCode=R1", Some("R1")),
        ("?roomCode=first&roomCode=second", Some("first")),
        ("?roomCode=a+b%20c%2B%26%c3%A9", Some("a b c+&é")),
        ("?roomCode=50%&x", Some("50%")),
        ("?roomCode=%4", Some("%4")),
        ("?roomCode=%zz%+1", Some("%zz% 1")),
        ("?roomCode=a=b?c", Some("a=b?c")),
        ("?roomCode=%00", Some("\0")),
        (&format!("?roomCode={longest}"), Some(&longest)),
        (&format!("?roomCode={longest_escaped}"), Some(&longest)),
        (&format!("?roomCode={longest}x"), None),
        (&format!("?roomCode={longest_escaped}%78"), None),
        ("?roomCode=%ff", None),
        ("?roomCode=%ed%a0%80", None),
        ("?roomCode=", None),
        ("?roomCode", None),
        ("?roomcode=a&xroomCode=b", None),
        ("?", None),
        ("", None),
    ] {
        let head = with_target(&format!("/ws/sync{query}"));
        assert_eq!(upgrade(&head).room_code().as_deref(), code, "{query}");
    }
}

#[test]
fn a_room_code_that_needs_no_decoding_is_not_copied() {
    assert!(matches!(upgrade(BROWSER).room_code(), Some(Cow::Borrowed("R1"))));
}

#[test]
fn get_and_head_without_upgrade_are_not_found() {
    for method in ["GET", "HEAD"] {
        let head = format!("{method} /any HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n");
        assert_eq!(refusal(head), Refusal::NotFound);
    }
}

#[test]
fn the_root_without_upgrade_is_where_a_page_may_be() {
    for method in ["GET", "HEAD"] {
        let plain = |target: &str| refusal(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        for target in ["/", "/?", "/?room=lumo", "/?a=/b", "http://a/", "http://a", "http://a?room=lumo"] {
            assert_eq!(plain(target), Refusal::NoPage, "{target}");
        }
        for target in
            ["//", "/index.html", "/%2f", "/ws/sync?roomCode=R", "http://a/b", "*", "a:80", "ftp://a/"]
        {
            assert_eq!(plain(target), Refusal::NotFound, "{target}");
        }
    }
    assert_eq!(refusal("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), Refusal::MethodNotAllowed);
    assert_eq!(refusal("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n"), Refusal::Options);
}

#[test]
fn without_a_page_the_root_is_answered_as_any_other_path() {
    let (mut root, mut other) = (Vec::new(), Vec::new());
    Refusal::NoPage.write(false, &mut root);
    Refusal::NotFound.write(false, &mut other);
    assert_eq!((root, Refusal::NoPage.status()), (other, 404));
}

/// RFC 9112 §6.3: whoever is unsure where a request ends must not answer as if it knew.
#[test]
fn a_request_whose_end_cannot_be_told_is_a_bad_request_upgrade_or_not() {
    for method in ["GET", "HEAD", "POST", "OPTIONS"] {
        for lines in [
            "Content-Length: -1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: 1 2\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        ] {
            let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            assert_eq!(status(&head), 400, "{head:?}");
        }
        for lines in ["Content-Length: 0012\r\n", "Transfer-Encoding: gzip, Chunked\r\n"] {
            let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            assert_ne!(status(&head), 400, "{head:?}");
        }
    }
}

#[test]
fn options_is_answered_on_any_path_upgrade_or_not() {
    assert_eq!(refusal("OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"), Refusal::Options);
    assert_eq!(refusal(BROWSER.replace("GET", "OPTIONS")), Refusal::Options);
}

#[test]
fn other_methods_are_not_allowed() {
    for method in ["POST", "HEAD", "PUT", "DELETE", "CONNECT", "TRACE", "PATCH", "get", "GETS", "OPTION"] {
        assert_eq!(refusal(BROWSER.replace("GET", method)), Refusal::MethodNotAllowed, "{method}");
    }
    assert_eq!(
        refusal("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
        Refusal::MethodNotAllowed
    );
}

#[test]
fn other_http_versions_are_not_supported() {
    for version in ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/11", "HTTP/3"] {
        let head = BROWSER.replace("HTTP/1.1", version);
        assert_eq!(refusal(&head), Refusal::HttpVersion, "{version}");
    }
    assert_eq!(refusal("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Refusal::HttpVersion);
    assert_eq!(refusal("GET / HTTP/1.0\r\n"), Refusal::HttpVersion);
}

#[test]
fn versions_of_websocket_other_than_13_and_8_are_answered_with_both() {
    for lines in [
        "",
        "Sec-WebSocket-Version: 7\r\n",
        "Sec-WebSocket-Version: 13, 8\r\n",
        "Sec-WebSocket-Version: 013\r\n",
    ] {
        assert_eq!(refusal(with("Sec-WebSocket-Version", lines)), Refusal::VersionUnsupported);
    }
}

#[test]
fn a_head_may_have_exactly_the_limits_bytes() {
    let padded = |bytes: usize| {
        let unpadded = adding("X: \r\n").len();
        adding(&format!("X: {}\r\n", "x".repeat(bytes - unpadded)))
    };
    assert_eq!(padded(8192).len(), 8192);
    upgrade(&padded(8192));
    assert_eq!(refusal(padded(8193)), Refusal::HeadTooLarge);
    assert_eq!(parse(&padded(8192).as_bytes()[..8191], &LIMITS), Ok(Head::Incomplete));
    assert_eq!(refusal(&padded(8193).as_bytes()[..8192]), Refusal::HeadTooLarge);
    let behind = format!("{}{}", padded(8192), "frame");
    assert!(matches!(parse(behind.as_bytes(), &LIMITS), Ok(Head::Complete(_, 8192))));
    // A fault past the limit is never reached.
    assert_eq!(refusal(format!("{}\n\0", &padded(9000)[..8192])), Refusal::HeadTooLarge);
}

#[test]
fn a_head_may_have_exactly_the_limits_headers() {
    let padded = |headers: usize| adding(&"X: y\r\n".repeat(headers - 7));
    upgrade(&padded(100));
    assert_eq!(refusal(padded(101)), Refusal::HeadTooLarge);
    let limits = HeadLimits { bytes_max: 65_536, headers_max: usize::MAX };
    assert!(parse(padded(HEADERS_MAX).as_bytes(), &limits).is_ok());
    assert_eq!(parse(padded(HEADERS_MAX + 1).as_bytes(), &limits), Err(Refusal::HeadTooLarge));
}

proptest! {
    #[test]
    fn any_room_code_survives_form_encoding(code in "\\PC{1,40}") {
        let encoded: String = code.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let head = with_target(&format!("/?roomCode={encoded}"));
        let decoded = upgrade(&head).room_code();
        prop_assert_eq!(decoded.as_deref(), Some(code.as_str()));
    }
}
