//! When a connection has to be made anew although nothing is wrong with it. Pure.
//!
//! FLV's clock has 31 bits and wraps after 24.8 days, and Twitch ends a broadcast after 48 hours.
//! Both are met by renewing earlier: at a join between items when one comes in time, else at any
//! keyframe.

use std::time::Duration;

/// From this share of the limit on, a join is taken.
const AT_JOIN_PERCENT: u32 = 75;
/// From this share of the limit on, any keyframe is.
const FORCED_PERCENT: u32 = 95;

const HOUR: u64 = 3600;
const TWITCH_LIMIT: Duration = Duration::from_secs(48 * HOUR);
const CLOCK_LIMIT: Duration = Duration::from_secs(24 * 24 * HOUR);

/// How long a connection may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    limit: Duration,
    /// From this age on, a join is taken.
    at_join_after: Duration,
}

/// Kinds of keyframe at which a connection can be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opportunity {
    /// The first after a join between items.
    Join,
    /// Any other.
    Keyframe,
}

impl Renewal {
    /// For connections to `host`, at joins from `after_s` on where that is wished.
    pub fn of(host: &str, after_s: Option<u32>) -> Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let within = |domain: &str| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let twitch = within("twitch.tv") || within("live-video.net");
        let limit = if twitch { TWITCH_LIMIT } else { CLOCK_LIMIT };
        let latest = limit * AT_JOIN_PERCENT / 100;
        let wished = after_s.map(|secs| Duration::from_secs(secs.into()));
        Self {
            limit,
            at_join_after: wished.unwrap_or(latest).min(latest),
        }
    }

    /// Whether a connection of this age is to be renewed at this keyframe.
    pub fn is_due(self, age: Duration, at: Opportunity) -> bool {
        let from = match at {
            Opportunity::Join => self.at_join_after,
            Opportunity::Keyframe => self.limit * FORCED_PERCENT / 100,
        };
        age >= from
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn twitch_is_known_by_its_domains_only() {
        for host in [
            "live.twitch.tv",
            "LIVE.Twitch.TV.",
            "twitch.tv",
            "ingest.global-contribute.live-video.net",
        ] {
            assert_eq!(Renewal::of(host, None).limit, TWITCH_LIMIT, "{host}");
        }
        for host in [
            "nottwitch.tv",
            "twitch.tv.example.org",
            "a.rtmps.youtube.com",
            "",
            "127.0.0.1",
        ] {
            assert_eq!(Renewal::of(host, None).limit, CLOCK_LIMIT, "{host}");
        }
    }

    #[test]
    fn a_join_is_taken_from_three_quarters_on_and_any_keyframe_near_the_end() {
        let renewal = Renewal::of("live.twitch.tv", None);
        let hours = |h: f64| Duration::from_secs_f64(h * 3600.0);
        assert!(!renewal.is_due(hours(35.9), Opportunity::Join));
        assert!(renewal.is_due(hours(36.0), Opportunity::Join));
        assert!(!renewal.is_due(hours(45.5), Opportunity::Keyframe));
        assert!(renewal.is_due(hours(45.6), Opportunity::Keyframe));
    }

    #[test]
    fn a_join_may_be_wished_for_earlier_and_never_later() {
        let hours = |h: u64| Duration::from_secs(h * HOUR);
        let daily = Renewal::of("live.twitch.tv", Some(24 * 3600));
        assert!(!daily.is_due(hours(23), Opportunity::Join));
        assert!(daily.is_due(hours(24), Opportunity::Join));
        assert!(!daily.is_due(hours(45), Opportunity::Keyframe));
        let weekly = Renewal::of("live.twitch.tv", Some(7 * 24 * 3600));
        assert!(weekly.is_due(hours(36), Opportunity::Join));
    }

    proptest! {
        /// Whatever the length of items and groups of pictures (up to two hours and one minute),
        /// no connection in sixty days reaches its limit or FLV's wrap.
        #[test]
        fn no_connection_in_sixty_days_reaches_its_limit(
            gop_s in 1u64..60, item_s in 60u64..7200, twitch: bool,
        ) {
            let renewal = Renewal::of(if twitch { "live.twitch.tv" } else { "a.rtmp.youtube.com" }, None);
            let (mut began, mut longest, mut renewals) = (0, 0, 0);
            let mut now = 0;
            while now < 60 * 24 * HOUR {
                // Steps of a whole item are enough to meet the joins; near the end, of a keyframe.
                let age = Duration::from_secs(now - began);
                let (step, at) = if renewal.is_due(age + Duration::from_secs(item_s), Opportunity::Keyframe) {
                    (gop_s, Opportunity::Keyframe)
                } else {
                    (item_s, Opportunity::Join)
                };
                if renewal.is_due(age, at) {
                    longest = longest.max(now - began);
                    began = now;
                    renewals += 1;
                }
                now += step;
            }
            prop_assert!(Duration::from_secs(longest) < renewal.limit);
            prop_assert!(longest * 1000 < 1 << 31);
            let least = if twitch { 30 } else { 2 };
            prop_assert!(renewals >= least);
        }
    }
}
