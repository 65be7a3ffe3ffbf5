use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Groups that are remembered although nobody of them is here; strangers choose their names.
const MAX_REMEMBERED: usize = 1_024;
/// Use that has decayed to this is forgotten.
const LEAST_USE: f64 = 1e-3;

/// What somebody who comes wants, and on whose account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand<G> {
    /// Of the queue's places: 1; or 0 where only `limits` are to be passed.
    pub places: usize,
    /// Who pays. Whoever waits is as well off as the worst off of these: a site with a name for every request is one
    /// group, and so is an address with a site for each.
    pub shares: Vec<G>,
    /// Groups that hold no more than so many at any time, whoever else is there.
    pub limits: Vec<(G, usize)>,
}

impl<G> Demand<G> {
    /// One place, paid for by `shares`.
    pub fn place_of(shares: Vec<G>) -> Self {
        Self { places: 1, shares, limits: Vec::new() }
    }
}

/// Who was given something or waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Places that are shared out among groups. Pure.
///
/// A place that comes free goes to whoever waits and whose groups hold the fewest, and among those to who came first. So
/// shares bind only while others wait; nobody waits while what he wants is there. Whoever waits and whose groups hold
/// nothing is passed over by nobody who came later.
///
/// What is remembered are those who are here and the groups they name. An operation looks once at each who waits.
///
/// Our own (ADR 24): a semaphore of tokio's serves whoever came first, so one group that asks often keeps the others out.
#[derive(Debug)]
pub struct FairQueue<G> {
    capacity: usize,
    most_of_one: usize,
    half_life: Option<Duration>,
    used: usize,
    next: u64,
    numbers: HashMap<G, usize>,
    groups: Vec<Group<G>>,
    vacant: Vec<usize>,
    waiting: BTreeMap<Ticket, Entry>,
    granted: HashMap<Ticket, Entry>,
    /// Of the entries, those with shares.
    sharing: usize,
}

#[derive(Debug)]
struct Group<G> {
    name: Option<G>,
    /// Grants that name it.
    held: usize,
    /// Entries that name it, waiting or granted.
    here: usize,
    /// Of these, those that share on its account.
    sharing: usize,
    /// What it has used lately, as of `charged_at`.
    lately: f64,
    charged_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Entry {
    places: usize,
    shares: Vec<usize>,
    limits: Vec<(usize, usize)>,
}

impl Entry {
    fn groups(&self) -> impl Iterator<Item = usize> {
        let limited = self.limits.iter().map(|limit| limit.0).filter(|group| !self.shares.contains(group));
        self.shares.iter().copied().chain(limited)
    }
}

impl<G: Clone + Eq + Hash> FairQueue<G> {
    /// With so many places.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            most_of_one: usize::MAX,
            half_life: None,
            used: 0,
            next: 0,
            numbers: HashMap::new(),
            groups: Vec::new(),
            vacant: Vec::new(),
            waiting: BTreeMap::new(),
            granted: HashMap::new(),
            sharing: 0,
        }
    }

    /// A group that holds `most` gets nothing more while anybody of another group is here. The rest stays free for who
    /// comes next: what is held for seconds cannot be taken back.
    pub fn keeping_room(mut self, most: usize) -> Self {
        self.most_of_one = most.max(1);
        self
    }

    /// What a group was charged counts like so many places that it holds, and half of that after each `half_life`.
    pub fn remembering(mut self, half_life: Duration) -> Self {
        self.half_life = Some(half_life);
        self
    }

    /// Takes what is wanted, or waits for it; true if it was taken.
    pub fn ask(&mut self, demand: Demand<G>, now: Instant) -> (Ticket, bool) {
        let ticket = self.ticket();
        let entry = Entry {
            places: demand.places,
            shares: demand.shares.into_iter().map(|name| self.number(name)).collect(),
            limits: demand.limits.into_iter().map(|(name, most)| (self.number(name), most)).collect(),
        };
        for group in entry.groups() {
            self.groups[group].here += 1;
        }
        for group in &entry.shares {
            self.groups[*group].sharing += 1;
        }
        self.sharing += usize::from(!entry.shares.is_empty());
        self.waiting.insert(ticket, entry);
        // Of those who waited before nobody could be served, or he would have been.
        let served = self.serve(now);
        debug_assert!(served.iter().all(|one| *one == ticket), "nobody waits for what is there");
        (ticket, !served.is_empty())
    }

    /// Gives back what the ticket holds, or its place in the queue. Says who is served by that.
    pub fn leave(&mut self, ticket: Ticket, now: Instant) -> Vec<Ticket> {
        let entry = match self.granted.remove(&ticket) {
            Some(entry) => {
                self.used -= entry.places;
                for group in entry.groups() {
                    self.groups[group].held -= 1;
                }
                entry
            }
            None => match self.waiting.remove(&ticket) {
                Some(entry) => entry,
                None => return Vec::new(),
            },
        };
        for group in &entry.shares {
            self.groups[*group].sharing -= 1;
        }
        self.sharing -= usize::from(!entry.shares.is_empty());
        for group in entry.groups() {
            self.groups[group].here -= 1;
            self.forget_if_idle(group, now);
        }
        self.serve(now)
    }

    /// Moves what a grant holds of groups to a ticket of its own, so that its place can be kept for longer. None where
    /// nothing was granted.
    pub fn split(&mut self, ticket: Ticket) -> Option<Ticket> {
        let entry = self.granted.get_mut(&ticket)?;
        let (shares, limits) = (std::mem::take(&mut entry.shares), std::mem::take(&mut entry.limits));
        let groups = Entry { places: 0, shares, limits };
        let split = self.ticket();
        self.granted.insert(split, groups);
        Some(split)
    }

    /// Remembers that a group has used something.
    pub fn charge(&mut self, name: &G, amount: f64, now: Instant) {
        if self.half_life.is_none() {
            return;
        }
        let number = self.number(name.clone());
        let lately = self.lately(number, now) + amount;
        let group = &mut self.groups[number];
        (group.lately, group.charged_at) = (lately, Some(now));
        if self.groups[number].here == 0 && self.numbers.len() > MAX_REMEMBERED {
            self.forget_the_lesser_half(now);
        }
    }

    /// Has so many places from now on. Where more are taken, nobody is served until enough came back. Says who is served by that.
    pub fn resize(&mut self, capacity: usize, now: Instant) -> Vec<Ticket> {
        self.capacity = capacity;
        self.serve(now)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Places that are taken.
    pub fn used(&self) -> usize {
        self.used
    }

    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    /// Serves who can be served, the least well off first.
    fn serve(&mut self, now: Instant) -> Vec<Ticket> {
        let mut served = Vec::new();
        while let Some(ticket) = self.next_to_serve(now) {
            let Some(entry) = self.waiting.remove(&ticket) else { break };
            self.used += entry.places;
            for group in entry.groups() {
                self.groups[group].held += 1;
            }
            self.granted.insert(ticket, entry);
            served.push(ticket);
        }
        served
    }

    fn next_to_serve(&self, now: Instant) -> Option<Ticket> {
        let mut best: Option<(Ticket, f64)> = None;
        // In order of arrival, so that of equals the first is kept.
        for (ticket, entry) in self.waiting.iter().filter(|(_, entry)| self.is_there(entry)) {
            let held = self.held_by_worst(entry, now);
            if best.is_none_or(|(_, least)| held < least) {
                best = Some((*ticket, held));
            }
            if held == 0.0 {
                break;
            }
        }
        best.map(|(ticket, _)| ticket)
    }

    /// Whether what is wanted is there.
    fn is_there(&self, entry: &Entry) -> bool {
        let may_take = |group: &Group<G>| group.held < self.most_of_one || group.sharing == self.sharing;
        self.used + entry.places <= self.capacity
            && entry.limits.iter().all(|(group, most)| self.groups[*group].held < *most)
            && entry.shares.iter().all(|group| may_take(&self.groups[*group]))
    }

    fn held_by_worst(&self, entry: &Entry, now: Instant) -> f64 {
        let held = |group: &usize| self.groups[*group].held as f64 + self.lately(*group, now);
        entry.shares.iter().map(held).fold(0.0, f64::max)
    }

    /// What is left of a group's use.
    fn lately(&self, group: usize, now: Instant) -> f64 {
        let (Some(half_life), Some(at)) = (self.half_life, self.groups[group].charged_at) else { return 0.0 };
        let half_lives = now.saturating_duration_since(at).as_secs_f64() / half_life.as_secs_f64();
        let left = self.groups[group].lately * (-half_lives).exp2();
        if left < LEAST_USE { 0.0 } else { left }
    }

    fn number(&mut self, name: G) -> usize {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let group = Group { name: Some(name.clone()), held: 0, here: 0, sharing: 0, lately: 0.0, charged_at: None };
        let number = match self.vacant.pop() {
            Some(number) => {
                self.groups[number] = group;
                number
            }
            None => {
                self.groups.push(group);
                self.groups.len() - 1
            }
        };
        self.numbers.insert(name, number);
        number
    }

    fn forget_if_idle(&mut self, number: usize, now: Instant) {
        if self.groups[number].here == 0 && self.lately(number, now) == 0.0 {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: usize) {
        if let Some(name) = self.groups[number].name.take() {
            self.numbers.remove(&name);
            self.vacant.push(number);
        }
    }

    fn forget_the_lesser_half(&mut self, now: Instant) {
        let idle = self.numbers.values().filter(|number| self.groups[**number].here == 0);
        let mut idle: Vec<(f64, usize)> = idle.map(|number| (self.lately(*number, now), *number)).collect();
        idle.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        idle.truncate(idle.len().div_ceil(2));
        for (_, number) in idle {
            self.forget(number);
        }
    }
}

#[cfg(test)]
#[path = "fair_queue_tests.rs"]
mod tests;
