//! Who may be connected to the admin server at once. Pure.

use std::collections::VecDeque;
use std::net::IpAddr;

/// Connections in the order in which they came. A newcomer always gets in: in place of the oldest of its own peer where that
/// has its share, and else of the oldest of all. A probe is answered in milliseconds, so it is never the oldest, and
/// whoever holds connections open holds them against itself.
#[derive(Debug)]
pub(crate) struct Seats<T> {
    most: usize,
    most_of_one: usize,
    taken: VecDeque<Seat<T>>,
    next: u64,
}

#[derive(Debug)]
struct Seat<T> {
    number: u64,
    peer: IpAddr,
    occupant: T,
}

impl<T> Seats<T> {
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, taken: VecDeque::new(), next: 0 }
    }

    /// The number that the next one to sit down gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// Takes a seat; gives who had to leave.
    pub(crate) fn sit(&mut self, peer: IpAddr, occupant: T) -> Option<T> {
        let of_peer = self.taken.iter().filter(|seat| seat.peer == peer).count();
        let leaving = if of_peer >= self.most_of_one {
            self.taken.iter().position(|seat| seat.peer == peer)
        } else {
            (self.taken.len() >= self.most).then_some(0)
        };
        let left = leaving.and_then(|at| self.taken.remove(at)).map(|seat| seat.occupant);
        self.taken.push_back(Seat { number: self.next, peer, occupant });
        self.next += 1;
        left
    }

    /// Gives a seat back; one that was lost already is no fault.
    pub(crate) fn leave(&mut self, number: u64) {
        self.taken.retain(|seat| seat.number != number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn a_peer_that_holds_its_share_loses_its_own_oldest_and_nobody_elses() {
        let mut seats = Seats::new(4, 2);
        assert_eq!(seats.sit(peer(1), "probe"), None);
        assert_eq!(seats.sit(peer(2), "a"), None);
        assert_eq!(seats.sit(peer(2), "b"), None);
        assert_eq!(seats.sit(peer(2), "c"), Some("a"));
        assert_eq!(seats.sit(peer(3), "x"), None);
        assert_eq!(seats.sit(peer(4), "y"), Some("probe"), "all taken: the oldest");
        seats.leave(0);
        seats.leave(2);
        assert_eq!(seats.sit(peer(5), "z"), None);
    }

    proptest! {
        #[test]
        fn no_more_than_allowed_sit_and_a_newcomer_always_does(
            comings in prop::collection::vec((0u8..6, any::<bool>()), 0..200), most in 1usize..8, share in 1usize..8,
        ) {
            let mut seats = Seats::new(most, share);
            for (last, leaves) in comings {
                let number = seats.next_number();
                seats.sit(peer(last), number);
                prop_assert!(seats.taken.iter().any(|seat| seat.number == number));
                prop_assert!(seats.taken.len() <= most);
                for other in 0..6 {
                    prop_assert!(seats.taken.iter().filter(|seat| seat.peer == peer(other)).count() <= share);
                }
                if leaves {
                    seats.leave(number);
                    prop_assert!(seats.taken.iter().all(|seat| seat.number != number));
                }
            }
        }
    }
}
