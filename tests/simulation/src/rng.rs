//! Randomness that is the same for the same seed on every machine.

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): quick, and good enough to
/// choose what happens.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// From a seed; any is good.
    pub fn new(seed: u64) -> Rng {
        Rng(seed ^ 0x6A09_E667_F3BC_C908)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The high half of a product; its bias is far below what anybody could see here.
        ((u128::from(self.any()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// An index into something with `len` items.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of some.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.index(of.len()))
    }

    /// The time to the next event of a Poisson process, which has one every `mean` on average.
    pub fn wait(&mut self, mean: u64) -> u64 {
        // -ln(u) by halving: as many means of ln 2 as there are heads in a row, and a part of one.
        let bits = self.any();
        let halves = u64::from(bits.leading_zeros().min(20));
        let part = (bits << (halves + 1)) >> 44;
        let ln2 = mean as u128 * 693_147 / 1_000_000;
        (ln2 * u128::from(halves) + ((ln2 * u128::from(part)) >> 20)) as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_have_their_mean() {
        let mut rng = Rng::new(1);
        let sum: u64 = (0..100_000).map(|_| rng.wait(1_000)).sum();
        assert!((95_000_000..115_000_000).contains(&sum), "{sum}");
    }

    #[test]
    fn numbers_stay_within() {
        let mut rng = Rng::new(2);
        assert!((0..10_000).all(|_| (3..=7).contains(&rng.between(3, 7))));
        assert_eq!((rng.below(0), rng.pick(&[] as &[u8])), (0, None));
    }
}
