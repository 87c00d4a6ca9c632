//! Following one worker: its events as they come, a health check every five seconds, and at once when the events
//! stay away. As long as a check is not answered, the next follows as soon as it may.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::driver::Event;
use super::worker_link::{Events, LinkError, WorkerLink};

const CHECK_EVERY: Duration = Duration::from_secs(5);
/// An event comes every 2 s at least.
const WORRIED_AFTER: Duration = Duration::from_secs(3);
/// As long as a check may wait for its answer.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Until the first answer: how soon a started worker is seen on air depends on it.
const START_EVERY: Duration = Duration::from_millis(100);

/// A task that follows a worker until it is dropped.
#[derive(Debug)]
pub(super) struct Follower {
    _task: AbortOnDropHandle<()>,
}

// === impl Follower ===

impl Follower {
    /// Follows the worker that answers `link` with `nonce`.
    pub(super) fn new(
        link: WorkerLink,
        generation: u64,
        nonce: String,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let follow = Follow {
            link,
            generation,
            nonce,
            events,
        };
        Self {
            _task: AbortOnDropHandle::new(tokio::spawn(follow.run())),
        }
    }
}

struct Follow {
    link: WorkerLink,
    generation: u64,
    nonce: String,
    events: mpsc::Sender<Event>,
}

impl Follow {
    async fn run(self) {
        self.await_first_answer().await;
        let mut subscription = self.subscribe().await;
        let mut check_at = Instant::now() + CHECK_EVERY;
        // Only with a subscription; without one the checks are all there is.
        let mut worried_at = Instant::now() + WORRIED_AFTER;
        loop {
            let due = match subscription {
                Some(_) => check_at.min(worried_at),
                None => check_at,
            };
            tokio::select! {
                () = sleep_until(due) => {
                    let asked = Instant::now();
                    check_at = asked + if self.check().await { CHECK_EVERY } else { ASK_AGAIN };
                    worried_at = check_at;
                    if subscription.is_none() {
                        subscription = self.subscribe().await;
                    }
                }
                event = next(&mut subscription) => match event {
                    Some(report) if report.nonce == self.nonce => {
                        worried_at = Instant::now() + WORRIED_AFTER;
                        let report = Box::new(report);
                        self.tell(Event::Report { generation: self.generation, report }).await;
                    }
                    Some(_) => {}
                    // A worker that is upgraded ends its answers and is there again in an instant.
                    None => {
                        sleep(START_EVERY).await;
                        subscription = self.subscribe().await;
                    }
                },
            }
        }
    }

    /// Silence is told every [`CHECK_EVERY`], as later.
    async fn await_first_answer(&self) {
        let mut silent_since = Instant::now();
        loop {
            match self.ask().await {
                Ok(event) => return self.tell(event).await,
                Err(error) if silent_since.elapsed() >= CHECK_EVERY => {
                    silent_since = Instant::now();
                    self.tell(self.silent(&error)).await;
                }
                Err(_) => sleep(START_EVERY).await,
            }
        }
    }

    /// Whether it was answered.
    async fn check(&self) -> bool {
        let asked = self.ask().await;
        let answered = asked.is_ok();
        self.tell(asked.unwrap_or_else(|error| self.silent(&error)))
            .await;
        answered
    }

    async fn ask(&self) -> Result<Event, LinkError> {
        let report = Box::new(self.link.status().await?.report);
        if report.nonce != self.nonce {
            return Err(LinkError::Malformed("the nonce of another worker".into()));
        }
        Ok(Event::Report {
            generation: self.generation,
            report,
        })
    }

    fn silent(&self, error: &LinkError) -> Event {
        Event::Silent {
            generation: self.generation,
            reason: error.to_string(),
        }
    }

    async fn subscribe(&self) -> Option<Events> {
        self.link
            .events()
            .await
            .inspect_err(|error| tracing::debug!(%error, "no events from the worker"))
            .ok()
    }

    async fn tell(&self, event: Event) {
        // Without a driver this task is about to be dropped.
        let _ = self.events.send(event).await;
    }
}

async fn next(subscription: &mut Option<Events>) -> Option<storage::model::WorkerReport> {
    match subscription {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}
