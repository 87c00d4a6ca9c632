//! `stream-worker`: one stream's on-air chain. The design is in `docs/design/on-air-chain.md`.
//!
//! ```text
//! media store ─ source ─ queue ─┐
//!               source ─ queue ─┼─ playout (director, timeline, pacer) ─ fanout ─┬─ output ─ ffmpeg
//!               slate ──────────┘                                                └─ output ─ ffmpeg
//! ```
//!
//! Floors, each using only what lies below it: `main` → `startup` → `house` → `control` → `playout` →
//! `director`, `fanout` → `source`, `timeline`, `transition`, `output`, `catalogue` → `ffmpeg`, `flv`, `journal`,
//! `position`. What is handed over to another program is known to each floor for itself; `handover`
//! stands beside them all.

pub mod catalogue;
pub mod control;
pub mod director;
pub mod fanout;
pub mod ffmpeg;
pub mod flv;
pub mod handover;
pub mod house;
pub mod job;
pub mod journal;
pub mod logging;
pub mod output;
pub mod playout;
pub mod position;
pub mod preview;
pub mod source;
pub mod startup;
pub mod timeline;
pub mod transition;
pub mod wish;
