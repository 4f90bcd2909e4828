//! Frames that are masked once: only the stamp of a copy is written anew.

use super::stamp::{STAMP_BYTES, Stamp};
use wire::frame::{self, Opcode};
use wire::mask;

/// Makes and checks the binary messages of a run.
pub struct Frames {
    /// What follows the stamp in each payload.
    tail: Vec<u8>,
    /// A whole masked frame, with the key it was masked with.
    frame: Vec<u8>,
    key: [u8; 4],
}

impl Frames {
    /// `payload_bytes` is at least [`STAMP_BYTES`].
    pub fn new(payload_bytes: usize, random: &mut fastrand::Rng) -> Frames {
        let tail = (STAMP_BYTES..payload_bytes).map(|_| random.u8(..)).collect();
        Frames { tail, frame: Vec::new(), key: [0; 4] }
    }

    /// Appends a frame.
    pub fn push(&mut self, stamp: Stamp, out: &mut Vec<u8>, key: [u8; 4]) {
        if key != self.key {
            let payload = [&[0; STAMP_BYTES][..], &self.tail].concat();
            self.frame.clear();
            frame::push_masked_frame(&mut self.frame, Opcode::Binary, &payload, key);
            self.key = key;
        }
        let at = out.len() + self.frame.len() - self.tail.len() - STAMP_BYTES;
        out.extend_from_slice(&self.frame);
        let place = &mut out[at..at + STAMP_BYTES];
        place.copy_from_slice(&stamp.to_bytes());
        mask::apply(place, key);
    }

    /// The stamp of a payload that came back unchanged.
    pub fn read(&self, payload: &[u8]) -> Option<Stamp> {
        let (_, tail) = payload.split_at_checked(STAMP_BYTES)?;
        if tail.len() != self.tail.len() || (!tail.is_empty() && tail != self.tail) {
            return None;
        }
        Stamp::read(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::decoder::{Decoder, DecoderLimits, Event};

    #[test]
    fn what_is_pushed_is_read_back_and_a_changed_byte_anywhere_is_seen() {
        for payload_bytes in [20, 21, 126, 70_000] {
            let mut frames = Frames::new(payload_bytes, &mut fastrand::Rng::with_seed(1));
            let mut out = b"before".to_vec();
            for sequence in 0..2 {
                let stamp = Stamp { connection: 5, sequence, intended_ns: 77, lag_ns: 64 };
                frames.push(stamp, &mut out, [9, 8, 7, 6]);
            }
            let limits = DecoderLimits { message_bytes_max: 1 << 20, fragments_max: 1, masked: true };
            let mut input = &mut out[6..];
            let mut decoder = Decoder::default();
            for sequence in 0..2 {
                let Ok(Some(Event::Binary(payload))) = decoder.next(&mut input, &limits) else {
                    panic!("no message")
                };
                assert_eq!(payload.len(), payload_bytes);
                assert_eq!(frames.read(payload).unwrap().sequence, sequence);
                let last = payload.len() - 1;
                payload[last] ^= 1;
                assert_eq!(frames.read(payload), None);
            }
        }
    }
}
