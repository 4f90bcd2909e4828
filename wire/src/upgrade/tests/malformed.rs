//! Requests that break RFC 9112 or RFC 6455, each with the reason it must be refused for.
//!
//! The table is also a source of samples for `splits`.

use super::*;

/// A malformed request each, and a word of what it must be refused with.
pub(super) fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let mut table: Vec<(&'static str, Vec<u8>)> = Vec::new();
    let mut add = |reason, head: String| table.push((reason, head.into_bytes()));
    add("without CR", BROWSER.replace("\r\n", "\n"));
    add("without CR", BROWSER.replacen("\r\n", "\n", 1));
    add("without CR", with("Origin", "Origin: a\n"));
    add("without CR", BROWSER.replace("\r\n\r\n", "\r\n\n"));
    add("CR and LF", BROWSER.replacen("\r\n", "\r", 1));
    add("control character", with("Origin", "Origin: a\rb\r\n"));
    add("folded", with("Origin", "Origin: a\r\n b\r\n"));
    add("folded", with("Origin", "Origin: a\r\n\tb\r\n"));
    add("folded", with("Host", " Host: example.org\r\n"));
    add("malformed", with("Origin", "Origin : a\r\n"));
    add("malformed", with("Origin", "Origin\t: a\r\n"));
    add("malformed", with("Origin", "Origin\r\n"));
    add("malformed", with("Origin", ": a\r\n"));
    add("malformed", with("Origin", "Ori(gin: a\r\n"));
    add("malformed", with("Origin", "Origín: a\r\n"));
    add("control character", adding("X: a\0b\r\n"));
    add("control character", adding("X: a\x7fb\r\n"));
    add("control character", adding("X: \x1b[0m\r\n"));
    add("method and target", with("GET", "GET\r\n"));
    add("method and target", with("GET", "GET /\r\n"));
    add("method and target", with("GET", "GET  / HTTP/1.1\r\n"));
    add("method and target", with("GET", " GET / HTTP/1.1\r\n"));
    add("method and target", with("GET", "G@T / HTTP/1.1\r\n"));
    add("method and target", with_target("/a\tb"));
    add("method and target", with_target("/a\0b"));
    add("method and target", with_target("/a\x7fb"));
    add("visible ASCII", with_target("/é"));
    add("HTTP version", with_target("/ /"));
    add("HTTP version", BROWSER.replace("HTTP/1.1", "http/1.1"));
    add("HTTP version", BROWSER.replace("HTTP/1.1", "HTTP/x"));
    add("CR and LF", BROWSER.replace("HTTP/1.1", "HTTP/1.1 "));
    add("no valid Host", with("Host", ""));
    add("no valid Host", with("Host", "Host:\r\n"));
    add("no valid Host", with("Host", "Host: \t \r\n"));
    add("no valid Host", with("Host", "Host: a,b\r\n"));
    add("no valid Host", with("Host", "Host: a, b\r\n"));
    add("no valid Host", with("Host", "Host: :80\r\n"));
    add("no valid Host", with("Host", "Host: a/b\r\n"));
    add("Host comes twice", with("Host", "Host: a\r\nhOST: a\r\n"));
    add("Upgrade does not", with("Upgrade:", "Upgrade: h2c\r\n"));
    add("Upgrade does not", with("Upgrade:", "Upgrade:\r\n"));
    add("Upgrade does not", with("Upgrade:", "Upgrade: websocket2, web socket\r\n"));
    add("Connection does not", with("Connection", ""));
    add("Connection does not", with("Connection", "Connection: close\r\n"));
    add("Connection does not", with("Connection", "Connection: upgrades; upgrade=1\r\n"));
    add("no body", adding("Content-Length: 0\r\n"));
    add("no body", adding("content-length: 5\r\n"));
    add("not a number", adding("content-length: x\r\n"));
    add("not a number", adding("Content-Length:\r\n"));
    add("not a number", adding("Content-Length: 1, 1\r\n"));
    add("Length comes twice", adding("Content-Length: 0\r\nContent-Length: 0\r\n"));
    add("end in chunked", adding("Transfer-Encoding: chunked, gzip\r\n"));
    add("beside Transfer", adding("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"));
    add("no body", adding("Transfer-Encoding: chunked\r\n"));
    add("not 16 bytes", with("Sec-WebSocket-Key", ""));
    add("not 16 bytes", with("Sec-WebSocket-Key", "Sec-WebSocket-Key:\r\n"));
    add("not 16 bytes", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n"));
    add("not 16 bytes", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQA=\r\n"));
    add("not 16 bytes", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA==\r\n"));
    add("not 16 bytes", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZS-ub25jZQ==\r\n"));
    add("Key comes twice", adding("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
    add("Version comes twice", adding("Sec-WebSocket-Version: 13\r\n"));
    add("Origin comes twice", adding("Origin: https://example.org\r\n"));
    add("list of tokens", adding("Sec-WebSocket-Protocol: a b\r\n"));
    add("list of tokens", adding("Sec-WebSocket-Protocol: a,,b\r\n"));
    add("list of tokens", adding("Sec-WebSocket-Protocol: ok\r\nSec-WebSocket-Protocol: \"q\"\r\n"));
    add("list of tokens", adding("Sec-WebSocket-Protocol:\r\n"));
    add("not ASCII", adding("Sec-WebSocket-Protocol: é\r\n"));
    add("not ASCII", with("Origin", "Origin: https://é\r\n"));
    table
}

#[test]
fn each_malformed_request_is_a_bad_request_for_its_own_reason() {
    for (expected, head) in malformed() {
        let head = String::from_utf8(head).unwrap();
        match refusal(&head) {
            Refusal::BadRequest(reason) => assert!(reason.contains(expected), "{head:?}: {reason}"),
            other => panic!("{head:?}: {other:?}"),
        }
    }
}

#[test]
fn every_control_character_anywhere_in_a_line_is_refused() {
    for byte in (0..=31).chain([127]) {
        let character = char::from(byte);
        for head in [with_target(&format!("/a{character}b")), adding(&format!("X{character}Y: a\r\n"))] {
            assert_eq!(status(head), 400, "{byte}");
        }
        // §5.5 of RFC 9110 allows the tab inside a value.
        let head = adding(&format!("X: a{character}b\r\n"));
        assert_eq!(parse(head.as_bytes(), &LIMITS).is_ok(), byte == b'\t', "{byte}");
    }
}

#[test]
fn what_cannot_become_a_request_is_refused_at_once() {
    for bytes in [
        // TLS.
        &b"\x16"[..],
        b"\0",
        b"\xff",
        b" ",
        b"{",
        b"GET \xc3",
        b"GET /a\t",
        b"GET / X",
        b"GET / HTTP/1.1\n",
        b"SSH-2.0-OpenSSH\r",
        b"PROXY TCP4 1",
        b"*1\r",
        b"GET / HTTP/1.1\r\n ",
        b"GET / HTTP/1.1\r\nHost: a\r\nX ",
    ] {
        let before = &bytes[..bytes.len() - 1];
        assert_eq!(status(bytes), 400, "{bytes:?}");
        assert_eq!(parse(before, &LIMITS), Ok(Head::Incomplete), "{bytes:?}");
    }
}
