//! The air record against what the platforms received: every gap that one has, the other has too, with
//! the same beginning and end.

use std::time::{Duration, Instant};

use anyhow::Context;
use hyper::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::drill::rest;
use crate::drill::verdict::allowed;
use crate::drill::world::World;

/// Shorter ones are a matter of taste: no connection was lost for them.
const WORTH_NAMING: Duration = Duration::from_millis(700);
/// A few pictures that were under way when a connection died, and arrive later, are no return: neither
/// before another hole nor before the next connection.
const NO_RETURN: Duration = Duration::from_millis(500);
/// How far both may be apart at either end.
const AGREE_WITHIN: SignedDuration = SignedDuration::from_millis(250);
/// The newest entries of the journals are imported by then.
const IMPORTED_WITHIN: Duration = Duration::from_secs(15);

/// Hears the gaps of every destination while the soak goes on.
#[derive(Debug)]
pub(super) struct Ears {
    begun: Instant,
    /// The same moment by the wall clock, which nobody sets during a soak.
    begun_at: Timestamp,
    destinations: Vec<Heard>,
}

#[derive(Debug)]
struct Heard {
    channel: usize,
    number: usize,
    /// Arrival of the newest picture.
    last: Instant,
    /// The connection it came on, as the platform counts them.
    connection: usize,
    outages: Vec<Outage>,
    /// Times of which nothing is asked.
    ignored: Vec<(Instant, Instant)>,
}

/// A time in which a platform received no picture.
#[derive(Debug)]
struct Outage {
    began: Instant,
    ended: Instant,
}

/// The same, beside the record.
#[derive(Debug, Clone, Copy)]
struct Seen {
    gap: Gap,
    /// How late the machine itself was then. What only that has held up is no gap, and may be none in the
    /// record.
    late: SignedDuration,
}

/// How far the record and the platforms agree.
#[derive(Debug, Default, Serialize)]
pub(super) struct Agreement {
    /// Gaps that both have.
    gaps: usize,
    /// The most they are apart at an end.
    worst_ms: i64,
    complaints: Vec<String>,
}

/// A gap of the record.
#[derive(Debug, Clone, Copy)]
struct Gap {
    start: Timestamp,
    end: Timestamp,
}

// === impl Ears ===

impl Ears {
    /// From now on.
    pub(super) fn open(world: &World) -> Self {
        let begun = Instant::now();
        let destinations = world
            .channels
            .iter()
            .enumerate()
            .flat_map(|(channel, it)| (0..it.destinations.len()).map(move |n| (channel, n)))
            .map(|(channel, number)| Heard {
                channel,
                number,
                last: begun,
                connection: 0,
                outages: Vec::new(),
                ignored: Vec::new(),
            })
            .collect();
        Self {
            begun,
            begun_at: Timestamp::now(),
            destinations,
        }
    }

    /// Hears what has come since the last time, before it is forgotten.
    pub(super) fn listen(&mut self, world: &World) {
        for heard in &mut self.destinations {
            let destination = &world.channels[heard.channel].destinations[heard.number];
            let mut pictures: Vec<(Instant, usize)> = destination.platform.log().look(|all| {
                let messages = all.iter().enumerate().flat_map(|(number, connection)| {
                    let messages = connection.messages.iter();
                    messages.map(move |message| (message, number))
                });
                messages
                    .filter(|(message, _)| message.tag.is_picture() && message.arrived > heard.last)
                    .map(|(message, number)| (message.arrived, number))
                    .collect()
            });
            pictures.sort_unstable();
            for (arrived, connection) in pictures {
                heard.hear(arrived, connection);
            }
        }
    }

    /// Nothing is asked of the first destination of `channel` between `since` and now.
    pub(super) fn ignore(&mut self, channel: usize, since: Instant) {
        let of_it = |heard: &&mut Heard| heard.channel == channel && heard.number == 0;
        if let Some(heard) = self.destinations.iter_mut().find(of_it) {
            heard.ignored.push((since, Instant::now()));
        }
    }

    /// Asks for the record, until it agrees with what was heard or the time is up; `None` where no record
    /// is kept.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(super) async fn compare(&mut self, world: &World) -> anyhow::Result<Option<Agreement>> {
        let asked = Instant::now();
        loop {
            self.listen(world);
            let Some(agreement) = self.agreement(world).await? else {
                return Ok(None);
            };
            if agreement.complaints.is_empty() || asked.elapsed() > IMPORTED_WITHIN {
                return Ok(Some(agreement));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn agreement(&self, world: &World) -> anyhow::Result<Option<Agreement>> {
        let mut agreement = Agreement::default();
        for heard in &self.destinations {
            let channel = &world.channels[heard.channel];
            let name = &channel.destinations[heard.number].name;
            let path = format!(
                "/health/incidents?stream_id={}&destination={name}&limit=1000",
                channel.id
            );
            let (status, answer) = rest::call(world.address()?, Method::GET, &path, None).await?;
            if status == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let gaps = gaps(&answer, self.begun_at)?;
            let ignored = |gap: &Gap| {
                let within = |(from, to): &(Instant, Instant)| {
                    gap.start <= self.at(*to) && gap.end >= self.at(*from)
                };
                heard.ignored.iter().any(within)
            };
            let told: Vec<Gap> = gaps.into_iter().filter(|gap| !ignored(gap)).collect();
            let seen: Vec<Seen> = heard
                .outages
                .iter()
                .map(|outage| self.seen(world, outage))
                .filter(|seen| !ignored(&seen.gap))
                .collect();
            agreement.hold(&format!("{}/{name}", channel.id), &seen, &told);
        }
        Ok(Some(agreement))
    }

    fn seen(&self, world: &World, outage: &Outage) -> Seen {
        let (start, end) = (self.at(outage.began), self.at(outage.ended));
        let late = world.lateness.between(outage.began, outage.ended);
        Seen {
            gap: Gap { start, end },
            late: SignedDuration::try_from(allowed(late)).unwrap_or_default(),
        }
    }

    fn at(&self, instant: Instant) -> Timestamp {
        let since = SignedDuration::try_from(instant.saturating_duration_since(self.begun));
        self.begun_at + since.unwrap_or_default()
    }
}

/// The ended gaps of an answer that began after `since`.
fn gaps(answer: &Value, since: Timestamp) -> anyhow::Result<Vec<Gap>> {
    let all = answer["incidents"]
        .as_array()
        .context("no list of incidents")?;
    let mut gaps = Vec::new();
    for incident in all.iter().filter(|incident| incident["kind"] == "gap") {
        let time = |name: &str| -> anyhow::Result<Option<Timestamp>> {
            let text = incident[name].as_str();
            Ok(text.map(str::parse).transpose()?)
        };
        let start = time("start")?.context("an incident without a start")?;
        if let Some(end) = time("end")?
            && start >= since
        {
            gaps.push(Gap { start, end });
        }
    }
    Ok(gaps)
}

// === impl Heard ===

impl Heard {
    /// The next picture, and the number of its connection.
    fn hear(&mut self, arrived: Instant, connection: usize) {
        let last = std::mem::replace(&mut self.last, arrived);
        let is_next_connection = connection > self.connection;
        self.connection = self.connection.max(connection);
        let is_hole = arrived - last > WORTH_NAMING;
        if !is_hole && !is_next_connection {
            return;
        }
        let went_on = |outage: &&mut Outage| last - outage.ended < NO_RETURN;
        match self.outages.last_mut().filter(went_on) {
            Some(outage) => outage.ended = arrived,
            None if is_hole => self.outages.push(Outage {
                began: last,
                ended: arrived,
            }),
            // Shorter than what is worth naming.
            None => {}
        }
    }
}

// === impl Agreement ===

impl Agreement {
    /// What is in one and not in the other.
    pub(super) fn complaints(&self) -> Vec<String> {
        self.complaints.clone()
    }

    fn hold(&mut self, whose: &str, seen: &[Seen], told: &[Gap]) {
        let long = SignedDuration::try_from(WORTH_NAMING).unwrap_or_default();
        let mut left = told.to_vec();
        for Seen { gap, late } in seen {
            let same = (0..left.len()).filter(|n| left[*n].overlaps(gap));
            let Some(nearest) = same.min_by_key(|n| left[*n].apart(gap)) else {
                if gap.length() > long + *late {
                    let complaint = format!("{whose}: {gap} is not in the record");
                    self.complaints.push(complaint);
                }
                continue;
            };
            let nearest = left.remove(nearest);
            let apart = nearest.apart(gap);
            if apart <= AGREE_WITHIN + *late {
                self.gaps += 1;
                let ms = i64::try_from(apart.as_millis()).unwrap_or(i64::MAX);
                self.worst_ms = self.worst_ms.max(ms);
            } else {
                self.complaints
                    .push(format!("{whose}: {gap} is {nearest} in the record"));
            }
        }
        for gap in left {
            // The record names shorter ones, too.
            if gap.length() > long + AGREE_WITHIN {
                self.complaints
                    .push(format!("{whose}: {gap} is in the record alone"));
            }
        }
    }
}

// === impl Gap ===

impl Gap {
    fn length(&self) -> SignedDuration {
        self.end.duration_since(self.start)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// How far they are apart, at the end where it is more.
    fn apart(&self, other: &Self) -> SignedDuration {
        let starts = self.start.duration_since(other.start).abs();
        starts.max(self.end.duration_since(other.end).abs())
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} to {:.3}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(start_ms: i64, end_ms: i64) -> Gap {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        Gap {
            start: at(start_ms),
            end: at(end_ms),
        }
    }

    /// Hears pictures that came so many ms after the beginning, on the connections of these numbers; the
    /// outages, in ms.
    fn heard(pictures: impl IntoIterator<Item = (u64, usize)>) -> Vec<(u128, u128)> {
        let begun = Instant::now();
        let mut heard = Heard {
            channel: 0,
            number: 0,
            last: begun,
            connection: 0,
            outages: Vec::new(),
            ignored: Vec::new(),
        };
        for (ms, connection) in pictures {
            heard.hear(begun + Duration::from_millis(ms), connection);
        }
        let since = |at: Instant| (at - begun).as_millis();
        let told = |outage: &Outage| (since(outage.began), since(outage.ended));
        heard.outages.iter().map(told).collect()
    }

    #[test]
    fn pictures_that_were_under_way_do_not_end_a_gap() {
        let flowing = (5_100..6_000).step_by(40).map(|ms| (ms, 1));
        let pictures = [(40, 0), (4_000, 0), (4_080, 0)].into_iter().chain(flowing);
        let found = heard(pictures.chain([(8_000, 1)]));
        assert_eq!(found, [(40, 5_100), (5_980, 8_000)]);
    }

    #[test]
    fn a_gap_ends_with_the_next_connection_however_soon_that_follows_what_was_under_way() {
        let late = [(40, 3), (4_355, 3), (4_395, 3)];
        let next = (5_019..9_000).step_by(40).map(|ms| (ms, 4));
        assert_eq!(heard(late.into_iter().chain(next)), [(40, 5_019)]);

        // What goes on for longer is a return, and the next connection's beginning a gap of its own.
        let back = (4_355..5_000).step_by(40).map(|ms| (ms, 3));
        let soon = (5_500..6_000).step_by(40).map(|ms| (ms, 4));
        let both = [(40, 3)].into_iter().chain(back).chain(soon);
        assert_eq!(
            heard(both),
            [(40, 4_355)],
            "the second is too short to name"
        );

        // A connection that began already is no next one, whatever arrives of the one before.
        let mixed = [(40, 0), (2_000, 1), (2_030, 0), (2_040, 1), (2_080, 1)];
        assert_eq!(heard(mixed), [(40, 2_000)]);
    }

    #[test]
    fn a_gap_must_be_in_both_with_the_same_ends() {
        let mut agreement = Agreement::default();
        let seen = |start, end| Seen {
            gap: gap(start, end),
            late: SignedDuration::ZERO,
        };
        let both = [seen(1_000, 3_000), seen(10_000, 11_000)];
        agreement.hold("x/a", &both, &[gap(1_100, 2_800), gap(10_000, 11_000)]);
        assert_eq!((agreement.gaps, agreement.worst_ms), (2, 200));
        assert!(agreement.complaints.is_empty());

        agreement.hold("x/a", &both, &[gap(1_000, 3_400)]);
        assert_eq!(agreement.complaints.len(), 2, "{:?}", agreement.complaints);
        agreement.hold("x/b", &[], &[gap(0, 300), gap(5_000, 8_000)]);
        assert_eq!(agreement.complaints.len(), 3);
        assert!(agreement.complaints[2].contains("in the record alone"));

        let late = Seen {
            late: SignedDuration::from_millis(500),
            ..seen(20_000, 21_100)
        };
        agreement.hold("x/c", &[late], &[]);
        assert_eq!(agreement.complaints.len(), 3, "it was the machine");
    }
}
