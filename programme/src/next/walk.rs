//! Going along the timeline item by item, without playing.

use jiff::{SignedDuration, Timestamp};

use super::{Known, Lineup, Memory, Next, NextItem, Standing};
use crate::playlist::{ListedObject, Position};
use crate::week::Segment;

/// For how long an item of unknown length is taken to play.
pub const ASSUMED_S: f64 = 600.0;
/// However short an item is, time passes.
const SHORTEST: SignedDuration = SignedDuration::from_millis(40);

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
