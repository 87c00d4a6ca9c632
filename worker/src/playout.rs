//! The one task that owns director and timeline, and releases packets by the clock.
