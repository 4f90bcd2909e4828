//! Bytes to messages: cuts frames out of what arrives, unmasks them in place, joins fragments.
//!
//! A whole frame in the receive buffer is handed out from there, with no copy; only a frame that is cut
//! short is copied, once. An idle connection's decoder owns no memory. A length over the limit is refused
//! by the header alone, before anything is reserved. The result does not depend on how bytes were split.

use crate::close::Reason;
use crate::frame::{self, Header, Opcode};
use crate::mask;
use crate::utf8::Utf8Stream;

/// Bounds and role of a decoder.
#[derive(Clone, Copy, Debug)]
pub struct DecoderLimits {
    /// Bytes of a message, all fragments together.
    pub message_bytes_max: usize,
    /// Frames of a message, empty ones counted.
    pub fragments_max: usize,
    /// A server reads masked frames only, a client unmasked ones only (RFC 6455 §5.1).
    pub masked: bool,
}

/// What a peer sent: whole messages and control frames, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message, valid UTF-8, to be parsed where it lies.
    Text(&'a mut [u8]),
    /// A whole binary message.
    Binary(&'a mut [u8]),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// The answer to a ping, or an unasked heartbeat.
    Pong,
    /// The payload of a close frame; nothing after it counts.
    Close(&'a [u8]),
}

/// The state between two receives of one connection.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The frame that was cut short, as it came; empty, and without memory, otherwise.
    partial: Vec<u8>,
    /// `partial` was handed out as a whole frame and goes at the next call.
    partial_spent: bool,
    fragments: Option<Box<Fragments>>,
}

#[derive(Debug)]
struct Fragments {
    opcode: Opcode,
    bytes: Vec<u8>,
    utf8: Utf8Stream,
    frames: usize,
    /// The last fragment is in; `bytes` was handed out and goes at the next call.
    spent: bool,
}

impl Decoder {
    /// Takes the next event off the front of `input`; `None` once `input` is used up. Anything after an
    /// error is meaningless: the connection fails with that reason.
    pub fn next<'s, 'b: 's>(
        &'s mut self,
        input: &mut &'b mut [u8],
        limits: &DecoderLimits,
    ) -> Result<Option<Event<'s>>, Reason> {
        if self.partial.is_empty() && self.fragments.is_none() {
            if input.is_empty() {
                return Ok(None);
            }
            if let Some((opcode, payload)) = take_short_message(input, limits) {
                return finish(&mut self.fragments, opcode, payload).map(Some);
            }
        }
        loop {
            self.drop_spent();
            let Some((header, from_partial)) = self.next_header(input, limits)? else {
                return Ok(None);
            };
            if !from_partial && frame_bytes(&header) <= input.len() {
                let (frame, rest) = std::mem::take(input).split_at_mut(frame_bytes(&header));
                *input = rest;
                let payload = unmasked(frame, &header);
                if header.fin && header.opcode != Opcode::Continue {
                    return finish(&mut self.fragments, header.opcode, payload).map(Some);
                }
                if !self.join(&header, payload, limits)? {
                    continue;
                }
                return Ok(Some(self.joined()));
            }
            if !self.fill(input, frame_bytes(&header)) {
                return Ok(None);
            }
            self.partial_spent = true;
            if header.fin && header.opcode != Opcode::Continue {
                let payload = unmasked(&mut self.partial, &header);
                return finish(&mut self.fragments, header.opcode, payload).map(Some);
            }
            let mut frame = std::mem::take(&mut self.partial);
            if self.join(&header, unmasked(&mut frame, &header), limits)? {
                return Ok(Some(self.joined()));
            }
        }
    }

    /// True while a frame or a message is unfinished.
    pub fn is_midway(&self) -> bool {
        (!self.partial.is_empty() && !self.partial_spent) || self.fragments.as_ref().is_some_and(|f| !f.spent)
    }

    /// Bytes of memory that it holds: none while it is idle, and never more than in proportion to what came of
    /// the frame or message that is unfinished.
    pub fn held_bytes(&self) -> usize {
        let fragments = self.fragments.as_ref().map_or(0, |it| size_of::<Fragments>() + it.bytes.capacity());
        self.partial.capacity() + fragments
    }

    fn drop_spent(&mut self) {
        if self.partial_spent {
            self.partial = Vec::new();
            self.partial_spent = false;
        }
        if self.fragments.as_ref().is_some_and(|fragments| fragments.spent) {
            self.fragments = None;
        }
    }

    /// The next frame's header, and whether it stands in `partial`; `None` when bytes run out, which then
    /// all lie in `partial`.
    fn next_header(
        &mut self,
        input: &mut &mut [u8],
        limits: &DecoderLimits,
    ) -> Result<Option<(Header, bool)>, Reason> {
        let from_partial = !self.partial.is_empty();
        let header = loop {
            let bytes = if from_partial { &self.partial[..] } else { &**input };
            match frame::parse_header(bytes).map_err(|_| Reason::Protocol)? {
                Some(header) => break header,
                None if input.is_empty() => return Ok(None),
                None if from_partial => {
                    let wanted = self.partial.len() + 1;
                    self.fill(input, wanted);
                }
                None => {
                    let wanted = input.len();
                    self.fill(input, wanted);
                    return Ok(None);
                }
            }
        };
        self.check(&header, limits)?;
        Ok(Some((header, from_partial)))
    }

    fn check(&self, header: &Header, limits: &DecoderLimits) -> Result<(), Reason> {
        if header.mask.is_some() != limits.masked {
            return Err(Reason::Protocol);
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        let continues = header.opcode == Opcode::Continue;
        if continues != self.fragments.is_some() {
            return Err(Reason::Protocol);
        }
        let before = self.fragments.as_ref().map_or(0, |fragments| fragments.bytes.len());
        if header.payload_bytes > (limits.message_bytes_max - before.min(limits.message_bytes_max)) as u64 {
            return Err(Reason::TooBig);
        }
        Ok(())
    }

    /// Moves bytes from `input` to `partial` until it holds `wanted`; false if they ran out.
    fn fill(&mut self, input: &mut &mut [u8], wanted: usize) -> bool {
        let count = input.len().min(wanted - self.partial.len());
        let (take, rest) = std::mem::take(input).split_at_mut(count);
        *input = rest;
        if self.partial.capacity() < wanted {
            // A long frame is reserved in steps as it comes: the header alone must not cost its whole length.
            let step = (self.partial.len() + take.len()).saturating_mul(2).max(64);
            self.partial.reserve_exact(wanted.min(step) - self.partial.len());
        }
        self.partial.extend_from_slice(take);
        self.partial.len() == wanted
    }

    /// Adds a fragment; true if it was the last of its message.
    fn join(&mut self, header: &Header, payload: &[u8], limits: &DecoderLimits) -> Result<bool, Reason> {
        let fragments = self.fragments.get_or_insert_with(|| {
            Box::new(Fragments {
                opcode: header.opcode,
                bytes: Vec::new(),
                utf8: Utf8Stream::default(),
                frames: 0,
                spent: false,
            })
        });
        fragments.frames += 1;
        if fragments.frames > limits.fragments_max {
            return Err(Reason::Policy);
        }
        if fragments.opcode == Opcode::Text {
            fragments.utf8.push(payload).map_err(|_| Reason::InvalidUtf8)?;
            if header.fin {
                fragments.utf8.finish().map_err(|_| Reason::InvalidUtf8)?;
            }
        }
        fragments.bytes.extend_from_slice(payload);
        fragments.spent = header.fin;
        Ok(header.fin)
    }

    /// The message whose last fragment is in.
    fn joined(&mut self) -> Event<'_> {
        let fragments = self.fragments.as_deref_mut().expect("join has just added to them");
        if fragments.opcode == Opcode::Text {
            Event::Text(&mut fragments.bytes)
        } else {
            Event::Binary(&mut fragments.bytes)
        }
    }
}

/// Takes what nearly all messages are off the front of `input`: one masked frame of text or binary, of at most
/// 125 bytes, all of it there. `None`, and nothing taken, for whatever is not.
fn take_short_message<'b>(
    input: &mut &'b mut [u8],
    limits: &DecoderLimits,
) -> Option<(Opcode, &'b mut [u8])> {
    const MASK_BIT: u8 = 0x80;
    const HEADER_BYTES: usize = 6;
    let [first, second, a, b, c, d, ..] = **input else { return None };
    let opcode = match first {
        0x81 => Opcode::Text,
        0x82 => Opcode::Binary,
        _ => return None,
    };
    let payload_bytes = usize::from(second ^ MASK_BIT);
    let frame_bytes = HEADER_BYTES + payload_bytes;
    let is_short = limits.masked && payload_bytes <= frame::CONTROL_PAYLOAD_BYTES_MAX;
    if !is_short || payload_bytes > limits.message_bytes_max || frame_bytes > input.len() {
        return None;
    }
    let (frame, rest) = std::mem::take(input).split_at_mut(frame_bytes);
    *input = rest;
    let payload = &mut frame[HEADER_BYTES..];
    mask::apply(payload, [a, b, c, d]);
    Some((opcode, payload))
}

fn frame_bytes(header: &Header) -> usize {
    // `check` bounds the payload by message_bytes_max or 125, both far below usize::MAX.
    header.header_bytes + header.payload_bytes as usize
}

fn unmasked<'a>(frame: &'a mut [u8], header: &Header) -> &'a mut [u8] {
    let payload = &mut frame[header.header_bytes..];
    if let Some(key) = header.mask {
        mask::apply(payload, key);
    }
    payload
}

/// The event of an unfragmented frame.
fn finish<'a>(
    fragments: &mut Option<Box<Fragments>>,
    opcode: Opcode,
    payload: &'a mut [u8],
) -> Result<Event<'a>, Reason> {
    debug_assert!(opcode.is_control() || fragments.is_none(), "check lets no new message into another");
    match opcode {
        // Most text is ASCII, which is quicker to see.
        Opcode::Text if payload.is_ascii() || std::str::from_utf8(payload).is_ok() => {
            Ok(Event::Text(payload))
        }
        Opcode::Text => Err(Reason::InvalidUtf8),
        Opcode::Binary => Ok(Event::Binary(payload)),
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong),
        Opcode::Close => Ok(Event::Close(payload)),
        Opcode::Continue => Err(Reason::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: DecoderLimits = DecoderLimits { message_bytes_max: 4096, fragments_max: 8, masked: true };

    /// What a decoder makes of bytes that come in these pieces: events as text, then how it ended.
    fn decode(pieces: &[&[u8]]) -> Vec<String> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for piece in pieces {
            let mut bytes = piece.to_vec();
            let mut input = &mut bytes[..];
            loop {
                match decoder.next(&mut input, &LIMITS) {
                    Ok(Some(event)) => events.push(format!("{event:?}")),
                    Ok(None) => break,
                    Err(reason) => {
                        events.push(format!("{reason:?}"));
                        return events;
                    }
                }
            }
        }
        events.push(format!("midway: {}", decoder.is_midway()));
        events
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::push_masked_frame(&mut bytes, Opcode::Text, payload, [9, 8, 7, 6]);
        bytes[0] = first;
        bytes
    }

    #[test]
    fn fragments_are_joined_and_control_frames_pass_between_them() {
        let bytes =
            [frame(0x01, b"He"), frame(0x89, b"p"), frame(0x00, b"llo "), frame(0x80, b"you")].concat();
        assert_eq!(decode(&[&bytes]), ["Ping([112])", &format!("Text({:?})", b"Hello you"), "midway: false"]);
    }

    #[test]
    fn an_idle_decoder_owns_no_memory() {
        let mut decoder = Decoder::default();
        let bytes = frame(0x81, &[b'x'; 300]);
        for byte in bytes {
            let mut byte = [byte];
            let mut input = &mut byte[..];
            while decoder.next(&mut input, &LIMITS).unwrap().is_some() {}
        }
        assert_eq!(decoder.held_bytes(), 0);
    }

    #[test]
    fn a_header_alone_reserves_nothing_of_what_it_announces() {
        let mut decoder = Decoder::default();
        let limits = DecoderLimits { message_bytes_max: 16 << 20, ..LIMITS };
        let mut header = [0x82, 0xff, 0, 0, 0, 0, 0, 0xff, 0, 0, 1, 2, 3, 4];
        let mut input = &mut header[..];
        assert_eq!(decoder.next(&mut input, &limits), Ok(None));
        assert!(decoder.held_bytes() < 100, "{}", decoder.held_bytes());
    }

    proptest! {
        /// Any split equals none, whatever the bytes.
        #[test]
        fn splits_change_nothing(
            frames in prop::collection::vec((prop::sample::select(vec![0x81_u8, 0x82, 0x01, 0x00, 0x80, 0x89, 0x8a, 0x88, 0xc1]),
                prop::collection::vec(any::<u8>(), 0..200)), 1..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let whole = decode(&[&bytes]);
            prop_assert_eq!(&decode(&pieces), &whole);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(decode(&single), whole);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            decode(&[&bytes]);
        }
    }
}
