//! Joins of ever new rooms. Their codes collide under the hashes without a key that are in common use, a third of
//! them each: DJB2 wholly, FNV-1a and SipHash-1-3 with key 0 in the bits that pick a bucket. A hash with a random key
//! spreads them like any others, which the same with random codes is there to show.

use super::{KEY, Kind};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use wire::frame::{self, Opcode};

/// Two pairs of letters with one sum under `h * 33 + c`.
const DJB2_BLOCKS: [&str; 2] = ["Ab", "BA"];
/// Codes of two to the power of this many, of blocks that are one of two each.
const BLOCKS: usize = 11;
const CODES_EACH: usize = 1 << BLOCKS;
/// Low bits that agree: enough to pick among a million buckets, and among a thousand.
const FNV_MASK: u64 = (1 << 20) - 1;
const SIP_MASK: u64 = (1 << 10) - 1;
const CODE_BYTES: usize = 24;

pub struct Codes {
    codes: Vec<String>,
    joined: usize,
}

impl Codes {
    pub fn colliding() -> Codes {
        let blocks = fnv_blocks();
        let (mut sips, mut drawn) = (Vec::new(), 0_u64);
        while sips.len() < CODES_EACH {
            drawn += 1;
            let code = format!("SIP{drawn}");
            if sip(&code) & SIP_MASK == 0 {
                sips.push(code);
            }
        }
        let spelled = |prefix: &str, nth: usize, block: &dyn Fn(usize, usize) -> String| {
            let blocks = (0..BLOCKS).map(|place| block(place, nth >> place & 1));
            format!("{prefix}{}", blocks.collect::<String>())
        };
        let codes = sips.into_iter().enumerate().flat_map(|(nth, sip)| {
            let djb2 = spelled("DJB", nth, &|_, bit| DJB2_BLOCKS[bit].to_owned());
            let fnv = spelled("FNV", nth, &|place, bit| blocks[place][bit].clone());
            [djb2, fnv, sip]
        });
        Codes { codes: codes.collect(), joined: 0 }
    }

    pub fn random(random: &mut fastrand::Rng) -> Codes {
        let mut code = || (0..CODE_BYTES).map(|_| random.alphanumeric()).collect();
        Codes { codes: (0..3 * CODES_EACH).map(|_| code()).collect(), joined: 0 }
    }
}

impl Kind for Codes {
    fn speak(&mut self, connection: u32, out: &mut Vec<u8>) -> u64 {
        let code = &self.codes[self.joined % self.codes.len()];
        self.joined += 1;
        let text = format!(
            r#"{{"type":"join","roomCode":"{code}","userId":"c{connection}","hostId":"c{connection}"}}"#
        );
        frame::push_masked_frame(out, Opcode::Text, text.as_bytes(), KEY);
        1
    }
}

/// For each place of a code two blocks that lead from one state of the hash to one: any choice of them collides.
fn fnv_blocks() -> Vec<[String; 2]> {
    let mut state = fnv("FNV", FNV_OFFSET);
    let mut blocks = Vec::new();
    for _ in 0..BLOCKS {
        let mut seen: HashMap<u64, String> = HashMap::new();
        for number in 0_u64.. {
            let block = format!("{number:x}.");
            let next = fnv(&block, state) & FNV_MASK;
            if let Some(other) = seen.insert(next, block.clone()) {
                blocks.push([other, block]);
                state = next;
                break;
            }
        }
    }
    blocks
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a of 64 bits from a state on. Its low bits depend on the low bits of the state alone.
fn fnv(text: &str, state: u64) -> u64 {
    text.bytes().fold(state, |state, byte| (state ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

/// SipHash-1-3 with key 0, as the standard library's hasher has it when it is not given a random state.
fn sip(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_third_of_the_codes_collides_and_no_two_are_one() {
        let djb2 =
            |text: &str| text.bytes().fold(5_381_u64, |hash, byte| hash * 33 % (1 << 32) + u64::from(byte));
        let codes = Codes::colliding().codes;
        assert_eq!(codes.iter().collect::<HashSet<_>>().len(), 3 * CODES_EACH);
        let hashes = |prefix: &str, hash: &dyn Fn(&str) -> u64| -> HashSet<u64> {
            codes.iter().filter(|code| code.starts_with(prefix)).map(|code| hash(code)).collect()
        };
        assert_eq!(hashes("DJB", &|code| djb2(code) % (1 << 32)).len(), 1);
        assert_eq!(hashes("FNV", &|code| fnv(code, FNV_OFFSET) & FNV_MASK).len(), 1);
        assert_eq!(hashes("SIP", &|code| sip(code) & SIP_MASK), HashSet::from([0]));
        assert!(codes.iter().all(|code| code.len() <= 256), "a room's code may have so many bytes");
    }

    #[test]
    fn random_codes_are_as_many_and_spread() {
        let codes = Codes::random(&mut fastrand::Rng::with_seed(7)).codes;
        assert_eq!(codes.iter().collect::<HashSet<_>>().len(), 3 * CODES_EACH);
        let buckets: HashSet<u64> = codes.iter().map(|code| sip(code) & SIP_MASK).collect();
        assert!(buckets.len() > 1_000, "{}", buckets.len());
    }

    #[test]
    fn each_turn_is_a_join_of_the_next_room() {
        let mut kind = Codes::random(&mut fastrand::Rng::with_seed(7));
        let mut out = Vec::new();
        assert_eq!(kind.speak(0, &mut out) + kind.speak(1, &mut out), 2);
        let (events, end) = read(out);
        assert!(events.len() == 2 && events[0] != events[1] && end.is_none(), "{events:?}");
    }
}
