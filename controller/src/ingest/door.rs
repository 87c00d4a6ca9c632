//! Where encoders knock: RTMP up to `publish`, then the connection goes to the stream's worker.
//!
//! A connection has five seconds to say what it wants, and at most [`MOST_WAITING`] may be at it,
//! [`MOST_WAITING_OF_ONE`] from one address: a stranger who opens many keeps nobody else out. A wrong key is
//! answered after a second, so that keys cannot be tried fast; media is never read here.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ingest::handoff::{self, Answer, Handoff, Header, VERSION};
use ingest::{Request, accept};
use storage::layout::Layout;
use storage::model::{IngestKey, ObservedState};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Keys;
use crate::chain;
use crate::registry::Registry;

/// From the first byte to `publish`.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between a wrong key and its answer.
const WRONG_KEY_PAUSE: Duration = Duration::from_secs(1);
/// Connections that have not been let in yet.
const MOST_WAITING: usize = 128;
/// Those among them from one address.
const MOST_WAITING_OF_ONE: usize = 8;
/// Whoever knocks without end fills no log.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// After an `accept` that failed: out of descriptors, which others may give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// The open door.
#[derive(Debug, Clone)]
struct Door {
    keys: Keys,
    registry: Registry,
    layout: Layout,
}

/// Lets publishers in until it is dropped.
pub async fn stand_open(listener: TcpListener, keys: Keys, registry: Registry, layout: Layout) {
    let door = Door {
        keys,
        registry,
        layout,
    };
    door.accept_all(listener).await;
}

/// Why a key opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Unfit {
    /// There is none.
    #[error("no key")]
    Missing,
    /// Nobody has it.
    #[error("a wrong key")]
    Unknown,
    /// The URL names another stream than the one it is for.
    #[error("the key of another stream")]
    OfAnother,
}

/// Who is at the door, by address.
#[derive(Debug, Clone, Default)]
struct Waiting(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One place at the door, given back when it is dropped.
#[derive(Debug)]
struct Place {
    waiting: Waiting,
    address: IpAddr,
}

/// Connections that were closed for want of a place, since that was last told.
#[derive(Debug, Default)]
struct Crowd {
    closed: u64,
    told: Option<Instant>,
}

// === impl Unfit ===

impl Unfit {
    /// What the publisher is told.
    fn answer(self) -> &'static str {
        match self {
            Self::Missing => "a stream key is needed here",
            Self::Unknown => "this stream key is not known here",
            Self::OfAnother => "this stream key is that of another stream",
        }
    }
}

// === impl Waiting ===

impl Waiting {
    fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.get(&address).copied().unwrap_or_default();
        if own >= MOST_WAITING_OF_ONE || counts.values().sum::<usize>() >= MOST_WAITING {
            return None;
        }
        counts.insert(address, own + 1);
        Some(Place {
            waiting: self.clone(),
            address,
        })
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self
            .waiting
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

// === impl Crowd ===

impl Crowd {
    /// Another one at `now`; how many it has been, if that is to be told.
    fn one_more(&mut self, now: Instant) -> Option<u64> {
        self.closed += 1;
        if self.told.is_some_and(|told| now < told + TOLD_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.closed))
    }
}

// === impl Door ===

impl Door {
    async fn accept_all(self, listener: TcpListener) {
        let waiting = Waiting::default();
        let mut crowd = Crowd::default();
        let mut guests = JoinSet::new();
        loop {
            while guests.try_join_next().is_some() {}
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "the ingest cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(place) = waiting.enter(from.ip()) else {
                if let Some(closed) = crowd.one_more(Instant::now()) {
                    tracing::warn!(%from, closed, "too many connections wait at the ingest: this one is closed");
                }
                continue;
            };
            let door = self.clone();
            guests.spawn(async move {
                door.receive(stream, from).await;
                drop(place);
            });
        }
    }

    async fn receive(&self, stream: TcpStream, from: SocketAddr) {
        // Media comes in small writes, and each is wanted now.
        drop(stream.set_nodelay(true));
        let request = match accept(stream, PATIENCE).await {
            Ok(request) => request,
            Err(error) => {
                tracing::info!(%from, error = chain(&error), "no publisher at the ingest");
                return;
            }
        };
        let key = match self.judge(&request) {
            Ok(key) => key,
            Err(unfit) => {
                let error_type = "ingest_key_wrong";
                tracing::warn!(%from, error_type, "a publisher with {unfit} was refused");
                tokio::time::sleep(WRONG_KEY_PAUSE).await;
                refuse(request, unfit.answer()).await;
                return;
            }
        };
        let id = &key.stream_id;
        let running = self.registry.status(id).is_ok_and(|status| {
            matches!(
                status.state,
                ObservedState::Starting | ObservedState::Running | ObservedState::Degraded
            )
        });
        if !running {
            tracing::warn!(%from, stream_id = %id, "a publisher was refused: the stream is not running");
            refuse(request, "the stream is not running").await;
            return;
        }
        self.hand_over(request, &key, from).await;
    }

    /// Whose air the request asks for.
    fn judge(&self, request: &Request<TcpStream>) -> Result<IngestKey, Unfit> {
        let (app, name) = (request.app(), request.key());
        let sent = key_of(app, name);
        if sent.is_empty() {
            return Err(Unfit::Missing);
        }
        let key = self.keys.owner(sent).ok_or(Unfit::Unknown)?;
        let named = stream_of(app, name).and_then(|named| named.parse().ok());
        // A name that is no stream's says nothing.
        match named.filter(|named| self.registry.status(named).is_ok()) {
            Some(named) if named != key.stream_id => Err(Unfit::OfAnother),
            Some(_) | None => Ok(key),
        }
    }

    async fn hand_over(&self, request: Request<TcpStream>, key: &IngestKey, from: SocketAddr) {
        let (stream, opening) = request.into_parts();
        let header = Header {
            v: VERSION,
            input: key.input.clone(),
            key_id: key.id.clone(),
            from: from.to_string(),
        };
        let socket = self.layout.ingest_socket(&key.stream_id);
        let sent = tokio::task::spawn_blocking(move || {
            let connection = stream.into_std()?;
            handoff::send(
                &socket,
                Handoff {
                    header,
                    opening,
                    connection,
                },
            )
        })
        .await
        .expect("handing a connection over does not panic");
        let (stream_id, input, key_id) = (&key.stream_id, &key.input, &key.id);
        match sent {
            Ok(Answer::Taken) => {
                tracing::info!(%from, %stream_id, input, key_id, "a publisher was let in");
            }
            Ok(Answer::Refused { code, message }) => {
                tracing::warn!(%from, %stream_id, input, key_id, error_type = code, "a publisher was refused: {message}");
            }
            Err(error) => {
                tracing::warn!(%from, %stream_id, input, key_id, %error, "the worker did not take a publisher over");
            }
        }
    }
}

/// The stream an URL names beside a key in its query: `live/main?key=…`, `live/main/in?key=…`.
fn stream_of<'a>(app: &'a str, name: &'a str) -> Option<&'a str> {
    let (name, query) = name.split_once('?').unwrap_or((name, ""));
    let (app, query_of_app) = app.split_once('?').unwrap_or((app, ""));
    if query.is_empty() && query_of_app.is_empty() {
        // The name is the key itself.
        return None;
    }
    match name {
        "" | "in" => app.rsplit_once('/').map(|(_, last)| last),
        named => Some(named.split('/').next().unwrap_or(named)),
    }
}

/// The stream key, or what stands behind `key=` in it or in the application's query.
fn key_of<'a>(app: &'a str, name: &'a str) -> &'a str {
    let in_query = |text: &'a str| {
        let (_, query) = text.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix("key="))
    };
    in_query(name).or_else(|| in_query(app)).unwrap_or(name)
}

async fn refuse(request: Request<TcpStream>, why: &str) {
    // It may have left already.
    drop(request.refuse(why).await);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn one_address_cannot_take_every_place() {
        let waiting = Waiting::default();
        let stranger = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
        let owner = IpAddr::from(Ipv4Addr::new(192, 0, 2, 2));
        let mut places: Vec<_> = (0..MOST_WAITING_OF_ONE)
            .map(|_| waiting.enter(stranger).expect("a place"))
            .collect();
        assert!(waiting.enter(stranger).is_none());
        assert!(waiting.enter(owner).is_some());
        places.pop();
        assert!(waiting.enter(stranger).is_some());
        drop(places);
        assert!(waiting.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_crowd_is_told_once_in_ten_seconds_and_how_large_it_was() {
        let (mut crowd, now) = (Crowd::default(), Instant::now());
        assert_eq!(crowd.one_more(now), Some(1));
        for _ in 0..500 {
            assert_eq!(crowd.one_more(now + TOLD_EVERY / 2), None);
        }
        assert_eq!(crowd.one_more(now + TOLD_EVERY), Some(501));
    }

    #[test]
    fn a_stream_is_named_beside_the_key_or_not_at_all() {
        for (app, name, stream) in [
            ("live", "KEY", None),
            ("live/main", "KEY", None),
            ("live", "main?key=KEY", Some("main")),
            ("live?key=KEY", "main", Some("main")),
            ("live", "main/in?key=KEY", Some("main")),
            ("live/main", "in?key=KEY", Some("main")),
            ("live/main", "?key=KEY", Some("main")),
            ("live", "?key=KEY", None),
        ] {
            assert_eq!(stream_of(app, name), stream, "{app} {name}");
        }
    }

    #[test]
    fn the_key_stands_in_one_of_three_places() {
        for (app, name) in [
            ("live", "KEY"),
            ("live", "main?key=KEY"),
            ("live", "main?a=b&key=KEY&c=d"),
            ("live?key=KEY", "main?a=b"),
        ] {
            assert_eq!(key_of(app, name), "KEY", "{app} {name}");
        }
        assert_eq!(key_of("live", ""), "");
    }
}
