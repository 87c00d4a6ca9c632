//! From what a platform has received to what its viewer saw: pure.

use std::time::{Duration, Instant};

use ingest::receiver::{Connection, Message};
use ingest::viewer::{Report, outages};

use super::programme::{FRAME_MS, Programme};
use super::verdict::{JITTER, Sight, allowed};

/// Pictures are sent every 40 ms; what is longer than this is a hole worth naming.
const TOLERANCE: Duration = Duration::from_millis(200);

/// The piece of time that is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Before the fault.
    pub begins: Instant,
    /// When it was possible to go on.
    pub healed: Instant,
    /// After it.
    pub ends: Instant,
    /// A programme that did not arrive for longer was away.
    pub away_after: Duration,
}

// === impl Window ===

impl Window {
    /// On a machine that was `late` itself.
    pub fn seen_at(self, late: Duration) -> Self {
        Self {
            away_after: JITTER + allowed(late),
            ..self
        }
    }
}

/// What the viewer of `destination` saw.
pub fn sight(
    destination: &str,
    connections: &[Connection],
    programme: &Programme,
    window: Window,
) -> Sight {
    let within: Vec<Vec<Message>> = connections
        .iter()
        .map(|connection| {
            let messages = connection.messages.iter();
            let inside = |m: &&Message| (window.begins..=window.ends).contains(&m.arrived);
            messages.filter(inside).copied().collect()
        })
        .collect();
    let reports: Vec<Report> = within.iter().map(|messages| Report::of(messages)).collect();
    let step_ms = reports.iter().map(|r| r.longest_step_ms).max();
    let slate = within
        .iter()
        .flatten()
        .filter(|m| m.tag.is_picture() && !programme.has(&m.tag))
        .count();
    Sight {
        destination: destination.to_owned(),
        hole: longest_hole(connections, window),
        step: Duration::from_millis(step_ms.unwrap_or_default().try_into().unwrap_or_default()),
        slate: Duration::from_millis(FRAME_MS) * u32::try_from(slate).unwrap_or(u32::MAX),
        reconnects: begun(connections, window),
        recovery: recovery(connections, programme, window),
        two_at_once: two_at_once(connections),
        undecodable: reports
            .iter()
            .map(|r| r.decode_order_errors + r.presented_before_decoded)
            .sum(),
    }
}

fn longest_hole(connections: &[Connection], window: Window) -> Duration {
    let all = outages(connections, window.begins, window.ends, TOLERANCE);
    let lengths = all.iter().map(|outage| outage.length(window.ends));
    lengths.max().unwrap_or_default()
}

fn begun(connections: &[Connection], window: Window) -> usize {
    connections
        .iter()
        .filter_map(|connection| Some(connection.frames().next()?.arrived))
        .filter(|arrived| (window.begins..=window.ends).contains(arrived))
        .count()
}

/// From `healed` to the last return of the programme after it; zero when it was not away by then.
fn recovery(connections: &[Connection], programme: &Programme, window: Window) -> Duration {
    let mut arrivals: Vec<Instant> = connections
        .iter()
        .flat_map(|connection| &connection.messages)
        .filter(|m| m.tag.is_picture() && programme.has(&m.tag) && m.arrived <= window.ends)
        .map(|m| m.arrived)
        .collect();
    arrivals.sort_unstable();
    let mut returns = arrivals.windows(2).filter(|pair| {
        pair[1] > window.healed && pair[1] - pair[0] > window.away_after && pair[1] > window.begins
    });
    let returned = match returns.next_back() {
        Some(pair) => pair[1],
        None => window.healed,
    };
    // A programme that has not come back by the end has taken at least until then.
    match arrivals.last() {
        Some(last) if window.ends.saturating_duration_since(*last) <= Duration::from_secs(1) => {
            returned.saturating_duration_since(window.healed)
        }
        _ => window.ends.saturating_duration_since(window.healed),
    }
}

/// Whether media of an older connection came after the first of a newer one.
fn two_at_once(connections: &[Connection]) -> bool {
    let spans: Vec<(Instant, Instant)> = connections
        .iter()
        .filter_map(|connection| {
            let first = connection.frames().next()?.arrived;
            let last = connection.frames().last()?.arrived;
            Some((first, last))
        })
        .collect();
    spans.windows(2).any(|pair| pair[0].1 > pair[1].0)
}

#[cfg(test)]
mod tests {
    use ingest::Track;

    use ingest::Tag;

    use super::*;

    const FRAME: Duration = Duration::from_millis(FRAME_MS);

    fn picture(number: u8, kind: u8) -> Tag {
        let dts_ms = i64::from(number) * 40;
        Tag::parse(Track::Video, dts_ms, &[0x17, 1, 0, 0, 0, number, kind])
    }

    /// Pictures `numbers` of programme (1) or slate (2), the first at `from`.
    fn connection(from: Instant, pictures: &[(u8, u8)]) -> Connection {
        let message = |(place, (number, kind)): (usize, &(u8, u8))| Message {
            tag: picture(*number, *kind),
            arrived: from + FRAME * u32::try_from(place).unwrap(),
        };
        Connection {
            app: "live".into(),
            key: "key".into(),
            opened: from,
            closed: None,
            unpublished: false,
            error: None,
            messages: pictures.iter().enumerate().map(message).collect(),
        }
    }

    fn of_kind(kind: u8, count: u8) -> Vec<(u8, u8)> {
        (0..count).map(|number| (number, kind)).collect()
    }

    fn programme() -> Programme {
        let tags: Vec<Tag> = (0..200).map(|number| picture(number, 1)).collect();
        Programme::of(tags.iter())
    }

    #[test]
    fn a_lost_connection_is_a_hole_a_reconnect_and_a_recovery() {
        let start = Instant::now();
        let killed = start + FRAME * 49;
        let back = killed + Duration::from_millis(900);
        let all = [
            connection(start, &of_kind(1, 50)),
            connection(back, &of_kind(1, 50)),
        ];
        let window = Window {
            begins: start + FRAME,
            healed: killed,
            ends: back + FRAME * 49,
            away_after: JITTER,
        };
        let seen = sight("a", &all, &programme(), window);
        assert_eq!(seen.hole, Duration::from_millis(900));
        assert_eq!(seen.recovery, Duration::from_millis(900));
        assert_eq!((seen.reconnects, seen.slate), (1, Duration::ZERO));
        assert_eq!((seen.step, seen.two_at_once), (FRAME, false));
    }

    #[test]
    fn slate_counts_and_the_programme_must_come_back() {
        let start = Instant::now();
        let mut pictures = of_kind(1, 25);
        pictures.extend((25..75).map(|number| (number, 2)));
        let window = |ends: u32| Window {
            begins: start,
            healed: start + FRAME * 50,
            ends: start + FRAME * ends,
            away_after: JITTER,
        };
        let gone = sight(
            "a",
            &[connection(start, &pictures)],
            &programme(),
            window(76),
        );
        assert_eq!(gone.slate, Duration::from_secs(2));
        assert_eq!(gone.recovery, FRAME * 26, "not back by the end");
        pictures.extend((75..125).map(|number| (number, 1)));
        let back = sight(
            "a",
            &[connection(start, &pictures)],
            &programme(),
            window(124),
        );
        assert_eq!(back.slate, Duration::from_secs(2));
        assert_eq!(back.recovery, FRAME * 25);
        assert_eq!(back.hole, Duration::ZERO);
    }

    #[test]
    fn two_publishers_are_seen() {
        let start = Instant::now();
        let one = connection(start, &of_kind(1, 50));
        let two = connection(start + FRAME * 49, &of_kind(1, 10));
        assert!(!two_at_once(&[one.clone(), two]));
        let two = connection(start + FRAME * 20, &of_kind(1, 10));
        assert!(two_at_once(&[one, two]));
    }
}
