//! Everything that knows FFmpeg's command line and words.
//!
//! | module | knows |
//! | --- | --- |
//! | [`input`] | how a file of the programme is read, copied or transcoded |
//! | [`live`] | how a live feed is pulled, or brought into the stream's format |
//! | [`probe`] | how a file is looked into before that |
//! | [`slate`] | how the slate is rendered |
//! | [`transition`] | how one source is led over into another |
//! | [`encode`] | how a picture and a sound are brought into a stream's format |
//! | [`run`] | FFmpeg's lines: level, log, tail |
//! | [`redact`] | what a line may not show |
//! | [`publish`] | how FLV is published, and its key kept out of sight |
//! | [`classify`] | what a destination's failure means |

pub mod classify;
pub mod encode;
pub mod input;
pub mod live;
pub mod probe;
pub mod publish;
pub mod redact;
pub mod run;
pub mod slate;
pub mod transition;
