//! The rates of sign-ins and of administrators.
//!
//! Sign-ins and wrong tokens are bounded for each client and in all. No account is ever locked: a lock would be a weapon
//! against its owner. A right token is not bounded by them.

use super::ApiError;
use super::peer::Client;
use crate::compute::RateLimiter;
use crate::domain::{AdministratorId, Clock, client_key};

/// Sign-ins and wrong credentials of one client address (IPv6: a /64) in a minute.
const PER_CLIENT: u32 = 10;

/// Sign-ins and wrong credentials of all clients in a minute.
const IN_ALL: u32 = 100;

/// Calls of one administrator per second, and how many of them may come at once.
const CALLS_PER_SECOND: f64 = 50.0;
const CALLS_BURST: u32 = 200;

/// The rates of sign-ins and of administrators.
#[derive(Debug)]
pub(super) struct SignInLimits {
    by_client: Option<RateLimiter<String>>,
    in_all: Option<RateLimiter<()>>,
    calls: Option<RateLimiter<AdministratorId>>,
}

impl Default for SignInLimits {
    fn default() -> Self {
        Self {
            by_client: RateLimiter::new(f64::from(PER_CLIENT) / 60.0, PER_CLIENT),
            in_all: RateLimiter::new(f64::from(IN_ALL) / 60.0, IN_ALL),
            calls: RateLimiter::new(CALLS_PER_SECOND, CALLS_BURST),
        }
    }
}

impl SignInLimits {
    /// Counts a sign-in, or a request with wrong credentials.
    ///
    /// # Errors
    /// [`ApiError::TooMany`].
    pub(super) fn check_attempt(&self, client: Option<Client>) -> Result<(), ApiError> {
        let client = client.map(|client| client_key(client.address)).unwrap_or_default();
        let now = Clock::system().instant();
        // The client first: one that is over its own rate takes nothing of the others'.
        let by_client = self.by_client.as_ref().map_or(Ok(()), |limit| limit.check(&client, now));
        let in_all = || self.in_all.as_ref().map_or(Ok(()), |limit| limit.check(&(), now));
        by_client.and_then(|()| in_all()).map_err(ApiError::TooMany)
    }

    /// Counts a call of an administrator.
    ///
    /// # Errors
    /// [`ApiError::TooMany`].
    pub(super) fn check_call(&self, administrator: &AdministratorId) -> Result<(), ApiError> {
        let passed = self.calls.as_ref().map_or(Ok(()), |limit| limit.check(administrator, Clock::system().instant()));
        passed.map_err(ApiError::TooMany)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Option<Client> {
        Some(Client { address: address.parse().unwrap(), is_forwarded: false })
    }

    #[test]
    fn attempts_are_bounded_for_a_client_and_in_all() {
        let limits = SignInLimits::default();
        let passed = |address: &str| (0..50).filter(|_| limits.check_attempt(client(address)).is_ok()).count();
        assert!((10..=11).contains(&passed("192.0.2.1")));
        assert!((10..=11).contains(&passed("2001:db8::1")));
        assert_eq!(passed("2001:db8::2"), 0, "the same /64");
        let others: usize = (2..40).map(|last| passed(&format!("192.0.2.{last}"))).sum();
        assert!((80..=85).contains(&others), "100 in all: {others}");
    }

    #[test]
    fn calls_are_bounded_for_each_administrator() {
        let limits = SignInLimits::default();
        let passed = |id: &str| (0..2000).filter(|_| limits.check_call(&id.parse().unwrap()).is_ok()).count();
        assert!((200..=300).contains(&passed("ada")));
        assert!((200..=300).contains(&passed("bo")), "each has its own");
    }
}
