//! Everything that knows FFmpeg's command line and words.
//!
//! | module | knows |
//! | --- | --- |
//! | [`encode`] | how a picture and a sound are brought into a stream's format |
//! | [`run`] | FFmpeg's lines: level, log, tail |
//! | [`redact`] | what a line may not show |
//! | [`classify`] | what a destination's failure means |

pub mod classify;
pub mod encode;
pub mod redact;
pub mod run;
