//! RFC 6455 §5 read naively, over all bytes at once: no state, no reuse of memory.
//!
//! An error is found no later than the wire's decoder promises to: what a frame's first two bytes forbid at once,
//! the rest once the header is whole, UTF-8 once the frame is.

use wire::close::Reason;
use wire::decoder::DecoderLimits;

/// An event, with its own payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Vec<u8>),
}

/// What stands behind the last event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Idle,
    /// An unfinished frame, or an unfinished message.
    Midway,
    Failed(Reason),
}

struct Message {
    is_text: bool,
    bytes: Vec<u8>,
    frames: usize,
}

/// One whole frame.
struct Frame {
    is_last: bool,
    opcode: u8,
    payload: Vec<u8>,
}

pub(super) fn decode(bytes: &[u8], limits: &DecoderLimits) -> (Vec<Seen>, End) {
    let mut seen = Vec::new();
    let mut message = None;
    let mut rest = bytes;
    while !rest.is_empty() {
        let event = match frame(rest, message.as_ref(), limits) {
            Ok(None) => return (seen, End::Midway),
            Ok(Some((frame, frame_bytes))) => {
                rest = &rest[frame_bytes..];
                event(frame, &mut message, limits)
            }
            Err(reason) => Err(reason),
        };
        match event {
            Ok(event) => seen.extend(event),
            Err(reason) => return (seen, End::Failed(reason)),
        }
    }
    (seen, if message.is_some() { End::Midway } else { End::Idle })
}

/// The frame at the front and its length; `None` if it is not all there.
fn frame(
    bytes: &[u8],
    message: Option<&Message>,
    limits: &DecoderLimits,
) -> Result<Option<(Frame, usize)>, Reason> {
    let (is_last, reserved, opcode) = (bytes[0] >= 0x80, bytes[0] & 0x70, bytes[0] & 0x0f);
    let is_control = opcode >= 8;
    if reserved != 0 || !matches!(opcode, 0..=2 | 8..=10) || (is_control && !is_last) {
        return Err(Reason::Protocol);
    }
    let Some(second) = bytes.get(1) else { return Ok(None) };
    let (is_masked, short) = (*second >= 0x80, second & 0x7f);
    if is_control && short > 125 {
        return Err(Reason::Protocol);
    }
    let length_end = match short {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let Some(length) = bytes.get(2..length_end) else { return Ok(None) };
    let length = length.iter().fold(0, |length: u64, byte| length << 8 | u64::from(*byte));
    let length = if short < 126 { u64::from(short) } else { length };
    let shortest_form = match length {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    };
    if length_end != shortest_form || length >= 1 << 63 {
        return Err(Reason::Protocol);
    }
    let header_end = length_end + if is_masked { 4 } else { 0 };
    if bytes.len() < header_end {
        return Ok(None);
    }
    if is_masked != limits.masked || (!is_control && (opcode == 0) != message.is_some()) {
        return Err(Reason::Protocol);
    }
    let before = message.map_or(0, |message| message.bytes.len()) as u64;
    if !is_control && before + length > limits.message_bytes_max as u64 {
        return Err(Reason::TooBig);
    }
    let end = header_end + length as usize;
    let Some(payload) = bytes.get(header_end..end) else { return Ok(None) };
    let key = if is_masked { &bytes[length_end..header_end] } else { &[0; 4] };
    let payload = payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
    Ok(Some((Frame { is_last, opcode, payload }, end)))
}

fn event(
    frame: Frame,
    message: &mut Option<Message>,
    limits: &DecoderLimits,
) -> Result<Option<Seen>, Reason> {
    let Frame { is_last, opcode, payload } = frame;
    match opcode {
        8 => return Ok(Some(Seen::Close(payload))),
        9 => return Ok(Some(Seen::Ping(payload))),
        10 => return Ok(Some(Seen::Pong)),
        _ => {}
    }
    let is_alone = is_last && opcode != 0;
    let mut whole = message.take().unwrap_or(Message { is_text: opcode == 1, bytes: Vec::new(), frames: 0 });
    whole.frames += 1;
    if whole.frames > limits.fragments_max && !is_alone {
        return Err(Reason::Policy);
    }
    whole.bytes.extend(payload);
    if whole.is_text
        && let Err(error) = std::str::from_utf8(&whole.bytes)
        && (is_last || error.error_len().is_some())
    {
        return Err(Reason::InvalidUtf8);
    }
    if !is_last {
        *message = Some(whole);
        return Ok(None);
    }
    Ok(Some(if whole.is_text { Seen::Text(whole.bytes) } else { Seen::Binary(whole.bytes) }))
}
