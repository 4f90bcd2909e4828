//! What RFC 9112, RFC 9110 and RFC 6455 §4.2.1 want of an upgrade request, read naively and with all of it there.

use wire::upgrade::{HeadLimits, Request};

/// The request that a sound head is, and the head's length; `None` for anything else, unfinished or unsound.
pub(super) fn upgrade<'a>(bytes: &'a [u8], limits: &HeadLimits) -> Option<(Request<'a>, usize)> {
    // One empty line before it is tolerated.
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let text = &bytes[start..];
    let end = text.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head_bytes = start + end + 4;
    let lines = lines(&text[..end]);
    if head_bytes > limits.bytes_max
        || lines.iter().any(|line| line.contains(&b'\r') || line.contains(&b'\n'))
    {
        return None;
    }
    let (request_line, field_lines) = lines.split_first()?;
    let target = target(request_line)?;
    let fields = field_lines.iter().map(|line| field(line)).collect::<Option<Vec<_>>>()?;
    if fields.len() > limits.headers_max {
        return None;
    }
    Some((judge(target, &Fields(fields))?, head_bytes))
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    lines
}

/// `GET target HTTP/1.1`, with a space between each.
fn target(line: &[u8]) -> Option<&str> {
    let target = line.strip_prefix(b"GET ")?.strip_suffix(b" HTTP/1.1")?;
    let is_visible = !target.is_empty() && target.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(target).ok().filter(|_| is_visible)
}

/// A name, which is a token with a colon right behind it, and a value without the white space around it.
fn field(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let first = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let last = value.iter().rposition(|byte| !is_blank(byte)).map_or(first, |last| last + 1);
    let is_sound = !name.is_empty()
        && name.iter().all(|byte| is_token_byte(*byte))
        && value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..));
    is_sound.then_some((std::str::from_utf8(name).ok()?, &value[first..last]))
}

struct Fields<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Fields<'a> {
    /// The values of a field, which must be ASCII.
    fn all(&self, name: &str) -> Option<Vec<&'a str>> {
        let of_name = self.0.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| std::str::from_utf8(value).ok().filter(|value| value.is_ascii())).collect()
    }

    /// The value of a field that may come once.
    fn once(&self, name: &str) -> Option<Option<&'a str>> {
        let values = self.all(name)?;
        (values.len() <= 1).then(|| values.first().copied())
    }

    fn lists(&self, name: &str, token: &str) -> Option<bool> {
        let is_there = |value: &&str| value.split(',').any(|it| trim(it).eq_ignore_ascii_case(token));
        Some(self.all(name)?.iter().any(is_there))
    }
}

fn judge<'a>(target: &'a str, fields: &Fields<'a>) -> Option<Request<'a>> {
    let host = fields.once("Host")??;
    let has_body = !fields.all("Content-Length").is_some_and(|it| it.is_empty())
        || !fields.all("Transfer-Encoding").is_some_and(|it| it.is_empty());
    let is_upgrade = fields.lists("Upgrade", "websocket")? && fields.lists("Connection", "upgrade")?;
    let version = fields.once("Sec-WebSocket-Version")??;
    let key = fields.once("Sec-WebSocket-Key")??;
    let (origin, old_origin) = (fields.once("Origin")?, fields.once("Sec-WebSocket-Origin")?);
    let protocols: Vec<&str> =
        fields.all("Sec-WebSocket-Protocol")?.iter().flat_map(|value| value.split(',')).map(trim).collect();
    let are_tokens = protocols.iter().all(|it| !it.is_empty() && it.bytes().all(is_token_byte));
    let is_key = key.len() == 24
        && key.ends_with("==")
        && key[..22].bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    let origin = match version {
        "13" => origin,
        "8" => origin.or(old_origin),
        _ => return None,
    };
    let is_sound = is_host(host) && !has_body && is_upgrade && is_key && are_tokens;
    is_sound.then_some(Request { path: path(target)?, key, protocol: protocols.first().copied(), origin })
}

/// An origin-form target, or what follows the authority of one with a scheme of HTTP or WebSocket.
fn path(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let lower = target.to_ascii_lowercase();
    let scheme = ["http://", "https://", "ws://", "wss://"].into_iter().find(|it| lower.starts_with(it))?;
    let rest = &target[scheme.len()..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    is_host(&rest[..end]).then_some(&rest[end..])
}

/// The characters of RFC 3986's host and port, without a comma.
fn is_host(host: &str) -> bool {
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=:[]%".contains(&byte);
    !host.is_empty() && !host.starts_with(':') && host.bytes().all(is_host_byte)
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
