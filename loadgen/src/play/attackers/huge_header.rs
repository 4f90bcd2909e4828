//! Frames of which there is nothing but a header that announces too much, each life another one.

use super::{KEY, Kind};

/// Just over 64 KiB, a TiB, the most that RFC 6455 §5.2 allows, and one over that, which it forbids.
const LENGTHS: [u64; 4] = [65_537, 1 << 40, i64::MAX as u64, 1 << 63];
/// Binary, final; masked, with a length of eight bytes.
const BEGIN: [u8; 2] = [0x82, 0xff];

#[derive(Default)]
pub struct HugeHeader {
    lives: usize,
}

impl Kind for HugeHeader {
    fn open(&mut self, _connection: u32, out: &mut Vec<u8>) -> u64 {
        let length = LENGTHS[self.lives % LENGTHS.len()];
        self.lives += 1;
        out.extend_from_slice(&BEGIN);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&KEY);
        1
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;
    use wire::close::Reason;

    #[test]
    fn a_header_is_enough_to_be_refused() {
        let mut kind = HugeHeader::default();
        let ends = [Reason::TooBig, Reason::TooBig, Reason::TooBig, Reason::Protocol, Reason::TooBig];
        for reason in ends {
            let mut out = Vec::new();
            assert_eq!((kind.open(0, &mut out), out.len()), (1, 14));
            assert_eq!(read(out), (Vec::new(), Some(reason)));
        }
    }
}
