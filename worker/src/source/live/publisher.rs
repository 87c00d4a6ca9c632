//! A feed of the built-in ingest: one publisher at a time.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use ingest::handoff::Answer;
use ingest::{Error, Media, Publisher, Request, Track};
use storage::model::ErrorReport;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::door::turned_away;
use super::intake::{DecodeTimes, Intake};
use super::{Common, Feed, Order, fault};
use crate::flv::Packet;
use crate::flv::message::{self, MessageError};

/// A publisher that was silent for so long gives way to another one.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(5);
/// One that is silent for so long is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// An encoder reads its answer at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Somebody who wants to publish, and may.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) request: Request<TcpStream>,
    /// Which key let it in; not the key.
    pub(super) key_id: String,
    pub(super) from: String,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// One publisher's time.
struct Session<'a> {
    feed: &'a Arc<Feed>,
    intake: Intake<'a>,
    key_id: String,
    heard: Instant,
    clock: Clock,
}

/// The 32 bits of RTMP's time, which wrap.
#[derive(Debug, Default)]
struct Clock {
    last_ms: i64,
    begun: bool,
}

/// Why a session is over.
enum Over {
    Goodbye,
    Vanished,
    Revoked,
    Fault(ErrorReport),
    GivesWay(Box<Arrival>),
}

/// Takes publishers one after another until nobody can send any more.
pub(super) async fn keep_receiving(
    common: &Common,
    feed: &Arc<Feed>,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut waiting = None;
    loop {
        let arrival = match waiting.take() {
            Some(arrival) => arrival,
            None => match orders.recv().await {
                Some(Order::Publisher(arrival)) => arrival,
                Some(Order::Look | Order::EndPublisher(_)) => continue,
                None => return,
            },
        };
        waiting = receive(common, feed, *arrival, &mut orders).await;
    }
}

/// One publisher, until it is over; returns the one it gives way to.
async fn receive(
    common: &Common,
    feed: &Arc<Feed>,
    arrival: Arrival,
    orders: &mut mpsc::Receiver<Order>,
) -> Option<Box<Arrival>> {
    let Arrival {
        request,
        key_id,
        from,
        answer,
    } = arrival;
    // The controller may have gone meanwhile; the publisher is here all the same.
    let _unread = answer.send(Answer::Taken);
    let input = &feed.name;
    tracing::info!(input, from, key_id, "a publisher has come");
    feed.facts().error = None;
    feed.connecting(Some(from.clone()));
    let mut publisher = match timeout(ANSWER_LIMIT, request.accept()).await {
        Ok(Ok(publisher)) => publisher,
        Ok(Err(_)) | Err(_) => {
            feed.over(None);
            return None;
        }
    };
    feed.buffer.begin();
    let now = Instant::now();
    let mut session = Session {
        feed,
        intake: Intake::new(common, feed, DecodeTimes::Sent),
        key_id,
        heard: now,
        clock: Clock::default(),
    };
    let over = session.run(&mut publisher, orders).await;
    let (error, next) = told(over, feed, &from);
    feed.over(error);
    next
}

/// Tells how a session ended; what the feed is to say of it, and whoever comes next.
fn told(over: Over, feed: &Feed, from: &str) -> (Option<ErrorReport>, Option<Box<Arrival>>) {
    let input = &feed.name;
    match over {
        Over::Goodbye => {
            tracing::info!(input, from, "the publisher has left");
            feed.facts().said_goodbye = true;
            (None, None)
        }
        Over::Vanished => {
            tracing::warn!(input, from, "the publisher has vanished without a word");
            (None, None)
        }
        Over::Revoked => {
            tracing::warn!(
                input,
                from,
                "the publisher's key was revoked: it is cut off"
            );
            feed.facts().said_goodbye = true;
            let error = fault(
                "ingest_key_revoked",
                "the publisher's key was revoked".to_owned(),
                "POST /ingest/keys makes a new one for the encoder",
            );
            (Some(error), None)
        }
        Over::GivesWay(next) => {
            tracing::warn!(
                input,
                from,
                "the publisher is silent and gives way to another one"
            );
            (None, Some(next))
        }
        Over::Fault(error) => {
            let (error_type, hint) = (&error.error_type, &error.hint);
            tracing::warn!(
                input,
                from,
                error_type,
                hint,
                "the publisher is cut off: {}",
                error.message
            );
            (Some(error), None)
        }
    }
}

// === impl Session ===

impl Session<'_> {
    async fn run(
        &mut self,
        publisher: &mut Publisher<TcpStream>,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Over {
        loop {
            let step = tokio::select! {
                media = publisher.next() => self.hear(media),
                Some(order) = orders.recv() => self.obey(order),
                () = tokio::time::sleep_until(self.heard + SILENCE_LIMIT) => {
                    ControlFlow::Break(Over::Fault(fault(
                        "live_silent",
                        format!("nothing came for {} s", SILENCE_LIMIT.as_secs()),
                        "check the encoder and its way here",
                    )))
                }
            };
            if let ControlFlow::Break(over) = step {
                return over;
            }
        }
    }

    fn hear(&mut self, media: Result<Option<Media>, Error>) -> ControlFlow<Over> {
        let media = match media {
            Ok(Some(media)) => media,
            Ok(None) => return ControlFlow::Break(Over::Goodbye),
            // What encoders do that are ended, or cut off on the way.
            Err(Error::Left) => return ControlFlow::Break(Over::Vanished),
            Err(error) => {
                return ControlFlow::Break(Over::Fault(fault(
                    "live_connection",
                    error.to_string(),
                    "the encoder connects again by itself when it is set to",
                )));
            }
        };
        self.heard = Instant::now();
        match self.packet_of(media) {
            Ok(Some(packet)) => match self.intake.take(packet, self.heard) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Over::Fault(error)),
            },
            Ok(None) => ControlFlow::Continue(()),
            Err(MessageError::UnsupportedCodec(codec)) => ControlFlow::Break(Over::Fault(fault(
                "live_codec",
                format!("the encoder sends {codec}; only H.264 and AAC are taken"),
                "set the encoder to H.264 (x264, NVENC H.264, …) and AAC",
            ))),
            Err(error @ MessageError::Damaged(_)) => ControlFlow::Break(Over::Fault(fault(
                "live_damaged",
                error.to_string(),
                "check the encoder; it sends something no player would take",
            ))),
        }
    }

    fn packet_of(&mut self, media: Media) -> Result<Option<Packet>, MessageError> {
        let ms = self.clock.unwrapped(media.dts_ms);
        match media.track {
            Track::Video => message::video(ms, media.body),
            Track::Audio => message::audio(ms, media.body),
            // Everything in it is better known from the headers.
            Track::Script => Ok(None),
        }
    }

    fn obey(&mut self, order: Order) -> ControlFlow<Over> {
        match order {
            Order::Look => ControlFlow::Continue(()),
            Order::EndPublisher(key_id) if key_id == self.key_id => {
                ControlFlow::Break(Over::Revoked)
            }
            Order::EndPublisher(_) => ControlFlow::Continue(()),
            Order::Publisher(second) if self.heard.elapsed() >= GIVES_WAY_AFTER => {
                ControlFlow::Break(Over::GivesWay(second))
            }
            Order::Publisher(second) => {
                let (input, from) = (&self.feed.name, &second.from);
                tracing::warn!(input, from, "a second publisher was refused");
                let why = "somebody publishes here already";
                let answer = turned_away(second.request, "ingest_busy", why);
                // The controller may have gone meanwhile.
                let _unread = second.answer.send(answer);
                ControlFlow::Continue(())
            }
        }
    }
}

// === impl Clock ===

impl Clock {
    fn unwrapped(&mut self, wire: u32) -> i64 {
        if !self.begun {
            self.begun = true;
            self.last_ms = i64::from(wire);
            return self.last_ms;
        }
        let before = (self.last_ms & i64::from(u32::MAX)) as u32;
        // The shorter way round.
        let step = wire.wrapping_sub(before).cast_signed();
        self.last_ms += i64::from(step);
        self.last_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_where_its_32_bits_end() {
        let mut clock = Clock::default();
        let wire = [u32::MAX - 50, u32::MAX - 10, 30, 20, 1_000];
        let before = i64::from(u32::MAX);
        let after = [
            before - 50,
            before - 10,
            before + 31,
            before + 21,
            before + 1_001,
        ];
        assert_eq!(wire.map(|ms| clock.unwrapped(ms)), after);
    }
}
