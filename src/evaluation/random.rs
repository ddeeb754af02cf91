//! Random numbers that a seed repeats.

use crate::domain::SplitMix;

/// The numbers of one draw.
#[derive(Debug, Clone)]
pub(super) struct Random(SplitMix);

impl Random {
    /// Numbers of one draw of many: draws are independent of the order and the threads in which they are made.
    pub(super) fn for_draw(seed: u64, draw: usize) -> Self {
        let start = SplitMix::new(seed).bits();
        let mut random = SplitMix::new(start ^ (draw as u64).wrapping_mul(0xd134_2543_de82_ef95));
        random.bits();
        Self(random)
    }

    /// A number below `count`, which is not 0. Its bias, `count` in 2^64, is far below what any draw shows.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.0.bits()) * count as u128) >> 64) as usize
    }

    /// How often each of `count` people is drawn when as many are drawn with replacement.
    pub(super) fn multiplicities(&mut self, count: usize) -> Vec<u32> {
        let mut drawn = vec![0; count];
        for _ in 0..count {
            drawn[self.below(count)] += 1;
        }
        drawn
    }

    /// Puts a random choice of `count` items, in random order, to the front.
    pub(super) fn shuffle_front<T>(&mut self, items: &mut [T], count: usize) {
        for at in 0..count.min(items.len()) {
            let other = at + self.below(items.len() - at);
            items.swap(at, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_repeated_by_its_seed_and_differs_from_others() {
        let draw = |seed, draw| Random::for_draw(seed, draw).multiplicities(1000);
        assert_eq!(draw(1, 7), draw(1, 7));
        assert_ne!(draw(1, 7), draw(1, 8));
        assert_ne!(draw(1, 7), draw(2, 7));
    }

    /// Of people drawn with replacement, 1/e are not drawn.
    #[test]
    fn a_person_is_drawn_as_often_as_chance_says() {
        let drawn = Random::for_draw(3, 0).multiplicities(10_000);
        assert_eq!(drawn.iter().sum::<u32>(), 10_000);
        let missing = drawn.iter().filter(|count| **count == 0).count();
        assert!((3_500..3_860).contains(&missing), "{missing}");
    }

    #[test]
    fn every_item_is_chosen_about_equally_often() {
        let mut chosen = [0; 5];
        for draw in 0..5_000 {
            let mut items = [0, 1, 2, 3, 4];
            Random::for_draw(9, draw).shuffle_front(&mut items, 2);
            items[..2].iter().for_each(|item| chosen[*item] += 1);
        }
        assert!(chosen.iter().all(|count| (1_850..2_150).contains(count)), "{chosen:?}");
    }
}
