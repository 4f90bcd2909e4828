//! What every payload begins with: who sent it, its number, when it was meant to be sent, how late it was.
//!
//! 20 bytes: connection (3), sequence (4), intended time in ns since the run's origin (6), lag in units of
//! 64 ns (4), check (3). A payload whose check fails was changed on its way.

/// Bytes of a stamp, the shortest payload there is.
pub const STAMP_BYTES: usize = 20;
/// Connections that a stamp can name.
pub const CONNECTIONS_MAX: usize = 1 << 24;

const LAG_UNIT_NS: u64 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub connection: u32,
    pub sequence: u32,
    /// Since the run's origin.
    pub intended_ns: u64,
    /// From intended to sent, to 64 ns, at most 274 s.
    pub lag_ns: u64,
}

impl Stamp {
    pub fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[0..3].copy_from_slice(&self.connection.to_le_bytes()[..3]);
        bytes[3..7].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[7..13].copy_from_slice(&self.intended_ns.to_le_bytes()[..6]);
        let lag = u32::try_from(self.lag_ns / LAG_UNIT_NS).unwrap_or(u32::MAX);
        bytes[13..17].copy_from_slice(&lag.to_le_bytes());
        let check = check(&bytes);
        bytes[17..20].copy_from_slice(&check.to_le_bytes()[..3]);
        bytes
    }

    /// `None` if it is not one that was written here.
    pub fn read(payload: &[u8]) -> Option<Stamp> {
        let bytes: &[u8; STAMP_BYTES] = payload.first_chunk()?;
        if bytes[17..20] != check(bytes).to_le_bytes()[..3] {
            return None;
        }
        let wide = |range: std::ops::Range<usize>| {
            let mut wide = [0; 8];
            wide[..range.len()].copy_from_slice(&bytes[range]);
            u64::from_le_bytes(wide)
        };
        Some(Stamp {
            connection: wide(0..3) as u32,
            sequence: wide(3..7) as u32,
            intended_ns: wide(7..13),
            lag_ns: wide(13..17) * LAG_UNIT_NS,
        })
    }
}

/// Two rounds of multiply and fold over the first 17 bytes.
fn check(bytes: &[u8; STAMP_BYTES]) -> u64 {
    let (a, rest) = bytes.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    let b: &[u8; 8] = rest.first_chunk().unwrap_or(&[0; 8]);
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let first = fold(u64::from_le_bytes(*a) ^ 0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93);
    fold(first ^ u64::from_le_bytes(*b) ^ u64::from(bytes[16]), 0xA076_1D64_78BD_642F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_as_it_was_and_any_changed_bit_is_seen() {
        let stamp = Stamp { connection: 70_000, sequence: 4_000_000_000, intended_ns: 1 << 47, lag_ns: 6400 };
        let bytes = stamp.to_bytes();
        assert_eq!(Stamp::read(&bytes), Some(stamp));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Stamp::read(&changed), None, "bit {bit}");
        }
        assert_eq!(Stamp::read(&bytes[..19]), None);
    }

    #[test]
    fn a_lag_beyond_its_field_stays_at_the_most() {
        let stamp = Stamp { connection: 0, sequence: 0, intended_ns: 0, lag_ns: u64::MAX };
        assert!(Stamp::read(&stamp.to_bytes()).unwrap().lag_ns > 270_000_000_000);
    }
}
