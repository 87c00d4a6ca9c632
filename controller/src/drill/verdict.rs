//! What a fault may cost the viewer, what it did cost, and whether that is within bounds: pure.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Serialize;

/// Whom a fault is allowed to touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Every destination of the channel.
    Channel,
    /// The first destination alone.
    OneDestination,
}

/// The most a fault may cost at a destination it is allowed to touch.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Who may notice.
    pub reach: Reach,
    /// Longest time without a new picture.
    pub hole: Duration,
    /// Slate instead of programme.
    pub slate: RangeInclusive<Duration>,
    /// New connections of each destination within reach.
    pub reconnects: RangeInclusive<usize>,
    /// From the moment it could go on to programme at the viewer.
    pub recovery: Duration,
    /// Pictures may be missing inside a connection: a slow destination is thinned out.
    pub thinned: bool,
}

/// What one destination's viewer saw from before a fault to after its end.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sight {
    /// The destination.
    pub destination: String,
    /// Longest time without a new picture, as they arrived.
    #[serde(rename = "hole_s", serialize_with = "seconds")]
    pub hole: Duration,
    /// Longest step between two pictures of one connection, as they present.
    #[serde(rename = "step_s", serialize_with = "seconds")]
    pub step: Duration,
    /// Slate instead of programme.
    #[serde(rename = "slate_s", serialize_with = "seconds")]
    pub slate: Duration,
    /// Connections that were begun and brought media.
    pub reconnects: usize,
    /// From the moment it could go on to programme at the viewer.
    #[serde(rename = "recovery_s", serialize_with = "seconds")]
    pub recovery: Duration,
    /// Two connections brought media at the same time.
    pub two_at_once: bool,
    /// Pictures out of order, or presented before they are decoded.
    pub undecodable: usize,
}

/// What was beyond its bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Complaint(String);

/// One frame of the drill's clips and a rounded millisecond.
const FRAME: Duration = Duration::from_millis(super::programme::FRAME_MS + 1);
/// Where a film was cut off its last packet may be half of one: a picture that is in no file, and is no
/// slate either. Whoever read ahead airs it long after the cut.
const AT_A_CUT: Duration = Duration::from_millis(2 * super::programme::FRAME_MS);
/// A viewer's buffer is seconds; a machine under load delivers this much late without a loss.
pub const JITTER: Duration = Duration::from_millis(500);

/// A machine that is late itself for so long is not the stream's fault, and never for longer.
const MOST_LATE: Duration = Duration::from_secs(2);

/// What of `sights` is beyond `limits`; the first sight is of the destination the fault was made at.
/// `late` is how late the machine itself was meanwhile, see [`super::lateness`].
pub fn judge(limits: &Limits, sights: &[Sight], late: Duration) -> Vec<Complaint> {
    let late = allowed(late);
    let limits = &Limits {
        hole: limits.hole.saturating_add(late),
        recovery: limits.recovery.saturating_add(late),
        ..limits.clone()
    };
    let spared = Limits {
        hole: JITTER + late,
        reconnects: 0..=0,
        recovery: Duration::MAX,
        thinned: false,
        ..limits.clone()
    };
    let mut complaints = Vec::new();
    for (number, sight) in sights.iter().enumerate() {
        let within = number == 0 || limits.reach == Reach::Channel;
        let bounds = if within { limits } else { &spared };
        complain(bounds, sight, &mut complaints);
    }
    complaints
}

/// What a machine that was `late` may add: everybody on the way from the worker to the platform is as late
/// as the drill was.
pub fn allowed(late: Duration) -> Duration {
    (late * 3).min(MOST_LATE)
}

fn complain(bounds: &Limits, sight: &Sight, into: &mut Vec<Complaint>) {
    let to = &sight.destination;
    let mut say = |wrong: bool, text: fmt::Arguments<'_>| {
        if wrong {
            into.push(Complaint(format!("{to}: {text}")));
        }
    };
    let s = |duration: Duration| duration.as_secs_f64();
    say(
        sight.hole > bounds.hole,
        format_args!(
            "no picture for {:.2} s (at most {:.2} s)",
            s(sight.hole),
            s(bounds.hole)
        ),
    );
    say(
        sight.step > FRAME && !bounds.thinned,
        format_args!("a picture stood still for {:.2} s", s(sight.step)),
    );
    say(
        sight.slate < *bounds.slate.start()
            || sight.slate > bounds.slate.end().saturating_add(AT_A_CUT),
        format_args!(
            "{:.1} s of slate ({:.1} to {:.1} s)",
            s(sight.slate),
            s(*bounds.slate.start()),
            s(*bounds.slate.end())
        ),
    );
    say(
        !bounds.reconnects.contains(&sight.reconnects),
        format_args!(
            "{} reconnects ({} to {})",
            sight.reconnects,
            bounds.reconnects.start(),
            bounds.reconnects.end()
        ),
    );
    say(
        sight.recovery > bounds.recovery,
        format_args!(
            "programme again after {:.2} s (at most {:.2} s)",
            s(sight.recovery),
            s(bounds.recovery)
        ),
    );
    say(sight.two_at_once, format_args!("two publishers at once"));
    say(
        sight.undecodable > 0,
        format_args!("{} pictures out of order", sight.undecodable),
    );
}

fn seconds<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

// === impl Limits ===

impl Limits {
    /// Nobody notices anything.
    pub const fn unnoticed() -> Self {
        Self {
            reach: Reach::Channel,
            hole: JITTER,
            slate: Duration::ZERO..=Duration::ZERO,
            reconnects: 0..=0,
            recovery: Duration::from_secs(5),
            thinned: false,
        }
    }

    /// One destination is lost and comes back.
    pub const fn one_destination(hole: Duration, recovery: Duration) -> Self {
        Self {
            reach: Reach::OneDestination,
            hole,
            reconnects: 1..=1,
            recovery,
            ..Self::unnoticed()
        }
    }
}

// === impl Complaint ===

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn quiet(destination: &str) -> Sight {
        Sight {
            destination: destination.into(),
            hole: Duration::from_millis(60),
            step: Duration::from_millis(40),
            ..Sight::default()
        }
    }

    fn told(limits: &Limits, sights: &[Sight]) -> String {
        let all: Vec<_> = judge(limits, sights, Duration::ZERO)
            .iter()
            .map(Complaint::to_string)
            .collect();
        all.join("; ")
    }

    #[test]
    fn a_lost_destination_may_be_dark_but_only_that_one() {
        let limits = Limits::one_destination(SECOND * 4, SECOND * 3);
        let lost = Sight {
            hole: SECOND * 3,
            reconnects: 1,
            recovery: SECOND,
            ..quiet("a")
        };
        assert_eq!(told(&limits, &[lost.clone(), quiet("b")]), "");
        let both = [
            lost.clone(),
            Sight {
                destination: "b".into(),
                ..lost.clone()
            },
        ];
        let said = told(&limits, &both);
        assert!(said.contains("b: no picture for 3.00 s") && said.contains("b: 1 reconnects"));
        assert!(!said.contains("a: "), "{said}");
        let never = told(&limits, &[quiet("a"), quiet("b")]);
        assert!(
            never.contains("0 reconnects"),
            "the fault had no effect: {never}"
        );
    }

    #[test]
    fn a_late_machine_is_allowed_for_within_bounds() {
        let slow = Sight {
            hole: SECOND * 2,
            ..quiet("a")
        };
        let limits = Limits::unnoticed();
        assert_eq!(
            judge(&limits, std::slice::from_ref(&slow), Duration::ZERO).len(),
            1
        );
        assert_eq!(judge(&limits, std::slice::from_ref(&slow), SECOND / 2), []);
        let dark = Sight {
            hole: SECOND * 4,
            ..slow
        };
        assert_eq!(judge(&limits, &[dark], SECOND * 60).len(), 1);
    }

    #[test]
    fn a_frozen_picture_two_publishers_and_unwanted_slate_are_told_everywhere() {
        let limits = Limits::unnoticed();
        let flawed = Sight {
            step: SECOND,
            slate: SECOND,
            two_at_once: true,
            undecodable: 2,
            ..quiet("b")
        };
        let said = told(&limits, &[quiet("a"), flawed]);
        for part in ["stood still", "of slate", "two publishers", "out of order"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
