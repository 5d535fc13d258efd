//! Random numbers by counting: Philox 4×32 with ten rounds.
//!
//! J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
//! SC 2011, <https://doi.org/10.1145/2063384.2063405>. A block of four numbers is a function of a key and
//! a counter alone, so that any element's number can be had without those before it.

// Inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]
// Lanes of several words are walked side by side.
#![allow(clippy::needless_range_loop)]

/// Numbers that are made together: the blocks of 16 neighbouring counters.
pub(crate) const GROUP: usize = 16 * 4;

/// Random numbers of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Philox {
    key: [u32; 2],
}

impl Philox {
    /// The generator whose key is the seed, lower half first.
    pub fn new(seed: u64) -> Philox {
        Philox { key: [seed as u32, (seed >> 32) as u32] }
    }

    /// The block of four numbers of a counter, of whose four words the upper two are 0. Random number p of
    /// a sequence is `block(p / 4)[p % 4]`.
    pub fn block(&self, counter: u64) -> [u32; 4] {
        let words = [counter as u32, (counter >> 32) as u32, 0, 0];
        blocks(self.key, words.map(|word| [word])).map(|[word]| word)
    }

    /// Random numbers `GROUP·index` and those that follow it.
    #[inline(always)]
    pub(crate) fn group(self, index: u64) -> [u32; GROUP] {
        // The multiplication wraps only where the counter does.
        let counter = |lane: usize| index.wrapping_mul(16).wrapping_add(lane as u64);
        let low = std::array::from_fn(|lane| counter(lane) as u32);
        let high = std::array::from_fn(|lane| (counter(lane) >> 32) as u32);
        let words: [[u32; 16]; 4] = blocks(self.key, [low, high, [0; 16], [0; 16]]);
        std::array::from_fn(|number| words[number % 4][number / 4])
    }
}

/// The blocks of N counters, word by word.
#[inline(always)]
fn blocks<const N: usize>(mut key: [u32; 2], mut words: [[u32; N]; 4]) -> [[u32; N]; 4] {
    for _ in 0..10 {
        for lane in 0..N {
            let first = u64::from(words[0][lane]) * 0xD251_1F53;
            let second = u64::from(words[2][lane]) * 0xCD9E_8D57;
            words[0][lane] = (second >> 32) as u32 ^ words[1][lane] ^ key[0];
            words[1][lane] = second as u32;
            words[2][lane] = (first >> 32) as u32 ^ words[3][lane] ^ key[1];
            words[3][lane] = first as u32;
        }
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that the authors publish with their library Random123.
    #[test]
    fn blocks_agree_with_the_known_answers() {
        let block = |counter: [u32; 4], key| blocks(key, counter.map(|word| [word])).map(|[word]| word);
        assert_eq!(block([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(block([!0; 4], [!0; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let counter = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let expected = [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1];
        assert_eq!(block(counter, [0xa409_3822, 0x299f_31d0]), expected);
    }

    #[test]
    fn groups_are_the_blocks_of_neighbouring_counters() {
        let philox = Philox::new(0x0123_4567_89ab_cdef);
        for index in [0, 1, (1 << 28) - 1, 1 << 28, u64::MAX] {
            let group = philox.group(index);
            for (number, &value) in group.iter().enumerate() {
                let counter = index.wrapping_mul(16).wrapping_add(number as u64 / 4);
                assert_eq!(value, philox.block(counter)[number % 4], "number {number} of group {index}");
            }
        }
    }
}
