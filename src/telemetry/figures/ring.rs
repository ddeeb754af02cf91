//! A bounded series of rows, one for each step of time.

use std::collections::VecDeque;

/// The rows of the last steps. A step without a row, such as while the machine slept, is a gap of NaN.
#[derive(Debug, Clone)]
pub(super) struct Ring<const N: usize> {
    capacity: usize,
    /// The step of the last row.
    last: u64,
    rows: VecDeque<[f32; N]>,
}

impl<const N: usize> Ring<N> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, last: 0, rows: VecDeque::with_capacity(capacity) }
    }

    /// Adds the row of a step. One that is not after the last is dropped: the clock was set back. If it was set back by
    /// more than the ring holds, the ring begins again.
    pub(super) fn push(&mut self, step: u64, row: [f32; N]) {
        let is_far = step.abs_diff(self.last) >= self.capacity as u64;
        if self.rows.is_empty() || is_far {
            self.rows.clear();
        } else if step <= self.last {
            return;
        } else {
            for _ in self.last + 1..step {
                self.add([f32::NAN; N]);
            }
        }
        self.add(row);
        self.last = step;
    }

    fn add(&mut self, row: [f32; N]) {
        if self.rows.len() == self.capacity {
            self.rows.pop_front();
        }
        self.rows.push_back(row);
    }

    /// The step of the first row from `from` on, and the rows from there.
    pub(super) fn since(&self, from: u64) -> (u64, impl Iterator<Item = &[f32; N]>) {
        let first = (self.last + 1).saturating_sub(self.rows.len() as u64);
        let skipped = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX).min(self.rows.len());
        (first + skipped as u64, self.rows.iter().skip(skipped))
    }

    /// The bytes of a ring, about.
    pub(super) const fn max_bytes(capacity: usize) -> usize {
        capacity * N * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ring: &Ring<1>, from: u64) -> (u64, Vec<Option<f32>>) {
        let (first, rows) = ring.since(from);
        (first, rows.map(|[value]| Some(*value).filter(|value| !value.is_nan())).collect())
    }

    #[test]
    fn rows_are_bounded_and_gaps_are_kept() {
        let mut ring = Ring::new(4);
        assert_eq!(rows(&ring, 0), (1, vec![]));
        for step in [10, 11, 13] {
            ring.push(step, [step as f32]);
        }
        assert_eq!(rows(&ring, 0), (10, vec![Some(10.0), Some(11.0), None, Some(13.0)]));
        assert_eq!(rows(&ring, 12), (12, vec![None, Some(13.0)]));
        ring.push(14, [14.0]);
        assert_eq!(rows(&ring, 0), (11, vec![Some(11.0), None, Some(13.0), Some(14.0)]));
        ring.push(12, [99.0]);
        assert_eq!(rows(&ring, 14), (14, vec![Some(14.0)]), "the clock was set back a little");
        ring.push(2, [2.0]);
        assert_eq!(rows(&ring, 0), (2, vec![Some(2.0)]), "and by more than the ring holds");
        ring.push(1000, [3.0]);
        assert_eq!(rows(&ring, 0), (1000, vec![Some(3.0)]), "a long gap is not filled");
        assert_eq!(rows(&ring, 2000), (1001, vec![]));
    }
}
