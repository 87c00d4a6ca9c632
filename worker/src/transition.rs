//! A transition: the first pictures and sounds of what takes the air, rendered anew with the last
//! ones of what had it laid over them.
//!
//! ```text
//!  old  ──────────────────┬ ─ ─ ─ ─ read, not aired
//!                         │ splice: a clean point, far enough ahead for FFmpeg
//!                         └► clip ──────┬► new, from the keyframe after the clip
//!  new  held ─ ─ ─ ─ ─ ─ ─ ─ read, the clip has its times ┘
//! ```
//!
//! The clip stands picture for picture in the place of the new source's first groups, and AAC frame
//! for frame in the place of its first sounds: to the timeline it is the new source, and what follows
//! it needs no join of its own.
//!
//! - `plan`: where to splice and what to render, from what both have in hand. Pure.
//! - `clip`: what was rendered, in the place of what it stands for. Pure.
//! - `render`: FFmpeg.
//!
//! When one is made is the director's matter; `docs/design/live-takeover.md`, "Transitions".

mod clip;
mod plan;
mod render;

pub use clip::Misfit;
pub use plan::{InHand, Never, Outgoing, Plan, Unfit, Wanted};
pub use render::{Failure, render};

#[cfg(test)]
mod tests;
