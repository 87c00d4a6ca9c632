//! The command line of a look into a file, within bounds.

use std::path::Path;
use std::time::Duration;

use programme::fit::ffprobe_args;
use supervise::{CaptureLimits, Spec};

use super::input::http_reading;

/// A store that is slower than this cannot be played from either.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// What a look may use up. A file with many tracks has a few kilobytes to say.
pub const LIMITS: CaptureLimits = CaptureLimits {
    timeout: TIME_LIMIT,
    max_bytes: 512 * 1024,
};

/// `ffprobe` of `url`, a loopback address of the media server. Its output is for
/// [`programme::fit::parse_ffprobe`].
pub fn spec(ffprobe: &Path, url: &str) -> Spec {
    Spec::new(ffprobe)
        .args(ffprobe_args())
        // Only a warning tells a text named `.mp4` from a film that was cut off.
        .args(["-v", "warning"])
        .args(http_reading())
        .args(["-i", url])
}
