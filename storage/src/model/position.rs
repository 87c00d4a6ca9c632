//! Where a programme stood when it was last written down.

use jiff::Timestamp;
use programme::next::{BlockMark, Mark};
use programme::{Position, Standing};
use serde::{Deserialize, Serialize};

/// Version of [`PositionFile`] this build writes.
pub const POSITION_VERSION: u32 = 1;

/// `STATE_DIR/streams/<id>/position.json`, written by the worker every few seconds and at joins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PositionFile {
    /// See [`POSITION_VERSION`].
    pub version: u32,
    /// Place in the ordinary programme.
    pub position: Position,
    /// Media seconds into that item.
    pub item_s: f64,
    /// Place in the block of the schedule that was on air last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockMark>,
    /// When this was true.
    pub at: Timestamp,
}

impl PositionFile {
    /// Where everything stood, items being left at the second that was reached.
    pub fn into_standing(self) -> Standing {
        Standing {
            seed: self.position.seed,
            ordinary: Some(Mark {
                position: self.position,
                left_at_s: Some(self.item_s),
            }),
            block: self.block,
        }
    }
}
