use std::collections::{HashMap, VecDeque};

/// Which keys are being worked on, and what waits behind each. Pure.
///
/// A key that is being worked on never starts a second time; what comes meanwhile is started in order of arrival, one
/// after the other. It spans assignment epochs: a redelivery waits behind the first delivery of the same post.
#[derive(Debug)]
pub struct Parking<T> {
    active: HashMap<String, VecDeque<T>>,
}

impl<T> Default for Parking<T> {
    fn default() -> Self {
        Self { active: HashMap::new() }
    }
}

impl<T> Parking<T> {
    /// Gives the item back if it may start now; otherwise it waits.
    pub fn enter(&mut self, key: &str, item: T) -> Option<T> {
        match self.active.get_mut(key) {
            Some(waiting) => {
                waiting.push_back(item);
                None
            }
            None => {
                self.active.insert(key.to_owned(), VecDeque::new());
                Some(item)
            }
        }
    }

    /// Whether an item of this key would have to wait.
    pub fn is_active(&self, key: &str) -> bool {
        self.active.contains_key(key)
    }

    /// The key's item is done; gives the next one to start, if any waits.
    pub fn leave(&mut self, key: &str) -> Option<T> {
        let next = self.active.get_mut(key)?.pop_front();
        if next.is_none() {
            self.active.remove(key);
        }
        next
    }

    /// Keys being worked on.
    pub fn active_keys(&self) -> usize {
        self.active.len()
    }

    /// Items that wait.
    pub fn parked(&self) -> usize {
        self.active.values().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn items_of_one_key_run_one_at_a_time_and_in_order_of_arrival(
            steps in prop::collection::vec((0u8..4, any::<bool>()), 1..200),
        ) {
            let mut parking = Parking::default();
            let mut running: HashMap<u8, usize> = HashMap::new();
            let mut started: HashMap<u8, Vec<usize>> = HashMap::new();
            for (number, (key, arrives)) in steps.into_iter().enumerate() {
                let next = if arrives {
                    parking.enter(&key.to_string(), number)
                } else if running.remove(&key).is_some() {
                    parking.leave(&key.to_string())
                } else {
                    None
                };
                if let Some(item) = next {
                    prop_assert!(running.insert(key, item).is_none(), "two of one key at once");
                    started.entry(key).or_default().push(item);
                }
            }
            for order in started.values() {
                prop_assert!(order.is_sorted());
            }
            // Nothing is lost: when everything leaves, nothing is parked.
            for key in running.keys() {
                while parking.leave(&key.to_string()).is_some() {}
            }
            prop_assert_eq!((parking.active_keys(), parking.parked()), (0, 0));
        }
    }
}
