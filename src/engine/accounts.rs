//! All accounts, sorted by name, and the nearest of their deadlines.
//!
//! Like every deadline it is found by a scan. What the scan found is kept until somebody may have changed an account:
//! whoever borrows the accounts to write to them makes it forgotten, so there is nothing to keep in step.

use std::{
    cell::Cell,
    ops::{Deref, DerefMut},
};

use super::{
    account::{Account, AccountId},
    time::Time,
};

/// A deadline and what it is for.
type Deadline = (Time, &'static str);

/// The accounts of an engine.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    list: Vec<Account>,
    /// What the last scan found; `None` where an account may have changed since.
    nearest: Cell<Option<Option<Deadline>>>,
}

impl Accounts {
    /// The next deadline of an account or of a client that waits for one.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        if let Some(nearest) = self.nearest.get() {
            return nearest;
        }
        let waiters = self.list.iter().flat_map(|account| &account.waiters);
        let waiters = waiters.map(|waiter| (waiter.until, "end of a client's wait"));
        let nearest = self.list.iter().filter_map(Account::deadline).chain(waiters).min();
        self.nearest.set(Some(nearest));
        nearest
    }

    /// Where the account of that name is.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.list.binary_search_by(|account| account.name().cmp(name)).ok()
    }

    /// Where the account of that id is: mostly where it was first put.
    pub(super) fn index_of(&self, id: AccountId) -> Option<usize> {
        let is_it = |account: &Account| account.id == id;
        if self.list.get(id.place).is_some_and(is_it) { Some(id.place) } else { self.list.iter().position(is_it) }
    }
}

impl Deref for Accounts {
    type Target = Vec<Account>;

    fn deref(&self) -> &Vec<Account> {
        &self.list
    }
}

impl DerefMut for Accounts {
    fn deref_mut(&mut self) -> &mut Vec<Account> {
        self.nearest.set(None);
        &mut self.list
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::engine::{
        account::Renewal,
        tests::sim::{account, secs},
    };

    /// Accounts whose renewals are due at these seconds.
    fn accounts(due: &[u64]) -> Accounts {
        let mut accounts = Accounts::default();
        for (place, &at) in due.iter().enumerate() {
            let settings = Rc::new(account(&format!("account{place}")));
            let mut account = Account::new(AccountId { number: place as u64 + 7, place }, settings);
            account.enter_renewal(Renewal::Due(Time::new(secs(at))));
            accounts.push(account);
        }
        accounts
    }

    #[test]
    fn the_nearest_deadline_is_never_an_old_one() {
        let mut accounts = accounts(&[30, 10, 20]);
        let nearest = |accounts: &Accounts| accounts.deadline().map(|(at, _)| at.since_start().as_secs());
        assert_eq!(nearest(&accounts), Some(10));
        accounts[1].enter_renewal(Renewal::Unable);
        assert_eq!(nearest(&accounts), Some(20));
        accounts[0].enter_renewal(Renewal::Due(Time::new(secs(5))));
        assert_eq!(nearest(&accounts), Some(5));
        accounts.remove(0);
        assert_eq!(nearest(&accounts), Some(20));
        accounts.clear();
        assert_eq!(nearest(&accounts), None);
    }

    #[test]
    fn an_account_is_found_by_its_id_wherever_it_has_moved() {
        let mut accounts = accounts(&[1, 2, 3]);
        let ids: Vec<AccountId> = accounts.iter().map(|account| account.id).collect();
        assert_eq!(ids.iter().map(|id| accounts.index_of(*id)).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
        accounts.remove(0);
        assert_eq!(ids.iter().map(|id| accounts.index_of(*id)).collect::<Vec<_>>(), [None, Some(0), Some(1)]);
    }
}
