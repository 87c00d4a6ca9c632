//! Everything that knows FFmpeg's command line and words.
