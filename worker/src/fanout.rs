//! Hands every released packet to every output.
