//! The HLS preview: an output that exists while someone watches.
