//! A queue that serves tenants in turn.

use std::collections::VecDeque;

/// First in, first out for each tenant; tenants with items are served round robin, so one that queues many items does
/// not delay the others.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    /// One queue a tenant, the next to be served first. No queue is empty.
    tenants: VecDeque<(u64, VecDeque<T>)>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { tenants: VecDeque::new() }
    }
}

impl<T> FairQueue<T> {
    pub(super) fn push(&mut self, tenant: u64, item: T) {
        match self.tenants.iter_mut().find(|(known, _)| *known == tenant) {
            Some((_, items)) => items.push_back(item),
            None => self.tenants.push_back((tenant, VecDeque::from([item]))),
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.pop_where(|_| true).map(|(_, item)| item)
    }

    /// The next item of a tenant that may have one, with the tenant.
    pub(super) fn pop_where(&mut self, may: impl Fn(u64) -> bool) -> Option<(u64, T)> {
        let at = self.tenants.iter().position(|(tenant, _)| may(*tenant))?;
        let (tenant, mut items) = self.tenants.remove(at)?;
        let item = items.pop_front()?;
        if !items.is_empty() {
            self.tenants.push_back((tenant, items));
        }
        Some((tenant, item))
    }

    /// The number of items of all tenants.
    pub(super) fn len(&self) -> usize {
        self.tenants.iter().map(|(_, items)| items.len()).sum()
    }

    /// All items, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.tenants.iter().flat_map(|(_, items)| items)
    }

    /// Removes and returns the items that match.
    pub(super) fn extract(&mut self, matches: impl Fn(&T) -> bool) -> Vec<T> {
        let mut extracted = Vec::new();
        for (_, items) in &mut self.tenants {
            for item in std::mem::take(items) {
                if matches(&item) { extracted.push(item) } else { items.push_back(item) }
            }
        }
        self.tenants.retain(|(_, items)| !items.is_empty());
        extracted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_served_in_turn() {
        let mut queue = FairQueue::default();
        for (tenant, item) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (2, "b2")] {
            queue.push(tenant, item);
        }
        assert_eq!((queue.len(), queue.iter().count()), (6, 6));
        assert_eq!(queue.pop(), Some("a1"));
        queue.push(4, "d1");
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, ["b1", "c1", "a2", "d1", "b2", "a3"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_tenant_that_may_not_have_an_item_is_passed_over() {
        let mut queue = FairQueue::default();
        [(1, 10), (1, 11), (2, 20)].into_iter().for_each(|(tenant, item)| queue.push(tenant, item));
        assert_eq!(queue.pop_where(|tenant| tenant != 1), Some((2, 20)));
        assert_eq!(queue.pop_where(|tenant| tenant != 1), None);
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(10), Some(11), None));
    }

    #[test]
    fn matching_items_are_extracted() {
        let mut queue = FairQueue::default();
        [(1, 10), (1, 11), (2, 20)].into_iter().for_each(|(tenant, item)| queue.push(tenant, item));
        assert_eq!(queue.extract(|item| item % 10 == 0), [10, 20]);
        assert_eq!((queue.pop(), queue.pop()), (Some(11), None));
    }
}
