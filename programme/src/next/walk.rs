//! Going along the timeline item by item, without playing.

use jiff::{SignedDuration, Timestamp};

use super::{Known, Lineup, Memory, Next, NextItem, Part, Standing};
use crate::playlist::{ListedObject, Position};
use crate::schedule::Resume;
use crate::week::Segment;

/// For how long an item of unknown length is taken to play.
pub const ASSUMED_S: f64 = 600.0;
/// However short an item is, time passes.
const SHORTEST: SignedDuration = SignedDuration::from_millis(40);
/// An absence of up to this is an interruption: the item goes on where it was.
const SHORT_ABSENCE: SignedDuration = SignedDuration::from_secs(30);
/// So many items are walked over to find what would be on air now.
const MAX_STEPS: usize = 20_000;

/// What airs from an instant on, stretch by stretch, without a gap and without an end.
pub struct Walk<'a> {
    lineup: &'a Lineup,
    known: &'a dyn Fn(&ListedObject, &Position) -> Known,
    standing: Standing,
    at: Timestamp,
    segment: Option<Segment>,
    memory: Memory,
}

/// One item, or the slate, on the timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// When it takes the air.
    pub begins: Timestamp,
    /// When what follows takes the air.
    pub ends: Timestamp,
    /// What; `None`: the slate.
    pub item: Option<NextItem>,
    /// It is cut at `ends`.
    pub cut: bool,
    /// Its length is not known and [`ASSUMED_S`] was taken.
    pub assumed: bool,
    /// The block or ordinary time whose it is; that may begin a moment later.
    pub segment: Segment,
}

impl<'a> Walk<'a> {
    /// From `at` on, as things stand.
    pub fn new(
        lineup: &'a Lineup,
        standing: Standing,
        at: Timestamp,
        known: &'a dyn Fn(&ListedObject, &Position) -> Known,
    ) -> Self {
        Self {
            lineup,
            known,
            standing,
            at,
            segment: None,
            memory: Memory::default(),
        }
    }

    /// How things stand behind the last stretch.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    fn segment(&mut self) -> Segment {
        let segment = match self.segment {
            Some(segment)
                if segment.begins <= self.at
                    && segment.ends.duration_since(self.at) >= super::EARLY =>
            {
                segment
            }
            _ => self.lineup.due_at(self.at),
        };
        self.segment = Some(segment);
        segment
    }

    fn item(&mut self, item: NextItem, segment: Segment) -> Stretch {
        let known = match (self.known)(&item.object, &item.position) {
            Known::Plays(duration_s) => duration_s.filter(|s| s.is_finite() && *s >= 0.0),
            Known::Skipped => None,
        };
        let left_s = known.unwrap_or(item.start_s + ASSUMED_S) - item.start_s;
        let length = SignedDuration::try_from_secs_f64(left_s).unwrap_or(SignedDuration::MAX);
        let own_end = self.at.saturating_add(length.max(SHORTEST));
        let own_end = own_end.unwrap_or(Timestamp::MAX);
        let ends = item.until.map_or(own_end, |until| own_end.min(until));
        let cut = ends < own_end;
        let aired_s = ends.duration_since(self.at).as_secs_f64();
        let left_at_s = cut.then_some(item.start_s + aired_s);
        self.standing
            .note(&item.part, item.position.clone(), left_at_s);
        Stretch {
            begins: self.at,
            ends,
            item: Some(item),
            cut,
            assumed: known.is_none(),
            segment,
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Stretch;

    fn next(&mut self) -> Option<Stretch> {
        if self.at >= Timestamp::MAX {
            return None;
        }
        let segment = self.segment();
        let next = self.lineup.up_next_in(
            &segment,
            &self.standing,
            self.at,
            self.known,
            &mut self.memory,
        );
        let stretch = match next {
            Next::Item(item) => self.item(item, segment),
            Next::Nothing { until, .. } => Stretch {
                begins: self.at,
                ends: until,
                item: None,
                cut: false,
                assumed: false,
                segment,
            },
        };
        self.at = stretch.ends;
        Some(stretch)
    }
}

impl Lineup {
    /// How things stand when the programme comes back at `now`, having been left at `left`.
    ///
    /// `standing` is what it was then, its last mark being the item that was left. A block that
    /// ended meanwhile is over whatever `resume` says, and a block that began meanwhile begins now.
    pub fn come_back(
        &self,
        resume: Resume,
        mut standing: Standing,
        (part, left): (&Part, Timestamp),
        now: Timestamp,
        known: &dyn Fn(&ListedObject, &Position) -> Known,
    ) -> Standing {
        if now.duration_since(left) <= SHORT_ABSENCE {
            return standing;
        }
        match resume {
            Resume::Position => standing,
            Resume::Item => {
                let mark = match part {
                    Part::Ordinary => standing.ordinary.as_mut(),
                    Part::Block { .. } => standing.block.as_mut().map(|block| &mut block.mark),
                };
                if let Some(mark) = mark {
                    mark.left_at_s = mark.left_at_s.map(|_| 0.0);
                }
                standing
            }
            Resume::Schedule => self.had_it_gone_on(standing, left, now, known),
        }
    }

    fn had_it_gone_on(
        &self,
        standing: Standing,
        left: Timestamp,
        now: Timestamp,
        known: &dyn Fn(&ListedObject, &Position) -> Known,
    ) -> Standing {
        let mut walk = Walk::new(self, standing, left, known);
        for _ in 0..MAX_STEPS {
            let Some(stretch) = walk.next() else { break };
            if stretch.ends <= now {
                continue;
            }
            if let Some(item) = stretch.item {
                let into_s = now.duration_since(stretch.begins).as_secs_f64();
                let left_at_s = item.start_s + into_s;
                walk.standing
                    .note(&item.part, item.position, Some(left_at_s));
            }
            break;
        }
        walk.standing
    }
}
