//! One destination: its state, queue, FFmpeg and back-off.
