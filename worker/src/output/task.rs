//! The task of one destination: connects, reports, waits, connects again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use storage::model::report::DestinationState;
use storage::model::{DarkCause, DestinationConfig, DestinationReport, ErrorReport, RetryConfig};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::air::DeliveryLog;
use super::connection::{Connection, End, FrozenConnection, Outcome, UnderWay};
use super::failure::{self, Failure};
use super::feed::ParameterSets;
use super::knock::{Door, Knock};
use super::observation::Observation;
use super::queue::Queue;
use super::renewal::Renewal;
use super::sink::{Publisher, Sink};
use super::slow::Slow;
use super::stall::Look;
use super::state::{FrozenMachine, Machine, Moment, Step, Verdict};
use super::target::{self, Target};
use crate::ffmpeg::publish::Protocol;

/// What the task owns.
pub(super) struct Task {
    pub(super) config: DestinationConfig,
    pub(super) publisher: Arc<Publisher>,
    pub(super) queue: Queue,
    pub(super) retry: watch::Receiver<RetryConfig>,
    pub(super) close: CancellationToken,
    pub(super) freeze: CancellationToken,
    /// Set while a connection is being ended.
    pub(super) ending: Arc<AtomicBool>,
    /// Taken over from an earlier image of this process.
    pub(super) resumed: Option<FrozenConnection>,
    pub(super) status: Status,
    /// The last connection was lost as soon as it had delivered.
    pub(super) lost_at_once: bool,
}

/// What another task can go on with.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) machine: FrozenMachine,
    pub(super) connection: Option<FrozenConnection>,
}

/// The machine and what is shown of it.
pub(super) struct Status {
    name: String,
    machine: Machine,
    slow: Slow,
    queue: Queue,
    air: DeliveryLog,
    report: watch::Sender<DestinationReport>,
    changes: watch::Sender<()>,
}

impl Task {
    /// Runs until it is closed, or frozen: then it answers what another can go on with. Nothing is
    /// started before all `predecessors` have ended.
    pub(super) async fn run(mut self, predecessors: Vec<CancellationToken>) -> Frozen {
        for predecessor in predecessors {
            predecessor.cancelled().await;
        }
        let publisher = Arc::clone(&self.publisher);
        let connection = match publisher.target(&self.config) {
            Ok(target) => self.publish_to(&target).await,
            Err(failure) => {
                self.status.failed(failure, Instant::now());
                self.rest().await;
                None
            }
        };
        if !self.freeze.is_cancelled() {
            self.status.closed();
        }
        Frozen {
            machine: self.status.machine.freeze(),
            connection,
        }
    }

    /// Until it is closed or frozen.
    async fn rest(&self) {
        tokio::select! {
            () = self.close.cancelled() => {}
            () = self.freeze.cancelled() => {}
        }
    }

    async fn publish_to(&mut self, target: &Target) -> Option<FrozenConnection> {
        while !self.close.is_cancelled() && !self.freeze.is_cancelled() {
            self.take_retry();
            match self.status.machine.step(Moment::now().now) {
                Step::Connect => {
                    if let Some(frozen) = self.connect(target).await {
                        return Some(frozen);
                    }
                }
                Step::Wait { until, knock } => tokio::select! {
                    () = self.rest() => {}
                    () = tokio::time::sleep_until(until) => {}
                    () = answered(target.door.as_ref(), knock) => self.status.answered(),
                },
                Step::Rest => self.rest().await,
            }
        }
        None
    }

    /// A new connection's FFmpeg, or the one that was taken over and what it was being given.
    fn open(&mut self, target: &Target) -> Result<(Sink, Option<UnderWay>), Failure> {
        let name = &self.config.name;
        match self.resumed.take() {
            Some(frozen) => Ok((self.publisher.resume(name, frozen.sink)?, frozen.under_way)),
            None => {
                self.status.connecting();
                self.queue.flow();
                Ok((self.publisher.publish(name, target)?, None))
            }
        }
    }

    /// Until the connection ends; answers it when it goes on in other hands.
    async fn connect(&mut self, target: &Target) -> Option<FrozenConnection> {
        let url = target::shown(&self.config);
        self.ending.store(false, Ordering::Relaxed);
        let outcome = match self.open(target) {
            Err(failure) => Outcome {
                end: End::Failed(failure),
                dark_since: Instant::now(),
                delivered_for: None,
            },
            Ok((sink, under_way)) => {
                let connection = Connection {
                    queue: &self.queue,
                    sink,
                    metadata: self.publisher.metadata(),
                    sets: match target.protocol {
                        Protocol::Rtmp | Protocol::Rtmps => ParameterSets::Header,
                        Protocol::Srt => ParameterSets::InBand,
                    },
                    renewal: Renewal::of(&target.host, self.config.renew_after_s),
                    url: &url,
                    close: &self.close,
                    freeze: &self.freeze,
                    under_way,
                    ending: &self.ending,
                };
                let status = &mut self.status;
                connection.run(|seen| status.observed(seen)).await
            }
        };
        self.take_retry();
        self.ending.store(false, Ordering::Relaxed);
        let Outcome {
            end,
            dark_since,
            delivered_for,
        } = outcome;
        match end {
            End::Frozen(frozen) => return Some(*frozen),
            End::Closed => {}
            // What has come since belongs to the next connection: nothing is let go.
            End::Renewed => self.status.renewed(dark_since),
            End::Failed(failure) => {
                self.queue.hold();
                let at_once = failure.is_at_once(delivered_for);
                let again = std::mem::replace(&mut self.lost_at_once, at_once);
                let failure = match at_once && again {
                    true => failure.closed_again(),
                    false => failure,
                };
                self.status.failed(failure, dark_since);
            }
        }
        None
    }

    fn take_retry(&mut self) {
        if self.retry.has_changed().unwrap_or(false) {
            let retry = *self.retry.borrow_and_update();
            self.status.machine.set_retry(retry);
        }
    }
}

/// Knocks until there is an answer, for ever where nobody can be asked.
async fn answered(door: Option<&Door>, knock: Option<(Knock, Duration)>) {
    let (Some(door), Some((knock, every))) = (door, knock) else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(every).await;
        if door.answers(knock).await {
            return;
        }
    }
}

impl Status {
    /// Of a destination that is about to be connected, and where it can be seen.
    pub(super) fn new(
        config: &DestinationConfig,
        retry: RetryConfig,
        queue: Queue,
        air: DeliveryLog,
        changes: watch::Sender<()>,
    ) -> (Self, watch::Receiver<DestinationReport>) {
        let at = Moment::now();
        let (report, seen) = watch::channel(DestinationReport {
            name: config.name.clone(),
            url: target::shown(config),
            state: DestinationState::Connecting,
            since: at.wall,
            retry_count: 0,
            will_retry: false,
            next_retry_at: None,
            sent_media_s: 0.0,
            bytes_acked: None,
            unacked_bytes: None,
            rtt_ms: None,
            retransmits: None,
            behind_s: 0.0,
            bitrate_kbps: 0,
            dropped_frames: 0,
            connections: 0,
            error: None,
        });
        let status = Self {
            name: config.name.clone(),
            machine: Machine::new(retry, at),
            slow: Slow::default(),
            queue,
            air,
            report,
            changes,
        };
        (status, seen)
    }

    fn answered(&mut self) {
        tracing::info!(
            destination = self.name,
            "the destination answers: it is connected now and not at the end of the wait"
        );
        self.machine.knocked(Moment::now());
    }

    /// Of a destination that was looked after before.
    pub(super) fn resumed(
        machine: Machine,
        report: DestinationReport,
        queue: Queue,
        air: DeliveryLog,
        changes: watch::Sender<()>,
    ) -> (Self, watch::Receiver<DestinationReport>) {
        let name = report.name.clone();
        let (report, seen) = watch::channel(report);
        let status = Self {
            name,
            machine,
            slow: Slow::default(),
            queue,
            air,
            report,
            changes,
        };
        (status, seen)
    }

    fn connecting(&mut self) {
        self.slow = Slow::default();
        self.machine.connecting(Moment::now());
        self.report.send_modify(|report| {
            report.sent_media_s = 0.0;
            report.bytes_acked = None;
            report.unacked_bytes = None;
            report.rtt_ms = None;
            report.retransmits = None;
            report.behind_s = 0.0;
        });
        self.publish(0);
    }

    fn observed(&mut self, seen: Observation) {
        let was = self.machine.state();
        match seen.look {
            Look::Delivering => self.machine.delivering(Moment::now()),
            Look::Quiet => {}
            Look::Held(_) => self.machine.held_up(),
        }
        if was != self.machine.state() {
            tracing::info!(destination = self.name, "on air at the destination");
            self.air
                .delivering(self.machine.connections(), seen.delivered_at);
        }
        if let Some(since) = seen.stood_still_since
            && was == DestinationState::Live
            && self.machine.state() == DestinationState::Live
        {
            self.stood_still(since);
        }
        let was_slow = self.slow.is_slow();
        self.slow
            .look(&seen, self.queue.dropped_frames(), Instant::now());
        self.report.send_modify(|report| {
            report.behind_s = seen.behind.as_secs_f64();
            report.sent_media_s = seen.media_ms as f64 / 1000.0;
            // FFmpeg may have closed the connection already: the last answer stays.
            if let Some(delivery) = seen.delivery {
                report.bytes_acked = Some(delivery.acked_bytes);
                report.unacked_bytes = Some(delivery.unacked_bytes);
                report.rtt_ms = Some(delivery.round_trip.as_secs_f64() * 1000.0);
                report.retransmits = Some(delivery.retransmits);
            }
        });
        self.publish(seen.bitrate_kbps);
        let is_slow = self.slow.is_slow();
        if was_slow != is_slow {
            self.turned_slow(is_slow);
        }
    }

    /// Tells of a turn, to whoever follows the status too.
    fn turned_slow(&self, is_slow: bool) {
        let destination = &self.name;
        if is_slow {
            let told = self.told_slow(&self.report.borrow());
            let (error_type, hint) = (told.error_type, told.hint);
            tracing::warn!(destination, error_type, hint, "{}", told.message);
        } else {
            tracing::info!(destination, "it takes the stream as it comes again");
        }
        self.changes.send_replace(());
    }

    fn told_slow(&self, report: &DestinationReport) -> ErrorReport {
        let (behind_s, dropped) = (report.behind_s, report.dropped_frames);
        failure::slow(&report.url, self.slow.shortfall(), behind_s, dropped)
    }

    /// This process was stopped, or the machine was: the connection stands, and all of its media comes
    /// late.
    fn stood_still(&mut self, since: Instant) {
        tracing::warn!(
            destination = self.name,
            seconds = since.elapsed().as_secs_f64(),
            "this worker stood still: nothing was sent meanwhile"
        );
        self.air.dark(DarkCause::WorkerUnresponsive, None, since);
        self.air
            .delivering(self.machine.connections(), Instant::now());
    }

    fn renewed(&mut self, dark_since: Instant) {
        tracing::info!(
            destination = self.name,
            "the connection was old enough to be renewed"
        );
        self.machine.renewed(Moment::now());
        self.air.dark(DarkCause::PlannedRenewal, None, dark_since);
        self.publish(0);
    }

    fn failed(&mut self, failure: Failure, dark_since: Instant) {
        let cause = failure.kind.cause();
        let error_type = failure.kind.error_type();
        let (message, hint) = (failure.message.clone(), failure.kind.hint());
        let verdict = self.machine.failed(failure, Moment::now(), random());
        let Verdict {
            retry_count,
            retry_in,
        } = verdict;
        let destination = &self.name;
        let retry_in_ms = retry_in.map(|wait| wait.as_millis() as u64);
        let will_retry = retry_in.is_some();
        let cause = if will_retry {
            cause
        } else {
            DarkCause::GivenUp
        };
        self.air.dark(cause, Some(error_type), dark_since);
        if will_retry {
            tracing::warn!(
                destination,
                error_type,
                retry_count,
                will_retry,
                retry_in_ms,
                hint,
                "{message}"
            );
        } else {
            tracing::error!(
                destination,
                error_type,
                retry_count,
                will_retry,
                hint,
                "given up: {message}"
            );
        }
        self.publish(0);
    }

    fn closed(&mut self) {
        self.air.dark(DarkCause::Operator, None, Instant::now());
        self.machine.stopped(Moment::now());
        tracing::info!(destination = self.name, "closed");
        self.publish(0);
    }

    fn publish(&mut self, bitrate_kbps: u32) {
        let at = Moment::now();
        let machine = &self.machine;
        let mut changed = false;
        self.report.send_modify(|report| {
            let state = machine.state();
            changed = report.state != state || report.connections != machine.connections();
            report.state = state;
            report.since = machine.since();
            report.retry_count = machine.retry_count();
            report.will_retry = machine.next_retry_at(at).is_some();
            report.next_retry_at = machine.next_retry_at(at);
            report.bitrate_kbps = bitrate_kbps;
            report.dropped_frames = self.queue.dropped_frames();
            report.connections = machine.connections();
            let slow = machine.state() == DestinationState::Live && self.slow.is_slow();
            report.error = match slow {
                true => Some(self.told_slow(report)),
                false => machine.failure().map(Failure::report),
            };
        });
        if changed {
            self.changes.send_replace(());
        }
    }
}

/// A number in 0..1; the middle when the machine has no randomness, which only costs the jitter.
fn random() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}
