//! Who is wanted on air: the operator's word over the live inputs' own wishes. Pure.
//!
//! ```text
//!          take live                     lost, grace over
//!  Auto ──────────────► Live ────────────────────────────► Auto
//!    │ take programme              the feeds that were there have ended
//!    └────────────────► Programme ────────────────────────► Auto
//!    └─ take slate, card ─► Slate, Card (until said otherwise)
//! ```
//! The table is in `docs/design/live-takeover.md`, "Who is on air".

use std::time::Duration;

use serde::{Deserialize, Serialize};
use storage::model::{LiveTake, OnLoss};
use tokio::time::Instant;

/// What the operator said last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// Nothing that still holds.
    #[default]
    Auto,
    /// The programme.
    Programme,
    /// The slate.
    Slate,
    /// The card.
    Card,
    /// A live input; the first that is ready when none is named.
    Live(Option<String>),
}

/// A live input, as far as a decision depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// From the configuration.
    pub name: &'a str,
    /// When it is wanted by itself.
    pub take: LiveTake,
    /// What follows its loss.
    pub on_loss: OnLoss,
    /// For how long it is awaited after a loss.
    pub grace: Duration,
    /// Its feed, `None` while there is none.
    pub feed: Option<u64>,
    /// It can be cut to.
    pub ready: bool,
    /// It is on air and delivers.
    pub carrying: bool,
}

/// Who is to have the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The programme.
    Programme,
    /// The slate: the operator's word.
    Slate,
    /// The card: the operator's word.
    Card,
    /// The slate, while a lost input may come back.
    Standby,
    /// This input.
    Live(usize),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Desk {
    word: Word,
    /// Feeds that were there when the operator took the programme.
    held_off: Vec<(String, u64)>,
    /// Input wanted at the last look.
    wanted: Option<String>,
    lost: Option<Lost>,
}

#[derive(Debug, Clone)]
struct Lost {
    name: String,
    on_loss: OnLoss,
    until: Instant,
}

// === impl Desk ===

impl Desk {
    /// Nobody said anything.
    pub fn new() -> Self {
        Self::resume(Word::Auto)
    }

    /// Goes on with what was said; every feed begins anew.
    pub fn resume(word: Word) -> Self {
        Self {
            word,
            held_off: Vec::new(),
            wanted: None,
            lost: None,
        }
    }

    /// The operator says so.
    pub fn say(&mut self, word: Word, inputs: &[Input<'_>]) {
        self.held_off.clear();
        if word == Word::Programme {
            let there = inputs
                .iter()
                .filter_map(|input| Some((input.name.to_owned(), input.feed?)));
            self.held_off.extend(there);
        }
        // What was given back on purpose is not lost.
        self.wanted = None;
        self.lost = None;
        self.word = word;
    }

    /// What holds.
    pub fn word(&self) -> &Word {
        &self.word
    }

    /// Whether this input is wanted, ready or not.
    pub fn wants(&self, input: &Input<'_>) -> bool {
        match &self.word {
            Word::Auto => input.take == LiveTake::Auto,
            Word::Live(None) => true,
            Word::Live(Some(name)) => name == input.name,
            Word::Programme | Word::Slate | Word::Card => false,
        }
    }

    /// Whether it was on air, is gone, and may come back.
    pub fn is_lost(&self, name: &str, now: Instant) -> bool {
        let lost = self.lost.as_ref();
        lost.is_some_and(|lost| lost.name == name && now < lost.until)
    }

    /// Who is to have the air now.
    pub fn want(&mut self, now: Instant, inputs: &[Input<'_>]) -> Want {
        self.note_loss(now, inputs);
        self.forget_what_is_over(now, inputs);
        match self.word {
            Word::Slate => return Want::Slate,
            Word::Card => return Want::Card,
            Word::Auto | Word::Programme | Word::Live(_) => {}
        }
        let usable = |input: &Input<'_>| (input.ready || input.carrying) && self.wants(input);
        if let Some(at) = inputs.iter().position(usable) {
            self.wanted = Some(inputs[at].name.to_owned());
            self.lost = None;
            return Want::Live(at);
        }
        match &self.lost {
            Some(lost) if lost.on_loss == OnLoss::Slate && now < lost.until => Want::Standby,
            Some(_) | None => Want::Programme,
        }
    }

    fn note_loss(&mut self, now: Instant, inputs: &[Input<'_>]) {
        let Some(name) = &self.wanted else { return };
        let Some(input) = inputs.iter().find(|input| input.name == name) else {
            self.wanted = None;
            return;
        };
        if !input.ready && !input.carrying {
            self.lost = Some(Lost {
                name: input.name.to_owned(),
                on_loss: input.on_loss,
                until: now + input.grace,
            });
            self.wanted = None;
        }
    }

    fn forget_what_is_over(&mut self, now: Instant, inputs: &[Input<'_>]) {
        match &self.word {
            Word::Programme => {
                let is_there = |(name, feed): &(String, u64)| {
                    let mut inputs = inputs.iter();
                    inputs.any(|input| input.name == name && input.feed == Some(*feed))
                };
                if !self.held_off.iter().any(is_there) {
                    self.word = Word::Auto;
                }
            }
            Word::Live(_) if self.lost.as_ref().is_some_and(|lost| now >= lost.until) => {
                self.word = Word::Auto;
            }
            Word::Auto | Word::Slate | Word::Card | Word::Live(_) => {}
        }
        if self.lost.as_ref().is_some_and(|lost| now >= lost.until) {
            self.lost = None;
        }
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn input(name: &str, feed: Option<u64>) -> Input<'_> {
        Input {
            name,
            take: LiveTake::Auto,
            on_loss: OnLoss::Programme,
            grace: GRACE,
            feed,
            ready: feed.is_some(),
            carrying: false,
        }
    }

    #[test]
    fn an_auto_feed_takes_the_air_and_gives_it_back() {
        let (mut desk, now) = (Desk::new(), Instant::now());
        assert_eq!(desk.want(now, &[input("a", None)]), Want::Programme);
        assert_eq!(desk.want(now, &[input("a", Some(1))]), Want::Live(0));
        assert_eq!(desk.want(now, &[input("a", None)]), Want::Programme);
        assert!(desk.is_lost("a", now) && !desk.is_lost("a", now + GRACE));
        assert_eq!(desk.want(now, &[input("a", Some(2))]), Want::Live(0));
    }

    #[test]
    fn the_first_in_the_list_wins() {
        let (mut desk, now) = (Desk::new(), Instant::now());
        let both = [input("a", Some(1)), input("b", Some(1))];
        assert_eq!(desk.want(now, &[input("a", None), both[1]]), Want::Live(1));
        assert_eq!(desk.want(now, &both), Want::Live(0));
    }

    #[test]
    fn the_programme_that_was_taken_stays_until_the_feeds_of_then_have_ended() {
        let (mut desk, now) = (Desk::new(), Instant::now());
        let there = [input("a", Some(1)), input("b", None)];
        assert_eq!(desk.want(now, &there), Want::Live(0));
        desk.say(Word::Programme, &there);
        assert_eq!(desk.want(now, &there), Want::Programme);
        let other = [input("a", Some(1)), input("b", Some(1))];
        assert_eq!(desk.want(now, &other), Want::Programme);
        let gone = [input("a", None), input("b", None)];
        assert_eq!(desk.want(now, &gone), Want::Programme);
        let again = [input("a", Some(2)), input("b", None)];
        assert_eq!(desk.want(now, &again), Want::Live(0));
    }

    #[test]
    fn a_manual_input_is_taken_when_asked_for_and_back_within_its_grace_only() {
        let (mut desk, now) = (Desk::new(), Instant::now());
        let manual = |feed| Input {
            take: LiveTake::Manual,
            ..input("a", feed)
        };
        assert_eq!(desk.want(now, &[manual(Some(1))]), Want::Programme);
        desk.say(Word::Live(Some("a".into())), &[manual(None)]);
        assert_eq!(
            desk.want(now, &[manual(None)]),
            Want::Programme,
            "not ready"
        );
        assert_eq!(
            desk.want(now + GRACE * 2, &[manual(Some(1))]),
            Want::Live(0)
        );
        let lost_at = now + GRACE * 2;
        assert_eq!(desk.want(lost_at, &[manual(None)]), Want::Programme);
        assert_eq!(desk.want(lost_at, &[manual(Some(2))]), Want::Live(0));
        assert_eq!(desk.want(lost_at, &[manual(None)]), Want::Programme);
        let later = lost_at + GRACE;
        assert_eq!(desk.want(later, &[manual(Some(3))]), Want::Programme);
        assert_eq!(desk.word(), &Word::Auto);
    }

    #[test]
    fn the_slate_covers_a_loss_for_its_grace_where_that_is_asked_for() {
        let (mut desk, now) = (Desk::new(), Instant::now());
        let slate = |feed| Input {
            on_loss: OnLoss::Slate,
            ..input("a", feed)
        };
        assert_eq!(desk.want(now, &[slate(Some(1))]), Want::Live(0));
        assert_eq!(desk.want(now, &[slate(None)]), Want::Standby);
        assert_eq!(desk.want(now + GRACE / 2, &[slate(Some(2))]), Want::Live(0));
        assert_eq!(desk.want(now + GRACE / 2, &[slate(None)]), Want::Standby);
        assert_eq!(desk.want(now + GRACE * 2, &[slate(None)]), Want::Programme);
    }

    #[test]
    fn slate_and_card_stand_over_every_feed() {
        let (mut desk, now) = (Desk::new(), Instant::now());
        for (word, want) in [(Word::Slate, Want::Slate), (Word::Card, Want::Card)] {
            desk.say(word, &[]);
            assert_eq!(desk.want(now, &[input("a", Some(1))]), want);
        }
        desk.say(Word::Live(None), &[]);
        assert_eq!(desk.want(now, &[input("a", Some(1))]), Want::Live(0));
    }

    #[test]
    fn what_carries_stays_although_it_could_not_be_cut_to() {
        let (mut desk, now) = (Desk::new(), Instant::now());
        assert_eq!(desk.want(now, &[input("a", Some(1))]), Want::Live(0));
        let carrying = Input {
            ready: false,
            carrying: true,
            ..input("a", Some(1))
        };
        assert_eq!(desk.want(now, &[carrying]), Want::Live(0));
    }
}
