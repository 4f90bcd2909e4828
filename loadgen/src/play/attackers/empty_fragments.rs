//! One message of empty fragments that never ends: a million to a connection, six bytes each.

use super::{BATCH_BYTES, KEY, Kind};

const FRAGMENTS_MAX: u64 = 1_000_000;
/// Text, more to come, masked, empty; and the same as a continuation.
const FIRST: [u8; 2] = [0x01, 0x80];
const NEXT: [u8; 2] = [0x00, 0x80];
const FRAGMENT_BYTES: usize = FIRST.len() + KEY.len();

pub struct EmptyFragments {
    /// Fragments said, by connection.
    said: Vec<u64>,
}

impl EmptyFragments {
    pub fn new(connections: usize) -> EmptyFragments {
        EmptyFragments { said: vec![0; connections] }
    }
}

impl Kind for EmptyFragments {
    fn speak(&mut self, connection: u32, out: &mut Vec<u8>) -> u64 {
        let said = &mut self.said[connection as usize];
        let count = (FRAGMENTS_MAX - *said).min((BATCH_BYTES / FRAGMENT_BYTES) as u64);
        for nth in 0..count {
            out.extend_from_slice(if *said + nth == 0 { &FIRST } else { &NEXT });
            out.extend_from_slice(&KEY);
        }
        *said += count;
        count
    }

    fn ended(&mut self, connection: u32) {
        self.said[connection as usize] = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;
    use wire::close::Reason;

    #[test]
    fn a_million_fragments_and_not_one_message() {
        let mut kind = EmptyFragments::new(1);
        let mut out = Vec::new();
        let mut said = 0;
        while let count @ 1.. = kind.speak(0, &mut out) {
            said += count;
        }
        assert_eq!((said, out.len()), (1_000_000, 6_000_000));
        assert_eq!(read(out), (Vec::new(), Some(Reason::Policy)), "a server with a limit closes with 1008");
        kind.ended(0);
        assert!(kind.speak(0, &mut Vec::new()) > 0, "the next life has a million of its own");
    }
}
