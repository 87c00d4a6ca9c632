//! The programme resolved against the bucket: lists, remembers what was skipped, says what is next.
