use proptest::prelude::*;

use super::*;

#[test]
fn large_bodies_that_stand_still_leave_small_ones_their_bytes() {
    let mut bank = Bank::new(1_000, 300, 10);
    let large: Vec<Account> = (0..8).map(|_| bank.open(300)).collect();
    // They take what they are let, and then stand still.
    for account in &large {
        for bytes in (10..=300).step_by(10) {
            if !bank.ask(*account, bytes) {
                break;
            }
        }
    }
    assert!(bank.total() > 700, "{}", bank.total());
    let small = bank.open(25);
    assert!(bank.ask(small, 25));
    bank.close(small);
    assert!(bank.total() > 700, "the large ones are still there");
}

#[test]
fn a_small_wish_passes_a_large_one_that_cannot_be_met() {
    let mut bank = Bank::new(100, 100, 1);
    let [held, large, small] = [60, 90, 30].map(|most| bank.open(most));
    assert!(bank.ask(held, 60));
    assert!(!bank.ask(large, 90));
    assert!(bank.ask(small, 30));
    bank.finish(small, 30);
    bank.finish(held, 60);
    assert!(bank.close(small).is_empty());
    assert_eq!(bank.close(held), [large]);
}

#[test]
fn two_bodies_that_could_not_both_finish_are_not_both_let_begin() {
    let mut bank = Bank::new(100, 100, 1);
    let [first, second] = [100, 100].map(|most| bank.open(most));
    assert!(bank.ask(first, 10));
    assert!(!bank.ask(second, 10), "neither could have its hundred");
    assert!(bank.expect(first, 50).contains(&second), "now the first can finish beside it");
    assert!(bank.ask(first, 40));
    bank.finish(first, 20);
    assert_eq!((bank.held(first), bank.total()), (20, 30));
}

#[derive(Debug, Clone)]
enum Step {
    Open(u64),
    /// One of those on their way takes more.
    More(usize, u64),
    Expect(usize, u64),
    Finish(usize),
    Close(usize),
    Withdraw(usize),
}

const CAP: u64 = 300;
/// On their way at once at most.
const BODIES: usize = 8;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..=CAP).prop_map(Step::Open),
        12 => (any::<usize>(), 1..120u64).prop_map(|(which, more)| Step::More(which, more)),
        1 => (any::<usize>(), 0..=CAP).prop_map(|(which, most)| Step::Expect(which, most)),
        2 => any::<usize>().prop_map(Step::Finish),
        2 => any::<usize>().prop_map(Step::Close),
        1 => any::<usize>().prop_map(Step::Withdraw),
    ];
    prop::collection::vec(step, 1..150)
}

/// A body as the one who reads it knows it.
struct Body {
    account: Account,
    most: u64,
    wants: Option<u64>,
    finished: bool,
}

fn served(bodies: &mut [Body], accounts: Vec<Account>) {
    for body in bodies.iter_mut().filter(|body| accounts.contains(&body.account)) {
        body.wants = None;
    }
}

fn carry_out(step: Step, bank: &mut Bank, bodies: &mut Vec<Body>) -> Result<(), TestCaseError> {
    let at = |which: usize, bodies: &[Body]| which.checked_rem(bodies.len());
    match step {
        Step::Open(most) => {
            if bodies.iter().filter(|body| !body.finished).count() < BODIES {
                bodies.push(Body { account: bank.open(most), most, wants: None, finished: false });
            }
        }
        Step::More(which, more) => {
            if let Some(at) = at(which, bodies) {
                let body = &mut bodies[at];
                let bytes = (bank.held(body.account) + more).min(body.most);
                if !body.finished && body.wants.is_none() && !bank.ask(body.account, bytes) {
                    body.wants = Some(bytes);
                }
            }
        }
        Step::Expect(which, most) => {
            if let Some(at) = at(which, bodies) {
                let body = &mut bodies[at];
                if body.wants.is_none() && !body.finished {
                    body.most = most.clamp(bank.held(body.account), body.most);
                    let accounts = bank.expect(body.account, most);
                    served(bodies, accounts);
                }
            }
        }
        Step::Finish(which) => {
            if let Some(at) = at(which, bodies) {
                bodies[at].finished = true;
                bodies[at].wants = None;
                let held = bank.held(bodies[at].account);
                let accounts = bank.finish(bodies[at].account, held / 2);
                prop_assert_eq!(bank.held(bodies[at].account), held / 2);
                served(bodies, accounts);
            }
        }
        Step::Close(which) => {
            if let Some(at) = at(which, bodies) {
                let accounts = bank.close(bodies.remove(at).account);
                served(bodies, accounts);
            }
        }
        Step::Withdraw(which) => {
            if let Some(at) = at(which, bodies) {
                bank.withdraw(bodies[at].account);
                bodies[at].wants = None;
            }
        }
    }
    Ok(())
}

proptest! {
    /// At most eight are on their way at once. Whatever happened, they can all be read to their end, if those that are
    /// read to their end are decoded.
    #[test]
    fn the_sum_stays_within_the_budget_and_everybody_can_finish(budget in CAP..1_500, steps in steps()) {
        let mut bank = Bank::new(budget, CAP, BODIES as u64);
        let mut bodies: Vec<Body> = Vec::new();
        for step in steps {
            carry_out(step, &mut bank, &mut bodies)?;
            prop_assert!(bank.total() <= budget);
            prop_assert!(bank.first.held <= bank.first.bytes && bank.rest.held <= bank.rest.bytes);
            prop_assert_eq!(bank.total(), bodies.iter().map(|body| bank.held(body.account)).sum::<u64>());
            prop_assert_eq!(bank.waiting.len(), bodies.iter().filter(|body| body.wants.is_some()).count());
        }
        // Nobody new comes; everybody wants all that he may, and gives it back when he has it.
        while !bodies.is_empty() {
            let all = |body: &Body| bank.held(body.account) == body.most || body.finished;
            if let Some(at) = bodies.iter().position(all) {
                let accounts = bank.close(bodies.remove(at).account);
                served(&mut bodies, accounts);
                continue;
            }
            let before = bank.total();
            for body in &mut bodies {
                if body.wants.is_none() && !bank.ask(body.account, body.most) {
                    body.wants = Some(body.most);
                }
            }
            // Or a wish from before for a part was met just now.
            prop_assert!(bank.total() > before, "everybody waits for everybody");
        }
        prop_assert_eq!(bank.total(), 0);
    }
}
