//! A bounded resource (memory, connections) that holders share. While at most half of it is taken, any holder may take
//! more; beyond that, one holder has at most an eighth of the whole, so that no holder keeps all others out. A request
//! for more is granted or refused at once.

use crate::actors::frontend::Holder;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Divisors of the whole: the half that any holder may take from, and the eighth that one holder may have beyond it.
const FREE_FOR_ALL: usize = 2;
const OF_ONE: usize = 8;
/// The error of a holder whose share is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the share of this address or account is used up")]
pub struct NoMore;

#[derive(Debug)]
pub struct Shares {
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    amount: usize,
    by: HashMap<Holder, usize>,
}

impl Shares {
    pub fn new(max: usize) -> Self {
        Self { max, taken: Mutex::default() }
    }

    #[cfg(test)]
    pub fn taken(&self) -> usize {
        locked(&self.taken).amount
    }

    /// Takes an amount once from the whole, and counts it in full for each of these holders.
    pub fn take(&self, holders: &[Holder], amount: usize) -> Result<(), NoMore> {
        let mut taken = locked(&self.taken);
        let total = taken.amount.saturating_add(amount);
        let of_one_max = (self.max / OF_ONE).max(1);
        let within = |holder: &Holder| taken.by.get(holder).copied().unwrap_or_default() + amount <= of_one_max;
        if total > self.max || (total > self.max / FREE_FOR_ALL && !holders.iter().all(within)) {
            return Err(NoMore);
        }
        taken.amount = total;
        holders.iter().for_each(|holder| taken.add(holder, amount));
        Ok(())
    }

    /// Counts an amount that was already taken for another holder, too.
    pub fn count_for(&self, holder: &Holder, amount: usize) {
        locked(&self.taken).add(holder, amount);
    }

    pub fn give_back(&self, holders: &[Holder], amount: usize) {
        let mut taken = locked(&self.taken);
        taken.amount -= amount;
        for holder in holders {
            if let Some(held) = taken.by.get_mut(holder) {
                *held -= amount;
                if *held == 0 {
                    taken.by.remove(holder);
                }
            }
        }
    }
}

impl Taken {
    fn add(&mut self, holder: &Holder, amount: usize) {
        if amount > 0 {
            *self.by.entry(holder.clone()).or_default() += amount;
        }
    }
}

/// Locks a mutex, also if a thread panicked while it held the lock. The state is consistent even then, as only numbers
/// change.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{NoMore, Shares};
    use crate::actors::frontend::Holder;

    fn at(address: &str) -> [Holder; 1] {
        [Holder::at(address.parse().expect("an address"))]
    }

    fn taken(shares: &Shares, holders: &[Holder]) -> usize {
        (0..100).map_while(|_| shares.take(holders, 10).ok()).count() * 10
    }

    #[test]
    fn beyond_half_one_holder_gets_at_most_an_eighth_of_the_whole() {
        let shares = Shares::new(800);
        assert_eq!(taken(&shares, &at("10.0.0.1")), 400);
        for number in 2..6 {
            assert_eq!(taken(&shares, &at(&format!("10.0.0.{number}"))), 100);
        }
        assert_eq!(shares.take(&at("10.0.0.6"), 1), Err(NoMore), "all of it is taken");
        shares.give_back(&at("10.0.0.1"), 400);
        assert_eq!(shares.taken(), 400);
        assert_eq!(shares.take(&at("10.0.0.6"), 100), Ok(()));
    }

    #[test]
    fn an_account_has_one_share_for_all_its_addresses() {
        let shares = Shares::new(800);
        let of = |account: &str, number: usize| {
            let [address] = at(&format!("10.0.0.{number}"));
            [address, Holder::Account(account.into())]
        };
        assert_eq!((1..100).filter(|number| shares.take(&of("a", *number), 10).is_ok()).count(), 40);
        assert_eq!(shares.take(&of("b", 1), 50), Ok(()));
    }

    #[test]
    fn ipv6_addresses_of_one_64_bit_prefix_are_one_holder() {
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_ne!(at("::ffff:10.0.0.1"), at("::ffff:10.0.0.2"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
    }

    #[test]
    fn a_holder_that_has_given_everything_back_is_removed() {
        let shares = Shares::new(800);
        shares.take(&at("10.0.0.1"), 10).expect("there is room");
        shares.count_for(&Holder::Account("a".into()), 10);
        shares.give_back(&[at("10.0.0.1")[0].clone(), Holder::Account("a".into())], 10);
        assert!(super::locked(&shares.taken).by.is_empty());
    }

    #[test]
    fn in_a_small_whole_each_holder_may_have_one_beyond_half() {
        let shares = Shares::new(4);
        let took: Vec<bool> =
            [1, 1, 1, 2, 3, 4].into_iter().map(|last| shares.take(&at(&format!("10.0.0.{last}")), 1).is_ok()).collect();
        assert_eq!(took, [true, true, false, true, true, false]);
    }
}
