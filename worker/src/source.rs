//! What yields packets: files through FFmpeg, and the slate from memory.

pub mod queue;
