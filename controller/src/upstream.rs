//! Who else has a say in what is on air: OBS, and media servers in front of us.

pub mod mediamtx;
pub mod obs;
