//! A queue in which parties take turns.

use std::collections::VecDeque;

/// What waits, first in and first out for each party; the parties that have something waiting take turns, so nobody
/// waits for all that another one has sent.
#[derive(Debug)]
pub(super) struct Turns<T> {
    /// Whose turn is next stands first. Nobody stands in it with nothing.
    parties: VecDeque<(u64, VecDeque<T>)>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { parties: VecDeque::new() }
    }
}

impl<T> Turns<T> {
    pub(super) fn push(&mut self, party: u64, item: T) {
        match self.parties.iter_mut().find(|(known, _)| *known == party) {
            Some((_, items)) => items.push_back(item),
            None => self.parties.push_back((party, VecDeque::from([item]))),
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let (party, mut items) = self.parties.pop_front()?;
        let item = items.pop_front();
        if !items.is_empty() {
            self.parties.push_back((party, items));
        }
        item
    }

    /// How many wait, of all parties.
    pub(super) fn len(&self) -> usize {
        self.parties.iter().map(|(_, items)| items.len()).sum()
    }

    /// All that wait, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.parties.iter().flat_map(|(_, items)| items)
    }

    /// Takes out what is meant.
    pub(super) fn take(&mut self, is_meant: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for (_, items) in &mut self.parties {
            for item in std::mem::take(items) {
                if is_meant(&item) { taken.push(item) } else { items.push_back(item) }
            }
        }
        self.parties.retain(|(_, items)| !items.is_empty());
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_take_turns() {
        let mut turns = Turns::default();
        for (party, item) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (2, "b2")] {
            turns.push(party, item);
        }
        assert_eq!((turns.len(), turns.iter().count()), (6, 6));
        assert_eq!(turns.pop(), Some("a1"));
        turns.push(4, "d1");
        let rest: Vec<_> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(rest, ["b1", "c1", "a2", "d1", "b2", "a3"]);
        assert_eq!(turns.len(), 0);
    }

    #[test]
    fn what_is_meant_is_taken_out() {
        let mut turns = Turns::default();
        [(1, 10), (1, 11), (2, 20)].into_iter().for_each(|(party, item)| turns.push(party, item));
        assert_eq!(turns.take(|item| item % 10 == 0), [10, 20]);
        assert_eq!((turns.pop(), turns.pop()), (Some(11), None));
    }
}
