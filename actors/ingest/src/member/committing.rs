//! Commits are sent, awaited where it matters by going round the loop, and taken note of.

use jtav_kafka::{CommitResult, PositionToCommit};
use jtav_pipeline::{FailPoint, fail_point};

use super::{Member, report};
use crate::commits::{Attempts, LastTurn, Position};
use crate::consumer::Consumer;

/// How the last commit of something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastCommit {
    Done,
    Waiting,
}

impl<C: Consumer> Member<C> {
    pub(super) fn commit_if_due(&mut self) {
        if self.commits.is_due(self.owned.is_note_pressing(), self.now()) {
            self.commit_now();
        }
    }

    /// Sends the settled prefix of every partition with its note, unless a commit is on its way already. Returns true if
    /// it sent one.
    pub(super) fn commit_now(&mut self) -> bool {
        let now = self.now();
        if self.commits.forget_unanswered(now) {
            report::commit_unanswered();
        }
        if self.commits.is_on_its_way() {
            return false;
        }
        let positions: Vec<Position> =
            self.owned.numbers().into_iter().filter_map(|number| self.position_to_commit(number)).collect();
        self.commits.looked(now);
        if positions.is_empty() {
            return false;
        }
        let with_text: Vec<PositionToCommit> = positions.iter().map(Position::to_commit).collect();
        fail_point::hit(FailPoint::IngestBeforeCommit, "");
        match self.consumer.commit(&with_text) {
            Ok(()) => {
                self.commits.sent(positions, now);
                true
            }
            Err(error) => {
                self.commits.not_sent(now);
                report::commit_not_sent(&error);
                false
            }
        }
    }

    fn position_to_commit(&self, number: i32) -> Option<Position> {
        let (is_leaving, is_a_must) = (self.commits.says_goodbye(number), self.commits.must_say_goodbye(number));
        self.owned.position_to_commit(number, is_leaving, is_a_must)
    }

    pub(super) fn commit_answered(&mut self, answer: &CommitResult) {
        let Some(answered) = self.commits.answered(answer, self.now()) else { return };
        report::commit_answered(&answered);
        for taken in answered.taken {
            self.owned.acknowledged(taken);
        }
        fail_point::hit(FailPoint::IngestAfterCommit, "");
    }

    /// One turn of a last commit of `numbers`, with notes that say goodbye.
    pub(super) fn last_commit_turn(&mut self, numbers: &[i32], attempts: &mut Attempts) -> LastCommit {
        self.commits.say_goodbye(numbers);
        if !numbers.iter().any(|number| self.position_to_commit(*number).is_some()) {
            return LastCommit::Done;
        }
        match self.commits.last_turn(*attempts, self.now()) {
            LastTurn::GiveUp => {
                report::last_commit_given_up(numbers, attempts.sent());
                return LastCommit::Done;
            }
            LastTurn::Send => {
                if self.commit_now() {
                    attempts.count_one();
                }
            }
            LastTurn::Wait => {}
        }
        LastCommit::Waiting
    }

    /// The commit at the end of a drain or of a pipeline that cannot go on.
    pub(super) fn final_commit_done(&mut self) -> bool {
        let numbers = self.owned.numbers();
        let mut attempts = self.commits.attempts_at_the_end(self.now());
        let state = self.last_commit_turn(&numbers, &mut attempts);
        self.commits.set_attempts_at_the_end(attempts);
        state == LastCommit::Done
    }
}
