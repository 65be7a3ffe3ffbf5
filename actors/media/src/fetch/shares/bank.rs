//! Who may have how many bytes of the budget. Pure.
//!
//! Two purses. From the *first* every body takes its first `base_bytes`: there is enough of it for all that can be on
//! their way, so that a small picture waits for no large file, however slowly that comes. From the *rest* it takes what it
//! has more, and there the banker's rule holds (Dijkstra, EWD 623): bytes are given only if afterwards, in some order, each
//! body that is on its way could still have all that it may come to want, taking what those before it gave back. So
//! half-read bodies never fill the budget with nobody able to finish. A body that is read to its end wants nothing more,
//! and gives its bytes back when it is decoded, which waits for no byte of anybody's.

use std::collections::{BTreeMap, HashMap};

/// A body's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Account(u64);

#[derive(Debug)]
pub(crate) struct Bank {
    first: Purse,
    rest: Purse,
    base_bytes: u64,
    next: u64,
    books: HashMap<Account, Book>,
    /// Who waits until it holds so much, by arrival.
    waiting: BTreeMap<u64, (Account, u64)>,
}

#[derive(Debug)]
struct Purse {
    bytes: u64,
    held: u64,
}

#[derive(Debug)]
struct Book {
    held: u64,
    /// It will never hold more.
    most: u64,
    /// Its place among those who wait.
    waits: Option<u64>,
}

impl Bank {
    /// With `budget` bytes for bodies of at most `cap`, of which `bodies` are on their way at most.
    pub(crate) fn new(budget: u64, cap: u64, bodies: u64) -> Self {
        // The rest must be enough for the largest body.
        let first = (budget / 4).min(budget.saturating_sub(cap));
        Self {
            first: Purse { bytes: first, held: 0 },
            rest: Purse { bytes: budget - first, held: 0 },
            base_bytes: first / bodies.max(1),
            next: 0,
            books: HashMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// An account of a body that will hold no more than `most`, which is no more than the largest body.
    pub(crate) fn open(&mut self, most: u64) -> Account {
        self.next += 1;
        let account = Account(self.next);
        self.books.insert(account, Book { held: 0, most, waits: None });
        account
    }

    /// It has become known that the body will hold no more than `most`. Says who is served by that.
    pub(crate) fn expect(&mut self, account: Account, most: u64) -> Vec<Account> {
        if let Some(book) = self.books.get_mut(&account) {
            book.most = most.min(book.most).max(book.held);
        }
        self.serve()
    }

    /// Has the body hold `bytes`, or wait until it may; true if it does.
    pub(crate) fn ask(&mut self, account: Account, bytes: u64) -> bool {
        let Some(book) = self.books.get(&account) else { return false };
        if bytes <= book.held {
            return true;
        }
        if self.may_hold(account, bytes) {
            self.hold(account, bytes);
            return true;
        }
        self.next += 1;
        self.waiting.insert(self.next, (account, bytes));
        if let Some(book) = self.books.get_mut(&account) {
            book.waits = Some(self.next);
        }
        false
    }

    /// Gives up waiting.
    pub(crate) fn withdraw(&mut self, account: Account) {
        if let Some(place) = self.books.get_mut(&account).and_then(|book| book.waits.take()) {
            self.waiting.remove(&place);
        }
    }

    /// The body has come to its end with so many bytes. Says who is served by that.
    pub(crate) fn finish(&mut self, account: Account, bytes: u64) -> Vec<Account> {
        let Some(held) = self.books.get(&account).map(|book| book.held) else { return Vec::new() };
        self.withdraw(account);
        let bytes = bytes.min(held);
        self.hold(account, bytes);
        if let Some(book) = self.books.get_mut(&account) {
            book.most = bytes;
        }
        self.serve()
    }

    /// All is given back. Says who is served by that.
    pub(crate) fn close(&mut self, account: Account) -> Vec<Account> {
        self.withdraw(account);
        self.hold(account, 0);
        self.books.remove(&account);
        self.serve()
    }

    /// Bytes that a body holds.
    pub(crate) fn held(&self, account: Account) -> u64 {
        self.books.get(&account).map_or(0, |book| book.held)
    }

    /// Bytes that all hold.
    pub(crate) fn total(&self) -> u64 {
        self.first.held + self.rest.held
    }

    fn serve(&mut self) -> Vec<Account> {
        let mut served = Vec::new();
        let mut after = 0;
        // By arrival; a small wish passes a large one that cannot be met. Each that is met only takes.
        while let Some((place, (account, bytes))) = self.waiting.range(after..).next().map(|(at, wish)| (*at, *wish)) {
            after = place + 1;
            if self.may_hold(account, bytes) {
                self.withdraw(account);
                self.hold(account, bytes);
                served.push(account);
            }
        }
        served
    }

    fn may_hold(&self, account: Account, bytes: u64) -> bool {
        let Some(book) = self.books.get(&account) else { return false };
        let (first, rest) = (self.of_first(bytes) - self.of_first(book.held), self.of_rest(bytes));
        let more = rest - self.of_rest(book.held);
        self.first.has(first) && (more == 0 || (self.rest.has(more) && self.is_safe(account, rest)))
    }

    /// Whether all could finish if the account held `its` of the rest.
    fn is_safe(&self, account: Account, its: u64) -> bool {
        let mut on_their_way: Vec<(u64, u64)> = self
            .books
            .iter()
            .map(|(other, book)| {
                let held = if *other == account { its } else { self.of_rest(book.held) };
                (self.of_rest(book.most).saturating_sub(held), held)
            })
            // Who holds none can wait for all the others; who wants none holds none back.
            .filter(|(wants, held)| *wants > 0 && *held > 0)
            .collect();
        // Whoever wants the least goes first: if he cannot, nobody can.
        on_their_way.sort_unstable();
        let mut left = self.rest.bytes.saturating_sub(on_their_way.iter().map(|(_, held)| held).sum());
        on_their_way.into_iter().all(|(wants, held)| {
            let can = wants <= left;
            left += held;
            can
        })
    }

    fn hold(&mut self, account: Account, bytes: u64) {
        let (first, rest) = (self.of_first(bytes), self.of_rest(bytes));
        let Some(book) = self.books.get(&account) else { return };
        let before = (self.of_first(book.held), self.of_rest(book.held));
        self.first.held = self.first.held - before.0 + first;
        self.rest.held = self.rest.held - before.1 + rest;
        if let Some(book) = self.books.get_mut(&account) {
            book.held = bytes;
        }
    }

    fn of_first(&self, bytes: u64) -> u64 {
        bytes.min(self.base_bytes)
    }

    fn of_rest(&self, bytes: u64) -> u64 {
        bytes.saturating_sub(self.base_bytes)
    }
}

impl Purse {
    fn has(&self, bytes: u64) -> bool {
        bytes <= self.bytes - self.held
    }
}

#[cfg(test)]
#[path = "bank_tests.rs"]
mod tests;
