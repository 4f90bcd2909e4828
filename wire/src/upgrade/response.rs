//! The answers to an upgrade request: the 101, and each refusal whole.
//!
//! A refusal says `Connection: close`, and the caller closes. Every answer to a browser that is not a
//! WebSocket carries the old server's CORS fields, so that a page can read the status. There is no Date
//! field: this crate reads no clock.

use super::Request;
use tungstenite::handshake::derive_accept_key;

/// What Retry-After of a 503 says, in seconds; clients of the room protocol come back by their own clock.
pub const RETRY_AFTER_S: u32 = 5;

/// Why a connection does not become a WebSocket, to be answered and then closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// 400: the request breaks RFC 9112 or RFC 6455; the text, which is also the body, says where.
    BadRequest(&'static str),
    /// 400: Sec-WebSocket-Version is neither 13 nor 8 (RFC 6455 §4.4).
    VersionUnsupported,
    /// 403: the caller's list of origins does not have this one.
    OriginNotAllowed,
    /// 404: GET or HEAD without an upgrade.
    NotFound,
    /// 404: the same of `/`. A caller that has a [`Page`](super::Page) answers with that instead.
    NoPage,
    /// 405: a method that cannot upgrade.
    MethodNotAllowed,
    /// 204: OPTIONS, a browser's preflight.
    Options,
    /// 431: more bytes or header fields than the limits allow.
    HeadTooLarge,
    /// 503: no room for another connection.
    Unavailable,
    /// 505: an HTTP version other than 1.1.
    HttpVersion,
}

impl Refusal {
    /// The status code.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Options => 204,
            Refusal::BadRequest(_) | Refusal::VersionUnsupported => 400,
            Refusal::OriginNotAllowed => 403,
            Refusal::NotFound | Refusal::NoPage => 404,
            Refusal::MethodNotAllowed => 405,
            Refusal::HeadTooLarge => 431,
            Refusal::Unavailable => 503,
            Refusal::HttpVersion => 505,
        }
    }

    /// Appends the whole response; without its body if `head_only`, see [`is_head_method`].
    pub fn write(&self, head_only: bool, out: &mut Vec<u8>) {
        let mut head = String::with_capacity(384);
        head.push_str("HTTP/1.1 ");
        head.push_str(self.status_text());
        head.push_str("\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\n");
        head.push_str(self.fields());
        if let Refusal::Unavailable = self {
            head.push_str("Retry-After: ");
            head.push_str(&RETRY_AFTER_S.to_string());
            head.push_str("\r\n");
        }
        // RFC 9110 §8.6: a 204 has no Content-Length.
        if let Refusal::Options = self {
            head.push_str("\r\n");
            out.extend_from_slice(head.as_bytes());
            return;
        }
        let body = self.body();
        head.push_str("Content-Type: text/plain; charset=utf-8\r\nContent-Length: ");
        head.push_str(&(body.len() + 1).to_string());
        head.push_str("\r\n\r\n");
        if !head_only {
            head.push_str(body);
            head.push('\n');
        }
        out.extend_from_slice(head.as_bytes());
    }

    fn status_text(&self) -> &'static str {
        match self {
            Refusal::Options => "204 No Content",
            Refusal::BadRequest(_) | Refusal::VersionUnsupported => "400 Bad Request",
            Refusal::OriginNotAllowed => "403 Forbidden",
            Refusal::NotFound | Refusal::NoPage => "404 Not Found",
            Refusal::MethodNotAllowed => "405 Method Not Allowed",
            Refusal::HeadTooLarge => "431 Request Header Fields Too Large",
            Refusal::Unavailable => "503 Service Unavailable",
            Refusal::HttpVersion => "505 HTTP Version Not Supported",
        }
    }

    /// The header fields that this refusal alone has.
    fn fields(&self) -> &'static str {
        match self {
            Refusal::Options | Refusal::NotFound | Refusal::NoPage => {
                "Access-Control-Allow-Methods: GET,POST,OPTIONS\r\n\
                 Access-Control-Allow-Headers: Origin, X-Requested-With, Content-Type, Accept, Range\r\n"
            }
            Refusal::MethodNotAllowed => "Allow: GET, OPTIONS\r\n",
            Refusal::VersionUnsupported => "Sec-WebSocket-Version: 13, 8\r\n",
            _ => "",
        }
    }

    fn body(&self) -> &'static str {
        match self {
            Refusal::Options => "",
            Refusal::BadRequest(reason) => reason,
            Refusal::VersionUnsupported => "Sec-WebSocket-Version must be 13 or 8",
            Refusal::OriginNotAllowed => "this origin is not allowed",
            Refusal::NotFound | Refusal::NoPage => "Downbeat speaks WebSocket: connect with ws:// or wss://",
            Refusal::MethodNotAllowed => "only GET opens a WebSocket",
            Refusal::HeadTooLarge => "the request's head is too large",
            Refusal::Unavailable => "full, try again later",
            Refusal::HttpVersion => "only HTTP/1.1 opens a WebSocket here",
        }
    }
}

/// Appends the 101 (RFC 6455 §4.2.2). Names no extension, which declines any that was offered.
pub fn accept(request: &Request<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    out.extend_from_slice(b"Sec-WebSocket-Accept: ");
    out.extend_from_slice(derive_accept_key(request.key.as_bytes()).as_bytes());
    if let Some(protocol) = request.protocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(protocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// True if the request at the front of `bytes`, valid or not, is HEAD: its answer must have no body.
pub fn is_head_method(bytes: &[u8]) -> bool {
    bytes.strip_prefix(b"\r\n").unwrap_or(bytes).starts_with(b"HEAD ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const REQUEST: Request<'static> =
        Request { path: "/", key: "dGhlIHNhbXBsZSBub25jZQ==", protocol: None, origin: None };

    fn check_response(expected: &Expect, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = b"before|".to_vec();
        write(&mut out);
        expected.assert_eq(&String::from_utf8(out).unwrap().replace("\r\n", "~\n"));
    }

    #[test]
    fn the_101_carries_the_accept_key_of_rfc_6455_and_no_extension() {
        let expected = expect![[r#"
            before|HTTP/1.1 101 Switching Protocols~
            Upgrade: websocket~
            Connection: Upgrade~
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=~
            ~
        "#]];
        check_response(&expected, |out| accept(&REQUEST, out));
    }

    #[test]
    fn the_101_echoes_the_protocol() {
        let expected = expect![[r#"
            before|HTTP/1.1 101 Switching Protocols~
            Upgrade: websocket~
            Connection: Upgrade~
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=~
            Sec-WebSocket-Protocol: chat.v2~
            ~
        "#]];
        check_response(&expected, |out| accept(&Request { protocol: Some("chat.v2"), ..REQUEST }, out));
    }

    #[test]
    fn each_refusal_closes_and_says_why() {
        let expected = expect![[r#"
            before|HTTP/1.1 400 Bad Request~
            Connection: close~
            Access-Control-Allow-Origin: *~
            Content-Type: text/plain; charset=utf-8~
            Content-Length: 14~
            ~
            no valid Host
            HTTP/1.1 400 Bad Request~
            Connection: close~
            Access-Control-Allow-Origin: *~
            Sec-WebSocket-Version: 13, 8~
            Content-Type: text/plain; charset=utf-8~
            Content-Length: 38~
            ~
            Sec-WebSocket-Version must be 13 or 8
            HTTP/1.1 403 Forbidden~
            Connection: close~
            Access-Control-Allow-Origin: *~
            Content-Type: text/plain; charset=utf-8~
            Content-Length: 27~
            ~
            this origin is not allowed
            HTTP/1.1 404 Not Found~
            Connection: close~
            Access-Control-Allow-Origin: *~
            Access-Control-Allow-Methods: GET,POST,OPTIONS~
            Access-Control-Allow-Headers: Origin, X-Requested-With, Content-Type, Accept, Range~
            Content-Type: text/plain; charset=utf-8~
            Content-Length: 56~
            ~
            Downbeat speaks WebSocket: connect with ws:// or wss://
            HTTP/1.1 405 Method Not Allowed~
            Connection: close~
            Access-Control-Allow-Origin: *~
            Allow: GET, OPTIONS~
            Content-Type: text/plain; charset=utf-8~
            Content-Length: 27~
            ~
            only GET opens a WebSocket
            HTTP/1.1 204 No Content~
            Connection: close~
            Access-Control-Allow-Origin: *~
            Access-Control-Allow-Methods: GET,POST,OPTIONS~
            Access-Control-Allow-Headers: Origin, X-Requested-With, Content-Type, Accept, Range~
            ~
            HTTP/1.1 431 Request Header Fields Too Large~
            Connection: close~
            Access-Control-Allow-Origin: *~
            Content-Type: text/plain; charset=utf-8~
            Content-Length: 32~
            ~
            the request's head is too large
            HTTP/1.1 503 Service Unavailable~
            Connection: close~
            Access-Control-Allow-Origin: *~
            Retry-After: 5~
            Content-Type: text/plain; charset=utf-8~
            Content-Length: 22~
            ~
            full, try again later
            HTTP/1.1 505 HTTP Version Not Supported~
            Connection: close~
            Access-Control-Allow-Origin: *~
            Content-Type: text/plain; charset=utf-8~
            Content-Length: 37~
            ~
            only HTTP/1.1 opens a WebSocket here
        "#]];
        check_response(&expected, |out| {
            for refusal in [
                Refusal::BadRequest("no valid Host"),
                Refusal::VersionUnsupported,
                Refusal::OriginNotAllowed,
                Refusal::NotFound,
                Refusal::MethodNotAllowed,
                Refusal::Options,
                Refusal::HeadTooLarge,
                Refusal::Unavailable,
                Refusal::HttpVersion,
            ] {
                let start = out.len();
                refusal.write(false, out);
                let response = &out[start..];
                assert!(response.starts_with(format!("HTTP/1.1 {} ", refusal.status()).as_bytes()));
            }
        });
    }

    #[test]
    fn the_answer_to_head_has_the_length_but_no_body() {
        let request: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
        let expected = expect![[r#"
            before|HTTP/1.1 404 Not Found~
            Connection: close~
            Access-Control-Allow-Origin: *~
            Access-Control-Allow-Methods: GET,POST,OPTIONS~
            Access-Control-Allow-Headers: Origin, X-Requested-With, Content-Type, Accept, Range~
            Content-Type: text/plain; charset=utf-8~
            Content-Length: 56~
            ~
        "#]];
        check_response(&expected, |out| Refusal::NotFound.write(is_head_method(request), out));
        assert!(is_head_method(b"\r\nHEAD "));
        assert!(!is_head_method(b"HEADER "));
        assert!(!is_head_method(b"GET HEAD "));
    }
}
