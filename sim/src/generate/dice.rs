//! Chance from a seed: SplitMix64, so that a seed means the same session for ever, whatever crates are updated. Or from a
//! tape of bytes, as long as it lasts: then each choice is two bytes of it, and a fuzzer changes one without the others.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
    tape: VecDeque<u8>,
}

impl Dice {
    /// The stream of this seed. Neighbouring seeds have nothing in common.
    pub fn new(seed: u64) -> Dice {
        Dice { state: seed.wrapping_mul(0xd134_2543_de82_ef95), tape: VecDeque::new() }
    }

    /// What the tape says, then the stream of seed 0.
    pub fn with_tape(tape: &[u8]) -> Dice {
        Dice { tape: tape.iter().copied().collect(), ..Dice::new(0) }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        if let (Some(high), Some(low)) = (self.tape.pop_front(), self.tape.pop_front()) {
            return mix(u64::from(u16::from_be_bytes([high, low])));
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number of the range. The bias of a remainder does not matter here.
    pub fn within(&mut self, range: RangeInclusive<i64>) -> i64 {
        let width = (range.end() - range.start()) as u64 + 1;
        range.start() + (self.number() % width) as i64
    }

    /// An index below `length`, which is not 0.
    pub fn below(&mut self, length: usize) -> usize {
        (self.number() % length as u64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.number().is_multiple_of(n)
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// The place of one of the weights, each as often as it weighs.
    pub fn weighed(&mut self, weights: &[u64]) -> usize {
        let mut left = self.number() % weights.iter().sum::<u64>();
        for (place, weight) in weights.iter().enumerate() {
            if left < *weight {
                return place;
            }
            left -= weight;
        }
        unreachable!("the remainder is below the sum of the weights")
    }
}

/// Each number its own, with nothing of its neighbours' in it.
fn mix(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_are_these() {
        let mut dice = Dice::new(1);
        assert_eq!([dice.number(), dice.number()], [17_629_623_748_622_851_610, 13_810_761_654_074_628_661]);
    }

    #[test]
    fn a_tape_decides_choice_by_choice_and_the_seed_behind_it() {
        let numbers = |tape: &[u8]| {
            let mut dice = Dice::with_tape(tape);
            [dice.number(), dice.number(), dice.number()]
        };
        let (one, other) = (numbers(&[0, 1, 0, 2]), numbers(&[0, 1, 9, 9]));
        assert!(one[0] == other[0] && one[1] != other[1] && one[2] == other[2]);
        assert_eq!(one[2], Dice::new(0).number());
    }

    #[test]
    fn ranges_and_weights_are_kept_to() {
        let mut dice = Dice::new(7);
        let mut seen = [0; 3];
        for _ in 0..3000 {
            assert!((-2..=2).contains(&dice.within(-2..=2)));
            seen[dice.weighed(&[1, 0, 2])] += 1;
        }
        assert!(seen[1] == 0 && (800..1200).contains(&seen[0]), "{seen:?}");
    }
}
