//! Which requests a stream takes in which phase. Pure.
//!
//! | | stopped | launching | starting, on air | stopping | replacing | checking, backoff | failed |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | start | yes | already running | already running | stopping | already running | yes, at once | yes |
//! | stop | not running | yes | yes | same end | same end | yes | yes |
//! | command | not running | starting | yes | not running | not running | not running | not running |
//! | delete | yes | still running | still running | stopping | still running | still running | yes |
//!
//! *Starting again from backoff* is what someone does who has just removed the cause. *Stop of a
//! failed stream* clears its error and takes the wish back, so that it is not tried at the next boot.

/// Where a stream is in its life, without the data of that state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No worker, none wanted.
    Stopped,
    /// What a worker cannot do without is being looked at.
    Checking,
    /// A worker is being made, or has not answered yet.
    Launching,
    /// A worker runs and has not been on air.
    Starting,
    /// A worker runs and has been on air.
    OnAir,
    /// A worker is being ended for good.
    Stopping,
    /// A worker is being ended to be started again.
    Replacing,
    /// A worker will be started at a known time.
    Backoff,
    /// Given up.
    Failed,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asked {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Something only a running worker can do: skip, take, preview.
    Command,
    /// Forget it.
    Delete,
}

/// The answer.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Do it.
    Accept,
    /// It is being done already: answer when that is done.
    Join,
    /// No.
    Deny(Denied),
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// It is wanted and under way.
    AlreadyRunning,
    /// Its worker has to be gone first.
    Stopping,
    /// The worker that could do it is not there yet.
    Launching,
    /// There is no worker to do it.
    NotRunning,
    /// It has to be stopped first.
    StillRunning,
}

/// Decides on `asked` in `phase`.
pub fn admit(phase: Phase, asked: Asked) -> Verdict {
    use Asked::{Command, Delete, Start, Stop};
    use Phase::{
        Backoff, Checking, Failed, Launching, OnAir, Replacing, Starting, Stopped, Stopping,
    };
    use Verdict::{Accept, Deny, Join};

    match (asked, phase) {
        (Start, Stopped | Checking | Backoff | Failed) => Accept,
        (Start, Launching | Starting | OnAir | Replacing) => Deny(Denied::AlreadyRunning),
        (Start | Delete, Stopping) => Deny(Denied::Stopping),

        (Stop, Checking | Launching | Starting | OnAir | Backoff | Failed) => Accept,
        (Stop, Stopping | Replacing) => Join,
        (Stop, Stopped) => Deny(Denied::NotRunning),

        (Command, Starting | OnAir) => Accept,
        (Command, Launching) => Deny(Denied::Launching),
        (Command, Stopped | Checking | Stopping | Replacing | Backoff | Failed) => {
            Deny(Denied::NotRunning)
        }

        (Delete, Stopped | Failed) => Accept,
        (Delete, Checking | Launching | Starting | OnAir | Replacing | Backoff) => {
            Deny(Denied::StillRunning)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_running_stream_is_not_started_twice() {
        for phase in [
            Phase::Launching,
            Phase::Starting,
            Phase::OnAir,
            Phase::Replacing,
        ] {
            assert_eq!(
                admit(phase, Asked::Start),
                Verdict::Deny(Denied::AlreadyRunning),
                "{phase:?}"
            );
        }
    }

    #[test]
    fn nothing_is_started_while_its_predecessor_may_still_publish() {
        assert_eq!(
            admit(Phase::Stopping, Asked::Start),
            Verdict::Deny(Denied::Stopping)
        );
    }

    #[test]
    fn an_operator_who_fixed_the_cause_need_not_wait_for_the_back_off() {
        assert_eq!(admit(Phase::Backoff, Asked::Start), Verdict::Accept);
        assert_eq!(admit(Phase::Failed, Asked::Start), Verdict::Accept);
    }

    #[test]
    fn two_who_stop_at_once_both_get_the_same_end() {
        assert_eq!(admit(Phase::Stopping, Asked::Stop), Verdict::Join);
        assert_eq!(admit(Phase::Replacing, Asked::Stop), Verdict::Join);
    }

    #[test]
    fn only_a_stream_without_a_worker_is_deleted() {
        for phase in [
            Phase::Checking,
            Phase::Launching,
            Phase::Starting,
            Phase::OnAir,
            Phase::Stopping,
            Phase::Replacing,
            Phase::Backoff,
        ] {
            assert!(
                matches!(admit(phase, Asked::Delete), Verdict::Deny(_)),
                "{phase:?}"
            );
        }
    }

    const PHASES: [Phase; 9] = [
        Phase::Stopped,
        Phase::Checking,
        Phase::Launching,
        Phase::Starting,
        Phase::OnAir,
        Phase::Stopping,
        Phase::Replacing,
        Phase::Backoff,
        Phase::Failed,
    ];

    /// What can happen to a stream: a request, or something of the worker's or the clock's.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Ask(Asked),
        WorkerAnswers,
        MediaOnAir,
        WorkerEnds,
        WorkerFailsForGood,
        WorkerCannotRunHere,
        CheckPasses,
        CheckFails,
        WorkerIsSilent,
        TimeIsUp,
    }

    /// The transitions of [`super::super::state`], and the number of workers alive.
    fn step(phase: Phase, workers: u32, step: Step) -> (Phase, u32) {
        match (step, phase) {
            (Step::Ask(asked), _) => match (admit(phase, asked), asked) {
                (Verdict::Accept, Asked::Start) => (Phase::Launching, workers + 1),
                (Verdict::Accept | Verdict::Join, Asked::Stop) if workers > 0 => {
                    (Phase::Stopping, workers)
                }
                (Verdict::Accept, Asked::Stop) => (Phase::Stopped, workers),
                _ => (phase, workers),
            },
            (Step::WorkerAnswers, Phase::Launching) => (Phase::Starting, workers),
            (Step::MediaOnAir, Phase::Starting) => (Phase::OnAir, workers),
            (Step::WorkerIsSilent, Phase::Launching | Phase::Starting | Phase::OnAir) => {
                (Phase::Replacing, workers)
            }
            (
                Step::WorkerEnds,
                Phase::Launching | Phase::Starting | Phase::OnAir | Phase::Replacing,
            ) => (Phase::Backoff, workers - 1),
            (Step::WorkerFailsForGood, Phase::Launching | Phase::Starting | Phase::OnAir) => {
                (Phase::Failed, workers - 1)
            }
            (Step::WorkerCannotRunHere, Phase::Launching | Phase::Starting | Phase::OnAir) => {
                (Phase::Checking, workers - 1)
            }
            (Step::CheckPasses, Phase::Checking) => (Phase::Launching, workers + 1),
            (Step::CheckFails, Phase::Checking) => (Phase::Backoff, workers),
            (Step::WorkerEnds, Phase::Stopping) => (Phase::Stopped, workers - 1),
            (Step::TimeIsUp, Phase::Backoff) => (Phase::Launching, workers + 1),
            _ => (phase, workers),
        }
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Ask(Asked::Start)),
            Just(Step::Ask(Asked::Stop)),
            Just(Step::Ask(Asked::Command)),
            Just(Step::Ask(Asked::Delete)),
            Just(Step::WorkerAnswers),
            Just(Step::MediaOnAir),
            Just(Step::WorkerEnds),
            Just(Step::WorkerFailsForGood),
            Just(Step::WorkerCannotRunHere),
            Just(Step::CheckPasses),
            Just(Step::CheckFails),
            Just(Step::WorkerIsSilent),
            Just(Step::TimeIsUp),
        ]
    }

    proptest! {
        /// Two workers of one stream would be two publishers on one key.
        #[test]
        fn no_sequence_leads_to_two_workers(steps in proptest::collection::vec(steps(), 0..200)) {
            let mut state = (Phase::Stopped, 0);
            for next in steps {
                state = step(state.0, state.1, next);
                let has_worker = matches!(
                    state.0,
                    Phase::Launching
                        | Phase::Starting
                        | Phase::OnAir
                        | Phase::Stopping
                        | Phase::Replacing
                );
                prop_assert_eq!(state.1, u32::from(has_worker), "{:?}", state);
            }
        }

        /// From anywhere, stopping and waiting leads to *stopped*, and starting then works.
        #[test]
        fn stop_then_start_always_works(steps in proptest::collection::vec(steps(), 0..50)) {
            let mut state = (Phase::Stopped, 0);
            for next in steps {
                state = step(state.0, state.1, next);
            }
            for next in [Step::Ask(Asked::Stop), Step::WorkerEnds] {
                state = step(state.0, state.1, next);
            }
            prop_assert_eq!(state, (Phase::Stopped, 0));
            prop_assert_eq!(admit(state.0, Asked::Start), Verdict::Accept);
        }
    }

    #[test]
    fn a_command_reaches_only_a_worker_that_serves() {
        for phase in PHASES {
            let serves = matches!(phase, Phase::Starting | Phase::OnAir);
            assert_eq!(
                admit(phase, Asked::Command) == Verdict::Accept,
                serves,
                "{phase:?}"
            );
        }
    }
}
