//! Everything that knows FFmpeg's command line and words.
pub mod classify;
