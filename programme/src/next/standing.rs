//! What a programme has behind it: all that is remembered of it, and survives restarts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::playlist::Position;

/// Where a programme and its schedule stand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The ordinary programme; absent: at its beginning.
    pub ordinary: Option<Mark>,
    /// The block that was on air last.
    pub block: Option<BlockMark>,
    /// Seed of the ordinary programme's shuffle.
    pub seed: u64,
}

/// A place in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// The item begun last.
    pub position: Position,
    /// It was left at this second of it and is to go on there; `None`: it is done with.
    pub left_at_s: Option<f64>,
}

/// A place in one airing of a block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockMark {
    /// Name of the block.
    pub name: String,
    /// When this airing began by the schedule.
    pub begins: Timestamp,
    /// Whether `mark` is in the block's filler rather than among its items.
    #[serde(default)]
    pub filler: bool,
    /// The place.
    pub mark: Mark,
}

/// Whose list an item is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The ordinary programme's.
    Ordinary,
    /// A block's.
    Block {
        /// Its name.
        name: String,
        /// When this airing of it began by the schedule.
        begins: Timestamp,
        /// Its filler rather than its items.
        filler: bool,
    },
}

// === impl Standing ===

impl Standing {
    /// Nothing has been played yet.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// The item of this key is on air and has got so far, if it is the one that was begun last.
    pub fn has_reached(&mut self, key: &str, block: Option<&str>, position_s: f64) {
        let mark = match block {
            None => self.ordinary.as_mut(),
            Some(name) => {
                let block = self.block.as_mut().filter(|mark| mark.name == name);
                block.map(|block| &mut block.mark)
            }
        };
        if let Some(mark) = mark.filter(|mark| mark.position.key.as_deref() == Some(key)) {
            mark.left_at_s = Some(position_s);
        }
    }

    /// `position` of `part` has been begun, and is done with (`None`) or left at a second of it.
    pub fn note(&mut self, part: &Part, position: Position, left_at_s: Option<f64>) {
        let mark = Mark {
            position,
            left_at_s,
        };
        match part {
            Part::Ordinary => self.ordinary = Some(mark),
            Part::Block {
                name,
                begins,
                filler,
            } => {
                self.block = Some(BlockMark {
                    name: name.clone(),
                    begins: *begins,
                    filler: *filler,
                    mark,
                });
            }
        }
    }
}
