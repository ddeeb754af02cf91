//! What is in use, by holder.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Amounts in use, and who holds them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Holders(Arc<Mutex<Amounts>>);

/// Amounts in use.
#[derive(Debug, Default)]
pub(super) struct Amounts {
    total: usize,
    /// Holders of nothing have no entry.
    by_holder: HashMap<String, usize>,
}

/// An amount that a holder has in use. Dropping it returns the amount.
#[derive(Debug)]
pub struct Ticket {
    holders: Holders,
    holder: String,
    amount: usize,
}

/// Why an amount is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Everything is in use, or the limiter is closed.
    Full,
    /// The holder has its share in use; others could be served.
    ShareUsed,
}

/// Whether a holder that has `after` while `free` is left has at most the share `share` of both together: some is always
/// left for one more. (Dynamic thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998.)
pub(super) fn leaves_room(share: f64, after: usize, free: usize) -> bool {
    after as f64 <= share * (after as f64 + free as f64)
}

impl Amounts {
    /// The amounts of all holders together.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// The amount of one holder.
    pub(super) fn of(&self, holder: &str) -> usize {
        self.by_holder.get(holder).copied().unwrap_or(0)
    }

    /// How many other holders there are.
    pub(super) fn others(&self, holder: &str) -> usize {
        self.by_holder.len() - usize::from(self.by_holder.contains_key(holder))
    }

    fn add(&mut self, holder: &str, amount: usize) {
        self.total += amount;
        match self.by_holder.get_mut(holder) {
            Some(held) => *held += amount,
            None => drop(self.by_holder.insert(holder.to_owned(), amount)),
        }
    }

    fn subtract(&mut self, holder: &str, amount: usize) {
        self.total = self.total.saturating_sub(amount);
        if let Some(held) = self.by_holder.get_mut(holder) {
            *held = held.saturating_sub(amount);
            if *held == 0 {
                self.by_holder.remove(holder);
            }
        }
    }
}

impl Holders {
    /// Reads the amounts.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Amounts) -> T) -> T {
        read(&self.0.lock())
    }

    /// Takes an amount if `allowed`.
    pub(super) fn take(
        &self,
        holder: &str,
        amount: usize,
        allowed: impl FnOnce(&Amounts) -> Result<(), Refusal>,
    ) -> Result<Ticket, Refusal> {
        let mut amounts = self.0.lock();
        allowed(&amounts)?;
        amounts.add(holder, amount);
        Ok(self.ticket(holder, amount))
    }

    /// Takes an amount without a condition.
    pub(super) fn enter(&self, holder: &str, amount: usize) -> Ticket {
        self.0.lock().add(holder, amount);
        self.ticket(holder, amount)
    }

    fn ticket(&self, holder: &str, amount: usize) -> Ticket {
        Ticket { holders: self.clone(), holder: holder.to_owned(), amount }
    }
}

impl Ticket {
    /// The amount.
    pub(super) fn amount(&self) -> usize {
        self.amount
    }

    /// Who holds it.
    pub(super) fn holder(&self) -> &str {
        &self.holder
    }

    /// Takes more for the same holder if `allowed`.
    pub(super) fn add(
        &mut self,
        more: usize,
        allowed: impl FnOnce(&Amounts) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut amounts = self.holders.0.lock();
        allowed(&amounts)?;
        amounts.add(&self.holder, more);
        self.amount += more;
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.holders.0.lock().subtract(&self.holder, self.amount);
    }
}
