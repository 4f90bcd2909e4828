//! The HTTP/1.1 request that opens a WebSocket connection (RFC 6455 §4.2.1, RFC 9112).
//!
//! [`parse`] reads the head, [`accept`] writes the 101, [`Refusal::write`] every other answer but [`Page::write`]. httparse
//! cuts the head into fields; what it is lenient about is checked here. There is no keep-alive, no body and
//! no compression: anything but a clean upgrade is refused, and after a refusal the connection closes.
//! Invariant: the result for a head does not depend on how it was split, nor on what comes behind it.

mod page;
mod partial;
mod response;

pub use page::Page;
pub use partial::Partial;
pub use response::{RETRY_AFTER_S, Refusal, accept, is_head_method};

use httparse::{Error, Status};
use std::borrow::Cow;
use std::mem::MaybeUninit;

/// The longest room code, in bytes after decoding.
pub const ROOM_CODE_BYTES_MAX: usize = 256;

/// The most header fields [`HeadLimits::headers_max`] can allow: their slots lie on the stack.
pub const HEADERS_MAX: usize = 128;

/// Bounds of a request's head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes up to and including the empty line.
    pub bytes_max: usize,
    /// Header fields; more than [`HEADERS_MAX`] means that many.
    pub headers_max: usize,
}

/// What the bytes so far amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// Sound so far, and the empty line has not come yet.
    Incomplete,
    /// A valid upgrade, and the length of its head in bytes; what follows is the first frame.
    Complete(Request<'a>, usize),
}

/// A valid upgrade request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Path and query as sent, visible ASCII. Of an absolute target what follows the authority, which may be
    /// nothing.
    pub path: &'a str,
    /// Sec-WebSocket-Key: 22 base64 characters and `==`.
    pub key: &'a str,
    /// The first sub-protocol offered, a token.
    pub protocol: Option<&'a str>,
    /// Origin, or Sec-WebSocket-Origin as version 8 calls it; ASCII, not checked further.
    pub origin: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// The query's first `roomCode`, percent- and plus-decoded as the URL Standard does for forms; `None` if
    /// it is absent, empty, not UTF-8 or over [`ROOM_CODE_BYTES_MAX`].
    pub fn room_code(&self) -> Option<Cow<'a, str>> {
        let (_, query) = self.path.split_once('?')?;
        let value = query.split('&').find_map(|pair| pair.strip_prefix("roomCode="))?;
        let code = form_decoded(value)?;
        (1..=ROOM_CODE_BYTES_MAX).contains(&code.len()).then_some(code)
    }
}

/// Reads the head at the front of `bytes`, which are all that came so far. An error as soon as no
/// continuation could be valid. Linear in the head, and begins at its start at each call: of one that comes in pieces,
/// [`Partial`] tells when there is a call to make.
pub fn parse<'a>(bytes: &'a [u8], limits: &HeadLimits) -> Result<Head<'a>, Refusal> {
    let window = &bytes[..bytes.len().min(limits.bytes_max)];
    // httparse sees only what lies ahead of our own find, so the earlier fault is reported, whoever found it:
    // as if the bytes came one by one.
    let fault = first_fault(window);
    let sound = fault.map_or(window, |(at, _)| &window[..at]);
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(sound, &mut slots[..limits.headers_max.min(HEADERS_MAX)]);
    if request.version == Some(0) {
        return Err(Refusal::HttpVersion);
    }
    match (parsed, fault) {
        (Ok(Status::Complete(head_bytes)), _) => Ok(Head::Complete(judge(&request)?, head_bytes)),
        (Ok(Status::Partial), Some((_, reason))) => Err(Refusal::BadRequest(reason)),
        (Ok(Status::Partial), None) if bytes.len() < limits.bytes_max => Ok(Head::Incomplete),
        (Ok(Status::Partial), None) | (Err(Error::TooManyHeaders), _) => Err(Refusal::HeadTooLarge),
        (Err(Error::Version), _) if names_http_version(sound) => Err(Refusal::HttpVersion),
        (Err(error), _) => Err(Refusal::BadRequest(reason_of(error))),
    }
}

/// The first byte that httparse lets pass and RFC 9112 does not, and why.
fn first_fault(bytes: &[u8]) -> Option<(usize, &'static str)> {
    // §2.2: one empty line before the request is tolerated, as some clients send it after a body.
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    if start > 0 && bytes.get(start) == Some(&b'\r') {
        return Some((start, "more than one empty line before the request"));
    }
    let line = bytes[start..].split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    if let Some(at) = line.iter().position(|byte| !byte.is_ascii()) {
        return Some((start + at, "the request line is not visible ASCII"));
    }
    if bytes.first() == Some(&b'\n') {
        return Some((0, "a line ends without CR"));
    }
    // Without an early exit the compiler vectorizes it: 8 KiB that drip in are scanned at every drop.
    let is_bare = |(before, byte): (&u8, &u8)| (*byte == b'\n') & (*before != b'\r');
    let pairs = || bytes.iter().zip(bytes.iter().skip(1));
    if !pairs().fold(false, |found, pair| found | is_bare(pair)) {
        return None;
    }
    pairs().position(is_bare).map(|at| (at + 1, "a line ends without CR"))
}

/// True if the request line's third word is some version of HTTP.
fn names_http_version(bytes: &[u8]) -> bool {
    let word = bytes.split(|&byte| byte == b' ').nth(2).unwrap_or_default();
    word.strip_prefix(b"HTTP/").and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
}

fn reason_of(error: Error) -> &'static str {
    match error {
        Error::Token => "no method and target",
        Error::Version => "no HTTP version",
        Error::NewLine => "a line does not end with CR and LF",
        Error::HeaderName => "a malformed or folded header field",
        Error::HeaderValue => "a control character in a header field",
        Error::Status | Error::TooManyHeaders => "malformed",
    }
}

/// Decides on a head that is well-formed.
fn judge<'a>(request: &httparse::Request<'_, 'a>) -> Result<Request<'a>, Refusal> {
    let fields = Fields::read(request.headers)?;
    fields.check_framing()?;
    if !fields.host.is_some_and(is_host) {
        return Err(Refusal::BadRequest("no valid Host"));
    }
    match request.method {
        Some("OPTIONS") => return Err(Refusal::Options),
        Some("GET" | "HEAD") if !fields.upgrade => {
            let is_root = request.path.and_then(path_of).is_some_and(is_root);
            return Err(if is_root { Refusal::NoPage } else { Refusal::NotFound });
        }
        Some("GET") => {}
        _ => return Err(Refusal::MethodNotAllowed),
    }
    let Some(path) = request.path.and_then(path_of) else {
        return Err(Refusal::BadRequest("the target is neither a path nor a URL"));
    };
    if !fields.upgrade_websocket {
        return Err(Refusal::BadRequest("Upgrade does not name websocket"));
    }
    if !fields.connection_upgrade {
        return Err(Refusal::BadRequest("Connection does not name upgrade"));
    }
    if fields.content_length.is_some() || fields.is_encoded {
        return Err(Refusal::BadRequest("an upgrade has no body"));
    }
    let origin = match fields.version {
        Some("13") => fields.origin,
        Some("8") => fields.origin.or(fields.origin_version_8),
        _ => return Err(Refusal::VersionUnsupported),
    };
    let Some(key) = fields.key.filter(|key| is_key(key)) else {
        return Err(Refusal::BadRequest("Sec-WebSocket-Key is not 16 bytes in base64"));
    };
    Ok(Request { path, key, protocol: fields.protocol, origin })
}

/// The header fields that count.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a str>,
    upgrade: bool,
    upgrade_websocket: bool,
    connection_upgrade: bool,
    content_length: Option<&'a str>,
    /// It has Transfer-Encoding.
    is_encoded: bool,
    /// The last transfer coding is `chunked`.
    is_chunked: bool,
    version: Option<&'a str>,
    key: Option<&'a str>,
    protocol: Option<&'a str>,
    origin: Option<&'a str>,
    origin_version_8: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn read(headers: &[httparse::Header<'a>]) -> Result<Self, Refusal> {
        let mut fields = Fields::default();
        for header in headers {
            let is = |name| header.name.eq_ignore_ascii_case(name);
            if is("Host") {
                once(&mut fields.host, header, "Host comes twice")?;
            } else if is("Upgrade") {
                fields.upgrade = true;
                fields.upgrade_websocket |= has_token(header, "websocket")?;
            } else if is("Connection") {
                fields.connection_upgrade |= has_token(header, "upgrade")?;
            } else if is("Content-Length") {
                once(&mut fields.content_length, header, "Content-Length comes twice")?;
            } else if is("Transfer-Encoding") {
                let last = elements(text(header)?).next_back();
                fields.is_encoded = true;
                fields.is_chunked = last.is_some_and(|last| last.eq_ignore_ascii_case("chunked"));
            } else if is("Sec-WebSocket-Version") {
                once(&mut fields.version, header, "Sec-WebSocket-Version comes twice")?;
            } else if is("Sec-WebSocket-Key") {
                once(&mut fields.key, header, "Sec-WebSocket-Key comes twice")?;
            } else if is("Sec-WebSocket-Protocol") {
                let first = first_protocol(header)?;
                fields.protocol = fields.protocol.or(Some(first));
            } else if is("Origin") {
                once(&mut fields.origin, header, "Origin comes twice")?;
            } else if is("Sec-WebSocket-Origin") {
                once(&mut fields.origin_version_8, header, "Sec-WebSocket-Origin comes twice")?;
            }
        }
        Ok(fields)
    }

    /// A request whose end cannot be told is refused whatever it asks for, RFC 9112 §6.3.
    fn check_framing(&self) -> Result<(), Refusal> {
        let is_number = |value: &str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        match self.content_length {
            Some(_) if self.is_encoded => {
                Err(Refusal::BadRequest("Content-Length stands beside Transfer-Encoding"))
            }
            Some(length) if !is_number(length) => Err(Refusal::BadRequest("Content-Length is not a number")),
            None if self.is_encoded && !self.is_chunked => {
                Err(Refusal::BadRequest("Transfer-Encoding does not end in chunked"))
            }
            _ => Ok(()),
        }
    }
}

fn once<'a>(
    slot: &mut Option<&'a str>,
    header: &httparse::Header<'a>,
    twice: &'static str,
) -> Result<(), Refusal> {
    match slot.replace(text(header)?) {
        None => Ok(()),
        Some(_) => Err(Refusal::BadRequest(twice)),
    }
}

fn has_token(header: &httparse::Header<'_>, token: &str) -> Result<bool, Refusal> {
    Ok(elements(text(header)?).any(|element| element.eq_ignore_ascii_case(token)))
}

/// The first of the sub-protocols, all of which must be tokens (RFC 6455 §4.1).
fn first_protocol<'a>(header: &httparse::Header<'a>) -> Result<&'a str, Refusal> {
    let value = text(header)?;
    if !elements(value).all(is_token) {
        return Err(Refusal::BadRequest("Sec-WebSocket-Protocol is not a list of tokens"));
    }
    elements(value).next().ok_or(Refusal::BadRequest("Sec-WebSocket-Protocol is empty"))
}

fn text<'a>(header: &httparse::Header<'a>) -> Result<&'a str, Refusal> {
    match std::str::from_utf8(header.value) {
        Ok(value) if value.is_ascii() => Ok(value),
        _ => Err(Refusal::BadRequest("a header field that counts is not ASCII")),
    }
}

/// The elements of a comma list; some may be empty.
fn elements(value: &str) -> impl DoubleEndedIterator<Item = &str> {
    value.split(',').map(|element| element.trim_matches([' ', '\t']))
}

/// RFC 9110 §5.6.2.
fn is_token(value: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !value.is_empty() && value.bytes().all(is_token_byte)
}

/// The characters of a host and a port, RFC 3986 §3.2, less the comma: it would mean two hosts, merged on
/// the way.
fn is_host(value: &str) -> bool {
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=:[]%".contains(&byte);
    !value.is_empty() && !value.starts_with(':') && value.bytes().all(is_host_byte)
}

/// RFC 6455 §4.1. The last two bits of the 22nd character carry nothing, and real clients set them freely.
fn is_key(value: &str) -> bool {
    let Some(digits) = value.strip_suffix("==") else { return false };
    digits.len() == 22
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// Path and query of a target in origin or absolute form, RFC 9112 §3.2.
fn path_of(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let (scheme, rest) = target.split_once("://")?;
    let authority_bytes = rest.find(['/', '?']).unwrap_or(rest.len());
    let known = ["ws", "wss", "http", "https"].iter().any(|name| scheme.eq_ignore_ascii_case(name));
    (known && is_host(&rest[..authority_bytes])).then_some(&rest[authority_bytes..])
}

/// True of `/` and of no path at all, whatever the query.
fn is_root(path: &str) -> bool {
    matches!(path.split('?').next(), Some("" | "/"))
}

/// A `%` without two hexadecimal digits behind it stands for itself. `None` if the result is not UTF-8.
fn form_decoded(value: &str) -> Option<Cow<'_, str>> {
    if !value.contains(['%', '+']) {
        return Some(Cow::Borrowed(value));
    }
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        decoded.push(match (byte, escaped(behind)) {
            (b'%', Some(escaped)) => {
                rest = &behind[2..];
                escaped
            }
            (b'+', _) => b' ',
            _ => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// The byte of two hexadecimal digits.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    // Two digits of at most 15 make at most 255.
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

#[cfg(test)]
mod tests;
