//! When OBS's owner takes the air and gives it back. Pure.
//!
//! ```text
//!          a source on for the debounce                sources off for the debounce
//!  quiet ────────────────────────────────► wanted ────────────────────────────────► quiet
//!           take live, start streaming       │  ▲        take programme, stop streaming
//!                                    30 s    ▼  │ media
//!                             without media  card
//! ```
//!
//! A controller that is started again goes on with the takeover of the one before it ([`ObsRecord`]).
//! What is not known (OBS does not answer) changes nothing: taking the air away from a feed that still
//! arrives would be worse than leaving it.

use std::time::Duration;

use storage::model::ObsRecord;
use tokio::time::Instant;

/// How long a wanted feed may take to arrive before the card tells viewers that it will.
pub(super) const CARD_AFTER: Duration = Duration::from_secs(30);
/// A stream that does not run although it is wanted is started again this often.
const START_AGAIN_AFTER: Duration = Duration::from_secs(4);

/// What is seen of OBS and of the input it streams to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// One of the owner's sources is on.
    pub(super) owner_on: bool,
    /// OBS pushes, or tries to.
    pub(super) streaming: bool,
    /// Its media is there: the input is ready.
    pub(super) media: bool,
    /// The programme has the air and the input is not wanted: it was away for longer than its grace, or
    /// somebody gave the air back.
    pub(super) passed_over: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Put the input on air as soon as it is ready.
    TakeLive,
    /// Give the air back.
    TakeProgramme,
    /// Tell viewers that somebody is about to go live.
    ShowCard,
    /// Have OBS stream to the ingest.
    StartStream,
    /// Have OBS stop it.
    StopStream,
}

/// How far a takeover is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The programme's time.
    Quiet,
    /// The owner wants the air; their media is awaited, or has it.
    Wanted,
    /// Their media did not come in time: the card is shown.
    Card,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Takeover {
    debounce: Duration,
    phase: Phase,
    /// Since when the sources say something else than the phase.
    otherwise_since: Option<Instant>,
    /// When the sources were first seen to be on.
    wanted_since: Option<Instant>,
    /// Since when media is awaited.
    awaiting_since: Option<Instant>,
    /// It was there, and has gone.
    gone: bool,
    started_at: Option<Instant>,
    /// OBS streams because it was told to.
    ours: bool,
}

// === impl Takeover ===

impl Takeover {
    /// Goes on where it was; a change of the sources counts when it has lasted for `debounce`.
    pub(super) fn resume(debounce: Duration, before: ObsRecord) -> Self {
        Self {
            debounce,
            phase: match before.wanted {
                true => Phase::Wanted,
                false => Phase::Quiet,
            },
            otherwise_since: None,
            wanted_since: None,
            awaiting_since: None,
            gone: false,
            started_at: None,
            ours: before.told_to_stream,
        }
    }

    /// What the next controller has to know.
    pub(super) fn record(&self) -> ObsRecord {
        ObsRecord {
            wanted: self.phase != Phase::Quiet,
            told_to_stream: self.ours,
        }
    }

    /// How far it is.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// When the sources that ask for the air were first seen to be on.
    pub(super) fn wanted_since(&self) -> Option<Instant> {
        self.wanted_since
    }

    /// When what is seen now will count, if it lasts.
    pub(super) fn due(&self) -> Option<Instant> {
        self.otherwise_since.map(|since| since + self.debounce)
    }

    /// Looks at what is seen at `now`; the result is to be done in this order.
    pub(super) fn step(&mut self, now: Instant, seen: Seen) -> Vec<Act> {
        let mut acts = Vec::new();
        let wanted = self.phase != Phase::Quiet;
        if seen.owner_on == wanted {
            self.otherwise_since = None;
        } else if now >= *self.otherwise_since.get_or_insert(now) + self.debounce {
            let since = self.otherwise_since.take();
            self.wanted_since = since.filter(|_| seen.owner_on);
            if seen.owner_on {
                self.phase = Phase::Wanted;
                self.awaiting_since = Some(now);
                self.gone = false;
                self.started_at = None;
                acts.push(Act::TakeLive);
            } else {
                self.phase = Phase::Quiet;
                acts.push(Act::TakeProgramme);
            }
        }
        match self.phase {
            Phase::Quiet => self.stop_streaming(seen, &mut acts),
            Phase::Wanted | Phase::Card => {
                self.keep_streaming(now, seen, &mut acts);
                self.await_media(now, seen, &mut acts);
            }
        }
        acts
    }

    /// A stop that OBS did not do is asked for again at the next look.
    fn stop_streaming(&mut self, seen: Seen, acts: &mut Vec<Act>) {
        if self.ours && seen.streaming {
            acts.push(Act::StopStream);
        } else {
            self.ours = false;
        }
    }

    /// Whoever stops it by hand while their sources are on has made a mistake.
    fn keep_streaming(&mut self, now: Instant, seen: Seen, acts: &mut Vec<Act>) {
        let due = self
            .started_at
            .is_none_or(|at| now >= at + START_AGAIN_AFTER);
        if !seen.streaming && due {
            self.started_at = Some(now);
            self.ours = true;
            acts.push(Act::StartStream);
        }
    }

    /// Media that is there again takes the air again, as an input does that is wanted by itself: a `manual` one
    /// that was away for longer than its grace waits to be asked for.
    fn await_media(&mut self, now: Instant, seen: Seen, acts: &mut Vec<Act>) {
        if seen.media {
            self.awaiting_since = None;
            let is_passed_over = std::mem::take(&mut self.gone) && seen.passed_over;
            if self.phase == Phase::Card || is_passed_over {
                self.phase = Phase::Wanted;
                acts.push(Act::TakeLive);
            }
            return;
        }
        self.gone |= self.awaiting_since.is_none();
        let since = *self.awaiting_since.get_or_insert(now);
        if now >= since + CARD_AFTER && self.phase == Phase::Wanted {
            self.phase = Phase::Card;
            acts.push(Act::ShowCard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const OFF: Seen = Seen {
        owner_on: false,
        streaming: false,
        media: false,
        passed_over: false,
    };
    const ON: Seen = Seen {
        owner_on: true,
        ..OFF
    };
    const PUSHING: Seen = Seen {
        streaming: true,
        ..ON
    };
    const LIVE: Seen = Seen {
        media: true,
        ..PUSHING
    };

    fn quiet(debounce: Duration) -> Takeover {
        Takeover::resume(debounce, ObsRecord::default())
    }

    /// Looks once a second at what is there; what was done, with its second.
    fn run(takeover: &mut Takeover, start: Instant, seen: &[(u64, Seen)]) -> Vec<(u64, Act)> {
        let end = seen.last().expect("something is seen").0;
        let mut done = Vec::new();
        for second in 0..=end {
            let at = seen.iter().rfind(|(from, _)| *from <= second);
            let acts = takeover.step(start + SECOND * second as u32, at.expect("from 0").1);
            done.extend(acts.into_iter().map(|act| (second, act)));
        }
        done
    }

    #[test]
    fn a_takeover_from_the_source_to_the_programme() {
        let mut takeover = quiet(5 * SECOND);
        let seen = [
            (0, OFF),
            (3, ON),
            (9, PUSHING),
            (10, LIVE),
            (
                60,
                Seen {
                    owner_on: false,
                    ..LIVE
                },
            ),
            (66, OFF),
            (70, OFF),
        ];
        assert_eq!(
            run(&mut takeover, Instant::now(), &seen),
            [
                (8, Act::TakeLive),
                (8, Act::StartStream),
                (65, Act::TakeProgramme),
                (65, Act::StopStream)
            ]
        );
        assert_eq!(takeover.phase(), Phase::Quiet);
    }

    #[test]
    fn the_owner_asked_when_the_source_was_first_seen_on() {
        let mut takeover = quiet(5 * SECOND);
        let start = Instant::now();
        run(&mut takeover, start, &[(0, OFF), (3, ON), (7, ON)]);
        assert_eq!(takeover.wanted_since(), None, "not yet sure");
        takeover.step(start + 8 * SECOND, ON);
        assert_eq!(takeover.wanted_since(), Some(start + 3 * SECOND));
        takeover.step(start + 20 * SECOND, OFF);
        takeover.step(start + 25 * SECOND, OFF);
        assert_eq!(takeover.wanted_since(), None);
    }

    #[test]
    fn the_end_of_the_debounce_is_known_while_it_runs() {
        let mut takeover = quiet(5 * SECOND);
        let start = Instant::now();
        assert_eq!(takeover.due(), None);
        takeover.step(start, ON);
        takeover.step(start + SECOND, ON);
        assert_eq!(takeover.due(), Some(start + 5 * SECOND));
        takeover.step(start + 2 * SECOND, OFF);
        assert_eq!(takeover.due(), None, "it was a flicker");
        takeover.step(start + 3 * SECOND, ON);
        takeover.step(start + 8 * SECOND, ON);
        assert_eq!((takeover.due(), takeover.phase()), (None, Phase::Wanted));
    }

    #[test]
    fn a_flicker_is_not_a_wish() {
        let mut takeover = quiet(5 * SECOND);
        let seen = [(0, OFF), (2, ON), (6, OFF), (7, ON), (11, OFF), (30, OFF)];
        assert_eq!(run(&mut takeover, Instant::now(), &seen), []);
        let seen = [
            (0, ON),
            (5, LIVE),
            (
                20,
                Seen {
                    owner_on: false,
                    ..LIVE
                },
            ),
            (24, LIVE),
            (40, LIVE),
        ];
        let done = run(&mut takeover, Instant::now(), &seen);
        assert_eq!(done, [(5, Act::TakeLive)]);
    }

    #[test]
    fn media_that_does_not_come_is_announced_by_the_card() {
        let mut takeover = quiet(Duration::ZERO);
        let seen = [(0, ON), (1, PUSHING), (40, LIVE), (41, LIVE)];
        assert_eq!(
            run(&mut takeover, Instant::now(), &seen),
            [
                (0, Act::TakeLive),
                (0, Act::StartStream),
                (30, Act::ShowCard),
                (40, Act::TakeLive)
            ]
        );
    }

    #[test]
    fn a_stream_stopped_by_hand_is_started_within_ten_seconds() {
        let mut takeover = quiet(Duration::ZERO);
        let seen = [(0, ON), (1, LIVE), (50, ON), (58, LIVE), (60, LIVE)];
        let done = run(&mut takeover, Instant::now(), &seen);
        let starts: Vec<_> = done
            .iter()
            .filter(|(_, act)| *act == Act::StartStream)
            .collect();
        assert_eq!(
            starts,
            [
                &(0, Act::StartStream),
                &(50, Act::StartStream),
                &(54, Act::StartStream)
            ]
        );
    }

    #[test]
    fn a_stream_the_owner_started_is_theirs_to_stop() {
        let mut takeover = quiet(Duration::ZERO);
        let pushing = Seen {
            streaming: true,
            ..OFF
        };
        assert_eq!(
            run(
                &mut takeover,
                Instant::now(),
                &[(0, pushing), (30, pushing)]
            ),
            []
        );
        let live = Seen {
            owner_on: false,
            ..LIVE
        };
        let seen = [(0, LIVE), (10, live), (20, pushing)];
        assert_eq!(
            run(&mut takeover, Instant::now(), &seen),
            [(0, Act::TakeLive), (10, Act::TakeProgramme)]
        );
    }

    #[test]
    fn a_controller_that_is_started_again_in_a_takeover_ends_it_as_its_own() {
        let mut before = quiet(5 * SECOND);
        run(&mut before, Instant::now(), &[(0, OFF), (1, ON), (7, LIVE)]);
        let live = Seen {
            owner_on: false,
            ..LIVE
        };
        // Switched off later, or while there was no controller.
        for (off, ended) in [(20, 25), (0, 5)] {
            let mut takeover = Takeover::resume(5 * SECOND, before.record());
            let seen = [(0, LIVE), (off, live), (ended + 1, OFF)];
            assert_eq!(
                run(&mut takeover, Instant::now(), &seen),
                [(ended, Act::TakeProgramme), (ended, Act::StopStream)]
            );
            assert_eq!(takeover.record(), ObsRecord::default());
        }
    }

    #[test]
    fn an_owner_who_is_back_too_late_for_the_grace_is_taken_again() {
        let mut takeover = quiet(Duration::ZERO);
        let back = Seen {
            passed_over: true,
            ..LIVE
        };
        // Of the seconds from 21 to 40 OBS told nothing: it was started again.
        let start = Instant::now();
        run(&mut takeover, start, &[(0, ON), (1, LIVE), (20, LIVE)]);
        let looks = [(0, ON), (3, back), (4, LIVE), (60, LIVE)];
        let done = run(&mut takeover, start + 40 * SECOND, &looks);
        assert_eq!(done, [(0, Act::StartStream), (3, Act::TakeLive)]);
        // Who gave the air back meant it.
        let done = run(&mut takeover, start + 200 * SECOND, &[(0, back), (9, back)]);
        assert_eq!(done, []);
    }

    proptest! {
        /// Live is taken exactly as often as the air is given back, in turns, whatever is seen.
        #[test]
        fn takes_and_returns_alternate(
            looks in prop::collection::vec((0u64..9, any::<[bool; 4]>()), 1..200),
        ) {
            let mut takeover = quiet(5 * SECOND);
            let mut now = Instant::now();
            let mut wanted = false;
            for (pause, [owner_on, streaming, media, passed_over]) in looks {
                now += SECOND * pause as u32;
                for act in takeover.step(now, Seen { owner_on, streaming, media, passed_over }) {
                    match act {
                        Act::TakeProgramme => {
                            prop_assert!(wanted);
                            wanted = false;
                        }
                        Act::TakeLive => wanted = true,
                        Act::ShowCard | Act::StartStream => prop_assert!(wanted),
                        Act::StopStream => prop_assert!(!wanted),
                    }
                }
                prop_assert_eq!(wanted, takeover.phase() != Phase::Quiet);
            }
        }
    }
}
