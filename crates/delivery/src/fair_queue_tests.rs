use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

type Queue = FairQueue<u8>;

fn place(shares: &[u8]) -> Demand<u8> {
    Demand::place_of(shares.to_vec())
}

/// Takes or waits at an unimportant moment.
fn ask(queue: &mut Queue, demand: Demand<u8>) -> (Ticket, bool) {
    queue.ask(demand, Instant::now())
}

#[derive(Debug, Clone)]
enum Step {
    Ask { places: usize, shares: Vec<u8>, limited: Option<u8> },
    Leave(usize),
    Split(usize),
    Charge(u8, f64),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let groups =
        prop::collection::vec(0..6u8, 0..3).prop_map(|groups| BTreeSet::from_iter(groups).into_iter().collect());
    let step = prop_oneof![
        6 => (0..2usize, groups, prop::option::of(5..8u8))
            .prop_map(|(places, shares, limited)| Step::Ask { places, shares, limited }),
        5 => any::<usize>().prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::Split),
        1 => (0..6u8, 0.0..5.0f64).prop_map(|(group, amount)| Step::Charge(group, amount)),
        1 => (0..30_000u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..200)
}

const CAPACITY: usize = 4;
const LIMIT: usize = 2;
const MOST: usize = 3;

/// What the world knows of the queue without asking it.
#[derive(Debug, Default)]
struct World {
    waiting: Vec<(Ticket, Demand<u8>)>,
    granted: Vec<(Ticket, Demand<u8>)>,
}

impl World {
    fn take(&mut self, served: Vec<Ticket>) -> Result<(), TestCaseError> {
        for ticket in served {
            let at = self.waiting.iter().position(|one| one.0 == ticket);
            prop_assert!(at.is_some(), "served twice, or without having asked: {:?}", ticket);
            let one = self.waiting.remove(at.unwrap_or_default());
            self.granted.push(one);
        }
        Ok(())
    }

    fn held(&self, group: u8) -> usize {
        let names =
            |demand: &Demand<u8>| demand.shares.contains(&group) || demand.limits.iter().any(|limit| limit.0 == group);
        self.granted.iter().filter(|one| names(&one.1)).count()
    }

    /// The same of those that are limited by it, who came when it was within the limit.
    fn held_limited(&self, group: u8) -> usize {
        let is_limited = |demand: &Demand<u8>| demand.limits.iter().any(|limit| limit.0 == group);
        self.granted.iter().filter(|one| is_limited(&one.1)).count()
    }

    fn used(&self) -> usize {
        self.granted.iter().map(|one| one.1.places).sum()
    }

    /// Whether somebody is here on whose account `group` does not stand.
    fn has_others(&self, group: u8) -> bool {
        let mut all = self.waiting.iter().chain(&self.granted);
        all.any(|one| !one.1.shares.is_empty() && !one.1.shares.contains(&group))
    }

    fn could_be_served(&self, demand: &Demand<u8>) -> bool {
        self.used() + demand.places <= CAPACITY
            && demand.limits.iter().all(|(group, most)| self.held(*group) < *most)
            && demand.shares.iter().all(|group| self.held(*group) < MOST || !self.has_others(*group))
    }
}

proptest! {
    #[test]
    fn bounds_hold_and_nobody_waits_for_what_is_there(steps in steps(), remembers in any::<bool>()) {
        let mut queue = Queue::new(CAPACITY).keeping_room(MOST);
        if remembers {
            queue = queue.remembering(Duration::from_secs(10));
        }
        let mut world = World::default();
        let mut now = Instant::now();
        for step in steps {
            match step {
                Step::Ask { places, shares, limited } => {
                    let limits = limited.map(|group| (group, LIMIT)).into_iter().collect();
                    let demand = Demand { places, shares, limits };
                    let (ticket, taken) = queue.ask(demand.clone(), now);
                    world.waiting.push((ticket, demand));
                    world.take(if taken { vec![ticket] } else { Vec::new() })?;
                }
                Step::Leave(which) => {
                    let all = world.waiting.len() + world.granted.len();
                    if let Some(which) = which.checked_rem(all) {
                        let ticket = match which.checked_sub(world.waiting.len()) {
                            None => world.waiting.remove(which).0,
                            Some(which) => world.granted.remove(which).0,
                        };
                        world.take(queue.leave(ticket, now))?;
                        prop_assert!(queue.leave(ticket, now).is_empty(), "leaving twice changes nothing");
                    }
                }
                Step::Split(which) => {
                    if let Some(which) = which.checked_rem(world.granted.len()) {
                        let (ticket, demand) = world.granted[which].clone();
                        let split = queue.split(ticket);
                        prop_assert!(split.is_some());
                        let places = Demand { shares: Vec::new(), limits: Vec::new(), ..demand.clone() };
                        world.granted[which] = (ticket, places);
                        world.granted.extend(split.map(|split| (split, Demand { places: 0, ..demand })));
                    }
                }
                Step::Charge(group, amount) => queue.charge(&group, amount, now),
                Step::Pass(millis) => now += Duration::from_millis(millis),
            }
            prop_assert_eq!(queue.used(), world.used());
            prop_assert!(world.used() <= CAPACITY);
            prop_assert!((5..8).all(|group| world.held_limited(group) <= LIMIT));
            prop_assert_eq!(queue.waiting(), world.waiting.len());
            for (_, demand) in &world.waiting {
                prop_assert!(!world.could_be_served(demand), "{:?} waits for what is there", demand);
            }
        }
        // Everybody leaves: nothing is left over, and nothing is lost.
        while let Some((ticket, _)) = world.granted.pop() {
            world.take(queue.leave(ticket, now))?;
        }
        prop_assert!(world.waiting.is_empty(), "lost: {:?}", world.waiting);
        prop_assert!(remembers || queue.numbers.is_empty(), "groups outlive those who name them");
        prop_assert_eq!((queue.used(), queue.sharing), (0, 0));
    }

    #[test]
    fn who_holds_nothing_is_passed_over_by_nobody_who_comes_later(
        before in prop::collection::vec(0..20u8, 0..40),
        after in prop::collection::vec(0..200u8, 0..100),
    ) {
        let mut queue = Queue::new(CAPACITY);
        let mut held: Vec<Ticket> = (0..CAPACITY).map(|_| ask(&mut queue, place(&[255])).0).collect();
        for group in &before {
            ask(&mut queue, place(&[*group]));
        }
        let (mine, _) = ask(&mut queue, place(&[254]));
        let mut releases = 0;
        let mut later = after.into_iter().cycle();
        // However many come while it waits: one for each place that comes free.
        while !held.contains(&mine) {
            prop_assert!(releases <= before.len(), "passed over");
            if let Some(group) = later.next() {
                ask(&mut queue, place(&[group]));
            }
            let ticket = held.remove(0);
            held.extend(queue.leave(ticket, Instant::now()));
            releases += 1;
        }
    }
}

#[test]
fn a_free_place_goes_to_the_group_that_holds_the_fewest_and_among_those_to_the_first() {
    let mut queue = Queue::new(4);
    let held: Vec<Ticket> = [1, 1, 1, 2].map(|group| ask(&mut queue, place(&[group])).0).into();
    let first_of_1 = ask(&mut queue, place(&[1])).0;
    let [first_of_2, first_of_3, second_of_3] = [2, 3, 3].map(|group| ask(&mut queue, place(&[group])).0);
    assert_eq!(queue.leave(held[3], Instant::now()), [first_of_2], "2 and 3 hold nothing, and 2 came first");
    assert_eq!(queue.leave(held[0], Instant::now()), [first_of_3], "it has none");
    assert_eq!(queue.leave(held[1], Instant::now()), [first_of_1], "1 and 3 hold one each, and that of 1 came first");
    assert_eq!(queue.leave(held[2], Instant::now()), [second_of_3]);
}

#[test]
fn a_group_that_is_alone_has_everything_and_keeps_room_only_for_others() {
    let mut queue = Queue::new(4).keeping_room(3);
    let mut alone: Vec<(Ticket, bool)> = (0..5).map(|_| ask(&mut queue, place(&[1]))).collect();
    assert_eq!(alone.iter().filter(|one| one.1).count(), 4, "alone, it has every place");
    let (other, _) = ask(&mut queue, place(&[2]));
    assert_eq!(queue.leave(alone.remove(0).0, Instant::now()), [other]);
    assert!(queue.leave(other, Instant::now()).contains(&alone[3].0), "alone again");
    // While another is here the last place is kept for whoever else comes.
    let mut shared = Queue::new(4).keeping_room(3);
    assert!(ask(&mut shared, place(&[2])).1);
    let many: Vec<(Ticket, bool)> = (0..4).map(|_| ask(&mut shared, place(&[1]))).collect();
    assert_eq!(many.iter().filter(|one| one.1).count(), 3);
}

#[test]
fn whoever_names_many_groups_is_as_well_off_as_the_worst_off_of_them() {
    let mut queue = Queue::new(3);
    // Three sites of one address, 100.
    let held: Vec<Ticket> = [1, 2, 3].map(|site| ask(&mut queue, place(&[site, 100])).0).into();
    let [fourth, honest] = [place(&[4, 100]), place(&[50, 51])].map(|demand| ask(&mut queue, demand).0);
    assert_eq!(queue.leave(held[0], Instant::now()), [honest]);
    assert_eq!(queue.leave(honest, Instant::now()), [fourth]);
}

#[test]
fn a_group_that_has_used_much_lately_waits_behind_one_that_has_not_until_it_is_forgotten() {
    let now = Instant::now();
    let mut queue = Queue::new(1).remembering(Duration::from_secs(10));
    queue.charge(&1, 2.0, now);
    let (busy, _) = queue.ask(place(&[9]), now);
    let [heavy, light] = [1, 2].map(|group| queue.ask(place(&[group]), now).0);
    assert_eq!(queue.leave(busy, now), [light], "though the heavy one came first");
    assert_eq!(queue.leave(light, now), [heavy]);
    assert!(queue.leave(heavy, now + Duration::from_secs(300)).is_empty());
    assert!(queue.numbers.is_empty(), "after thirty half-lives nothing is left of it");
}

#[test]
fn groups_that_are_remembered_are_bounded_and_the_largest_stay() {
    let now = Instant::now();
    let mut queue = FairQueue::<u32>::new(1).remembering(Duration::from_secs(10));
    queue.charge(&u32::MAX, 100.0, now);
    for group in 0..10 * MAX_REMEMBERED as u32 {
        queue.charge(&group, 0.5, now);
    }
    assert!(queue.numbers.len() <= MAX_REMEMBERED + 1, "{}", queue.numbers.len());
    assert!(queue.numbers.contains_key(&u32::MAX));
}

#[test]
fn a_place_can_be_kept_when_its_groups_are_given_back() {
    let mut queue = Queue::new(2);
    let limited = || Demand { places: 1, shares: vec![1], limits: vec![(10, 1)] };
    let (first, _) = ask(&mut queue, limited());
    let (second, taken) = ask(&mut queue, limited());
    assert!(!taken);
    let groups = queue.split(first).unwrap();
    assert_eq!(queue.leave(groups, Instant::now()), [second]);
    assert_eq!(queue.used(), 2);
    assert!(queue.split(second).is_some() && queue.split(Ticket(0)).is_none());
}
