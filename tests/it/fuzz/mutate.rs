//! Changes that break parsers: bits, lengths, cuts, repetitions, parts of other inputs.

use crate::pictures::with_checksums;

/// Numbers that depend on where they begin and on nothing else (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, or 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Lengths and counts that are off by one, too large, or negative for some parsers.
const NUMBERS: [u64; 12] = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

/// One of the inputs, changed in one to four ways.
pub fn changed(random: &mut Random, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = inputs[random.below(inputs.len())].clone();
    for _ in 0..=random.below(4) {
        change(random, inputs, &mut bytes);
    }
    // Otherwise the checksum would refuse everything after it.
    if random.below(4) > 0 { with_checksums(bytes) } else { bytes }
}

fn change(random: &mut Random, inputs: &[Vec<u8>], bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len());
    let end = at + random.below((bytes.len() - at).min(64));
    match random.below(8) {
        0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
        1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.next() as u8),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let again = bytes[at..end].repeat(1 + random.below(20));
            bytes.splice(at..at, again);
        }
        5 => {
            let other = &inputs[random.below(inputs.len())];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[random.below(other.len())..]);
        }
        6 => {
            let number = NUMBERS[random.below(NUMBERS.len())];
            let width = 1 << random.below(4);
            let written = if random.below(2) == 0 { number.to_le_bytes() } else { number.swap_bytes().to_le_bytes() };
            let written = if random.below(2) == 0 { &written[..width] } else { &written[8 - width..] };
            bytes.iter_mut().skip(at).zip(written).for_each(|(byte, new)| *byte = *new);
        }
        _ => {
            let noise: Vec<u8> = (0..random.below(12)).map(|_| random.next() as u8).collect();
            bytes.splice(at..at, noise);
        }
    }
}
