//! How busy the machine was: what a test allows beyond what it asks of the product.

use std::fs;
use std::time::Duration;

/// An instant, and how long something on this machine had waited for a processor until then.
#[derive(Debug, Clone, Copy)]
pub struct Pressure {
    waited: Option<Duration>,
}

impl Pressure {
    /// Now.
    pub fn now() -> Self {
        Self { waited: read() }
    }

    /// What takes `limit` on an idle machine may take so much longer as something has waited for a processor
    /// since then, at most three times as long. A kernel that does not tell is taken for a busy one.
    pub fn allows(self, limit: Duration) -> Duration {
        let waited = self.waited.zip(read());
        let waited = waited.map_or(Duration::MAX, |(then, now)| now.saturating_sub(then));
        limit + waited.min(limit * 2)
    }
}

/// The account of the kernel (`/proc/pressure/cpu`, from 4.20 on).
fn read() -> Option<Duration> {
    let text = fs::read_to_string("/proc/pressure/cpu").ok()?;
    let some = text.lines().find(|line| line.starts_with("some"))?;
    let mut words = some.split_whitespace();
    let total = words.find_map(|word| word.strip_prefix("total="))?;
    Some(Duration::from_micros(total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_grows_by_what_was_waited_and_no_more_than_threefold() {
        let second = Duration::from_secs(1);
        let allowed = Pressure::now().allows(second);
        assert!(allowed >= second && allowed <= second * 3, "{allowed:?}");
        assert_eq!(Pressure { waited: None }.allows(second), second * 3);
    }
}
