//! What plays when, and in which shape.
//!
//! Pure: no I/O and no clock; `now` and every listing are arguments. The worker plays by it, the
//! controller shows and rehearses by it, and `storage`'s documents are written in its types.
//!
//! - [`item`]: what an operator asks for ([`Programme`]: items, order, loop).
//! - [`mod@format`]: the one shape a stream has on air ([`StreamFormat`]), and `"auto"`.
//! - [`mod@fit`]: what a file is ([`MediaInfo`]) and whether it can be spliced as it is ([`Fit`]).
//! - [`playlist`]: a programme resolved against a listing, and what comes next.
//! - [`schedule`]: blocks of a week as an operator writes them; [`week`]: the instants they are.
//! - [`next`]: a programme with its schedule, resolved: what plays, and until when.
//! - [`rehearse`]: what will air, and what would go wrong.

pub mod fit;
pub mod format;
pub mod item;
pub mod next;
pub mod playlist;
pub mod rehearse;
pub mod schedule;
pub mod week;

pub use fit::{
    AudioInfo, FORMAT_WHITELIST, Fit, MediaInfo, ProbeError, TranscodeReason, VideoInfo,
    ffprobe_args, fit, parse_ffprobe,
};
pub use format::{FormatChoice, StreamFormat};
pub use item::{ItemSpec, Order, Programme};
pub use next::{Known, Lineup, Next, NextItem, Part, Standing, Stretch, Walk};
pub use playlist::{ListedObject, Playlist, Position, UpNext};
pub use schedule::{Block, Day, ItemAbout, OnEnd, Resume, Schedule, WallTime};
pub use week::{Segment, Week};
