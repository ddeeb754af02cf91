//! Slots that are waited for, in turn.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::fair_queue::FairQueue;
use super::holders::leaves_room;

/// A bounded number of slots. Tenants that wait for one are served in turn, and one tenant gets at most a share of what
/// the others leave, as of a [`MemoryBudget`](super::MemoryBudget): a slot is left for a tenant that comes while the slots
/// of another are stuck.
#[derive(Debug, Clone)]
pub struct FairSlots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity: usize,
    share: f64,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_use: usize,
    /// Tenants without slots have no entry.
    held: HashMap<u64, usize>,
    /// The shares of tenants that have one of their own.
    shares: HashMap<u64, f64>,
    waiting: FairQueue<oneshot::Sender<Slot>>,
}

/// A slot in use. Dropping it passes it on.
#[derive(Debug)]
pub struct Slot {
    shared: Arc<Shared>,
    tenant: u64,
}

impl FairSlots {
    /// So many slots (at least one), of which a tenant gets the share `share`, 0 to 1, and for which it waits at most
    /// `patience`.
    pub fn new(capacity: usize, share: f64, patience: Duration) -> Self {
        Self(Arc::new(Shared { capacity: capacity.max(1), share, patience, state: Mutex::default() }))
    }

    /// Waits for a slot; `None` when that took too long.
    pub async fn take(&self, tenant: u64) -> Option<Slot> {
        self.take_within(tenant, None).await
    }

    /// As [`FairSlots::take`], for a tenant that may have a share of its own.
    pub async fn take_within(&self, tenant: u64, share: Option<f64>) -> Option<Slot> {
        let (grant, granted) = oneshot::channel();
        {
            let mut state = self.0.state.lock();
            match share {
                Some(share) => drop(state.shares.insert(tenant, share)),
                None => drop(state.shares.remove(&tenant)),
            }
            state.waiting.push(tenant, grant);
        }
        self.0.pass_on();
        if let Ok(Ok(slot)) = tokio::time::timeout(self.0.patience, granted).await {
            return Some(slot);
        }
        drop(self.0.state.lock().waiting.extract(oneshot::Sender::is_closed));
        None
    }
}

impl State {
    /// The next waiter that may have a slot, which is counted as in use.
    fn next(&mut self, capacity: usize, share: f64) -> Option<(u64, oneshot::Sender<Slot>)> {
        loop {
            let free = capacity.checked_sub(self.in_use + 1)?;
            let (held, shares) = (&self.held, &self.shares);
            let share = |tenant: u64| shares.get(&tenant).copied().unwrap_or(share);
            let may = |tenant: u64| held.get(&tenant).is_none_or(|held| leaves_room(share(tenant), held + 1, free));
            let (tenant, grant) = self.waiting.pop_where(may)?;
            if !grant.is_closed() {
                self.in_use += 1;
                *self.held.entry(tenant).or_default() += 1;
                return Some((tenant, grant));
            }
        }
    }
}

impl Shared {
    /// Gives free slots to those that wait.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let next = self.state.lock().next(self.capacity, self.share);
            let Some((tenant, grant)) = next else { return };
            // Without the lock: if the waiter has gone, the slot is dropped here.
            drop(grant.send(Slot { shared: Arc::clone(self), tenant }));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state.lock();
            state.in_use = state.in_use.saturating_sub(1);
            if let Some(held) = state.held.get_mut(&self.tenant) {
                *held = held.saturating_sub(1);
                if *held == 0 {
                    state.held.remove(&self.tenant);
                }
            }
        }
        self.shared.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn tenants_that_wait_are_served_in_turn() {
        let slots = FairSlots::new(1, 1.0, LONG);
        let first = slots.take(1).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for tenant in [1, 1, 2, 3] {
            let (slots, order) = (slots.clone(), Arc::clone(&order));
            let mut taken = Box::pin(async move {
                let slot = slots.take(tenant).await;
                order.lock().push(tenant);
                slot
            });
            assert!((&mut taken).now_or_never().is_none());
            waiting.push(taken);
        }
        drop(first);
        futures_util::future::join_all(waiting.into_iter().map(|taken| async { drop(taken.await) })).await;
        assert_eq!(*order.lock(), [1, 2, 3, 1]);
        let state = slots.0.state.lock();
        assert_eq!((state.in_use, state.held.len()), (0, 0));
    }

    #[tokio::test]
    async fn stuck_tenants_leave_a_slot() {
        let slots = FairSlots::new(8, 0.8, LONG);
        let mut held = Vec::new();
        for (tenant, expected) in [(1, 6), (2, 1), (3, 1)] {
            let before = held.len();
            while let Some(slot) = slots.take(tenant).now_or_never().flatten() {
                held.push(slot);
            }
            assert_eq!(held.len() - before, expected, "{tenant}");
        }
        drop(held);
        assert!(slots.take(4).now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn a_tenant_may_have_a_share_of_its_own() {
        let slots = FairSlots::new(8, 0.8, LONG);
        let mut held = Vec::new();
        while let Some(slot) = slots.take_within(1, Some(0.25)).now_or_never().flatten() {
            held.push(slot);
        }
        assert_eq!(held.len(), 2, "a quarter");
        while let Some(slot) = slots.take(1).now_or_never().flatten() {
            held.push(slot);
        }
        assert_eq!(held.len(), 6, "the usual share again");
    }

    #[tokio::test]
    async fn a_waiter_that_has_gone_gets_no_slot() {
        let slots = FairSlots::new(1, 1.0, Duration::from_millis(20));
        let first = slots.take(1).await.unwrap();
        let mut gone = Box::pin(slots.take(2));
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        assert!(slots.take(3).await.is_none(), "it waited too long");
        assert_eq!(slots.0.state.lock().waiting.len(), 0);
        drop(first);
        assert!(slots.take(4).await.is_some());
        // A slot that was granted to a waiter that goes before it looks is passed on.
        let first = slots.take(1).await.unwrap();
        let mut granted = Box::pin(slots.take(2));
        assert!((&mut granted).now_or_never().is_none());
        drop(first);
        drop(granted);
        assert_eq!(slots.0.state.lock().in_use, 0);
    }
}
