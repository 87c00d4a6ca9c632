//! Files as people have them, through the real FFmpeg, media server and folder store, to the queue.
//!
//! `FFMPEG_BIN` chooses the FFmpeg that plays; the files are made by the one in `PATH`, once, into
//! the target directory.

#![expect(clippy::unwrap_used, reason = "what fails in the rig fails the test")]

mod bad;
mod catalogue;
mod copied;
mod fixtures;
mod rig;
mod slate;
mod transcoded;
