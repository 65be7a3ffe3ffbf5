use proptest::prelude::*;

use super::*;

const PARAMS: CircuitParams = CircuitParams {
    failures: 3,
    slots: 2,
    stall: Duration::from_secs(2),
    rest: Duration::from_secs(5),
    max_rest: Duration::from_secs(60),
};
const FAILED: Answer = Answer::Failed(AbsentReason::FetchFailed);

struct Clocked {
    circuits: Circuits,
    now: Instant,
}

impl Clocked {
    fn new() -> Self {
        Self { circuits: Circuits::new(PARAMS), now: Instant::now() }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn begin(&mut self, host: &str) -> Result<bool, AbsentReason> {
        self.circuits.begin(host, self.now, 1.0)
    }

    fn end(&mut self, host: &str, was_probe: bool, answer: Answer) {
        self.circuits.end(host, was_probe, answer, self.now, 1.0);
    }

    fn fail(&mut self, host: &str, times: u32) {
        for _ in 0..times {
            let was_probe = self.begin(host).unwrap();
            self.end(host, was_probe, FAILED);
        }
    }
}

#[test]
fn failures_in_a_row_open_the_circuit_of_that_host_alone() {
    let mut hosts = Clocked::new();
    hosts.fail("dead:80", 2);
    assert_eq!(hosts.begin("dead:80"), Ok(false));
    hosts.end("dead:80", false, Answer::Alive);
    hosts.fail("dead:80", 3);
    assert_eq!(hosts.begin("dead:80"), Err(AbsentReason::FetchFailed), "an answer in between starts the count anew");
    assert_eq!(hosts.begin("other:80"), Ok(false));
    assert_eq!(hosts.circuits.open_hosts(), 1);
}

#[test]
fn after_the_rest_one_probe_goes_and_the_others_stay_out() {
    let mut hosts = Clocked::new();
    hosts.fail("h:80", 3);
    hosts.wait(5);
    assert_eq!(hosts.begin("h:80"), Ok(true));
    assert_eq!(hosts.begin("h:80"), Err(AbsentReason::FetchFailed));
    hosts.end("h:80", true, Answer::Alive);
    assert_eq!((hosts.begin("h:80"), hosts.begin("h:80")), (Ok(false), Ok(false)));
    assert_eq!(hosts.circuits.open_hosts(), 0);
}

#[test]
fn each_failed_probe_doubles_the_rest_up_to_its_bound() {
    let mut hosts = Clocked::new();
    hosts.fail("h:80", 3);
    for rest in [5, 10, 20, 40, 60, 60] {
        hosts.wait(rest - 1);
        assert!(hosts.begin("h:80").is_err(), "{rest}");
        hosts.wait(1);
        hosts.fail("h:80", 1);
    }
}

#[test]
fn a_probe_that_nobody_waits_for_leaves_the_place_to_the_next() {
    let mut hosts = Clocked::new();
    hosts.fail("h:80", 3);
    hosts.wait(5);
    assert_eq!(hosts.begin("h:80"), Ok(true));
    hosts.end("h:80", true, Answer::Unknown);
    assert_eq!(hosts.begin("h:80"), Ok(true));
}

#[test]
fn a_host_with_all_slots_busy_and_no_sign_of_life_is_not_waited_for() {
    let mut hosts = Clocked::new();
    assert_eq!((hosts.begin("h:80"), hosts.begin("h:80")), (Ok(false), Ok(false)));
    hosts.wait(1);
    hosts.circuits.sign_of_life("h:80", hosts.now);
    hosts.wait(1);
    assert_eq!(hosts.circuits.check("h:80", hosts.now, 1.0), Ok(()), "it spoke a second ago");
    hosts.wait(1);
    assert_eq!(hosts.circuits.check("h:80", hosts.now, 1.0), Err(AbsentReason::Timeout));
    // It was only slow: the answer closes the circuit.
    hosts.end("h:80", false, Answer::Alive);
    assert_eq!(hosts.begin("h:80"), Ok(false));
}

#[test]
fn a_host_with_a_free_slot_is_never_stalled() {
    let mut hosts = Clocked::new();
    assert_eq!(hosts.begin("h:80"), Ok(false));
    hosts.wait(100);
    assert_eq!(hosts.begin("h:80"), Ok(false));
}

#[test]
fn zero_failures_switch_it_off() {
    let now = Instant::now();
    let mut circuits = Circuits::new(CircuitParams { failures: 0, ..PARAMS });
    for _ in 0..100 {
        assert_eq!(circuits.begin("h:80", now, 1.0), Ok(false));
        circuits.end("h:80", false, FAILED, now, 1.0);
    }
    assert_eq!((circuits.begin("h:80", now, 1.0), circuits.begin("h:80", now, 1.0)), (Ok(false), Ok(false)));
    assert_eq!(circuits.check("h:80", now + Duration::from_secs(100), 1.0), Ok(()));
}

#[test]
fn names_without_end_take_bounded_memory_and_a_host_in_use_is_kept() {
    let mut hosts = Clocked::new();
    assert_eq!(hosts.begin("busy:80"), Ok(false));
    for index in 0..3 * MAX_HOSTS {
        hosts.now += Duration::from_millis(1);
        hosts.fail(&format!("h{index}:80"), 1);
    }
    assert!(hosts.circuits.hosts.len() <= MAX_HOSTS, "{}", hosts.circuits.hosts.len());
    assert!(hosts.circuits.hosts.contains_key("busy:80"));
    let newest = format!("h{}:80", 3 * MAX_HOSTS - 1);
    assert!(hosts.circuits.hosts.contains_key(&newest), "the oldest go first");
    hosts.end("busy:80", false, Answer::Alive);
    assert!(!hosts.circuits.hosts.contains_key("busy:80"), "a healthy host is forgotten at once");
}

#[test]
fn a_probe_that_outlasts_its_rest_is_waited_for_before_the_next_one() {
    let mut hosts = Clocked::new();
    let older = hosts.begin("h:80").unwrap();
    hosts.fail("h:80", PARAMS.failures);
    hosts.wait(60);
    assert!(hosts.begin("h:80").unwrap(), "the probe");
    hosts.end("h:80", older, Answer::Alive);
    hosts.fail("h:80", PARAMS.failures);
    hosts.wait(60);
    assert!(hosts.begin("h:80").is_err(), "the first probe is on the wire");
    hosts.end("h:80", true, Answer::Unknown);
    assert!(hosts.begin("h:80").unwrap());
}

proptest! {
    /// Whatever happens: at most one probe at a time, none that is lost for ever, and a host that answers is let in.
    #[test]
    fn an_open_circuit_lets_one_probe_through_and_never_stays_open(
        steps in proptest::collection::vec((0..4u8, 0..10u64, 0.0..1.0f64), 1..200),
    ) {
        let mut hosts = Clocked::new();
        let mut on_wire: Vec<bool> = Vec::new();
        for (step, seconds, jitter) in steps {
            hosts.wait(seconds);
            let now = hosts.now;
            match step {
                0 | 1 => {
                    if on_wire.len() < PARAMS.slots && let Ok(is_probe) = hosts.circuits.begin("h:80", now, jitter) {
                        on_wire.push(is_probe);
                    }
                }
                _ if on_wire.is_empty() => {}
                step => {
                    let answer = [FAILED, Answer::Unknown, Answer::Alive][(seconds % 3) as usize];
                    let was_probe = on_wire.remove(if step == 2 { 0 } else { on_wire.len() - 1 });
                    hosts.circuits.end("h:80", was_probe, answer, now, jitter);
                    if answer == Answer::Alive && was_probe {
                        prop_assert_eq!(hosts.circuits.open_hosts(), 0);
                    }
                }
            }
            prop_assert!(on_wire.iter().filter(|is_probe| **is_probe).count() <= 1);
            prop_assert!(hosts.circuits.hosts.values().all(|circuit| circuit.on_wire == on_wire.len()));
        }
        // Everything ends, the longest rest passes: the host gets its chance.
        for was_probe in on_wire {
            hosts.end("h:80", was_probe, FAILED);
        }
        hosts.wait(60);
        prop_assert!(hosts.begin("h:80").is_ok());
        hosts.end("h:80", true, Answer::Alive);
        prop_assert!(hosts.circuits.hosts.is_empty());
    }
}
