//! Chance from a seed: SplitMix64, so that a seed means the same session for ever, whatever crates are updated.

use std::ops::RangeInclusive;

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The stream of this seed. Neighbouring seeds have nothing in common.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_are_these() {
        let mut dice = Dice::new(1);
        assert_eq!([dice.number(), dice.number()], [17_629_623_748_622_851_610, 13_810_761_654_074_628_661]);
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
