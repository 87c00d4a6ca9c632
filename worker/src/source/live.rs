//! Live feeds: pulled by FFmpeg, or pushed through the built-in ingest.
//!
//! ```text
//!            begin ┌────────────┐ a keyframe, jitter behind it
//!  Waiting ──────► │ Connecting │ ─────────────────────────────► Ready ─┐ (playout's word for it)
//!     ▲            └─────┬──────┘                                       │
//!     └──────────────────┴───────────────── ended, silent, refused ◄────┘
//! ```
//! One task per input; it never waits for playout, nor playout for it: between them is a
//! [`LiveBuffer`]. [`LiveInputs`] owns the tasks; dropping one ends its feed.
//!
//! - [`buffer`]: what arrived and was not aired.
//! - `judge`: copied or transcoded, and why. `intake`: does it. `steady`: the clock that a transcoder sees.
//! - `publisher`: a feed of the ingest. `pull`: one that is fetched. [`door`]: where the controller
//!   hands publishers over.

pub mod buffer;
pub mod door;
mod intake;
mod judge;
mod publisher;
mod pull;
mod steady;
mod transcoder;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use programme::StreamFormat;
use storage::model::{ErrorReport, Job, JobSecrets, LiveInputConfig};
use storage::secret::Secret;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use self::buffer::{Depth, LiveBuffer};
use self::door::Door;
use self::publisher::Arrival;
use super::SourceContext;
use crate::ffmpeg::redact::Redactor;
use crate::flv::Packet;

/// Behind the newest packet of a feed that comes as it is made.
const JITTER: Depth = Depth { jitter_ms: 300 };
/// Segments come in bursts.
const JITTER_HLS: Depth = Depth { jitter_ms: 600 };
/// Orders that may wait; whoever gives one more is told so.
const ORDERS: usize = 8;

/// What all feeds of a stream have in common.
#[derive(Debug)]
struct Common {
    ffmpeg: PathBuf,
    redactor: Redactor,
    format: StreamFormat,
    /// By the variable an input names.
    passwords: BTreeMap<String, Secret>,
}

/// Where orders for an input go, by its name.
type Switchboard = Arc<Mutex<BTreeMap<String, mpsc::Sender<Order>>>>;

/// The live inputs of a stream, in the order of the configuration.
#[derive(Debug)]
pub struct LiveInputs {
    common: Arc<Common>,
    inputs: Vec<LiveInput>,
    switchboard: Switchboard,
    door: Option<AbortOnDropHandle<()>>,
}

/// One of them.
#[derive(Debug)]
pub struct LiveInput {
    config: LiveInputConfig,
    feed: Arc<Feed>,
    _task: JoinHandle<()>,
    _stop: DropGuard,
}

/// What an input's task and playout share.
#[derive(Debug)]
struct Feed {
    name: String,
    buffer: LiveBuffer,
    facts: Mutex<Facts>,
}

/// What is known of a feed.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// A connection is there or is being made.
    pub connecting: bool,
    /// Where it comes from, without credentials.
    pub from: Option<String>,
    /// What arrives, in words.
    pub media: Option<String>,
    /// It goes out as it is.
    pub copied: Option<bool>,
    /// Failed tries since the last media.
    pub retry_count: u32,
    /// It was ended on purpose: by its publisher, or by whoever revoked the key.
    pub said_goodbye: bool,
    /// Why nothing arrives.
    pub error: Option<ErrorReport>,
}

/// What can be asked of an input's task.
#[derive(Debug)]
enum Order {
    /// Try now.
    Look,
    /// End whoever publishes with this key.
    EndPublisher(String),
    /// Somebody wants to publish.
    Publisher(Box<Arrival>),
}

// === impl LiveInputs ===

impl LiveInputs {
    /// Those of `job`, and the door that publishers come through.
    pub fn open(
        job: &Job,
        sources: &SourceContext,
        format: StreamFormat,
        secrets: &JobSecrets,
    ) -> Self {
        let mut inputs = Self::new(sources, format, secrets.stream_keys.clone());
        inputs.configure(&job.live_inputs());
        inputs.open_door(&job.layout().ingest_socket(&job.stream_id));
        inputs
    }

    fn new(
        sources: &SourceContext,
        format: StreamFormat,
        passwords: BTreeMap<String, Secret>,
    ) -> Self {
        Self {
            common: Arc::new(Common {
                ffmpeg: sources.ffmpeg.clone(),
                redactor: sources.redactor.clone(),
                format,
                passwords,
            }),
            inputs: Vec::new(),
            switchboard: Switchboard::default(),
            door: None,
        }
    }

    /// These from now on; what goes on unchanged keeps its feed.
    pub fn configure(&mut self, configs: &[LiveInputConfig]) {
        let mut before = std::mem::take(&mut self.inputs);
        for config in configs {
            let kept = before.iter().position(|input| input.has_feed_of(config));
            let input = match kept {
                Some(at) => LiveInput {
                    config: config.clone(),
                    ..before.swap_remove(at)
                },
                None => self.start(config),
            };
            self.inputs.push(input);
        }
        let names = |name: &String| configs.iter().any(|config| config.name == *name);
        lock(&self.switchboard).retain(|name, _| names(name));
    }

    /// All of them.
    pub fn all(&self) -> &[LiveInput] {
        &self.inputs
    }

    /// Has an input tried now; whether there is one of this name.
    pub fn look(&self, name: &str) -> bool {
        match lock(&self.switchboard).get(name) {
            Some(orders) => {
                // A full queue has a look in it, or more pressing things.
                let _as_good_as_given = orders.try_send(Order::Look);
                true
            }
            None => false,
        }
    }

    /// Ends whoever publishes with this key.
    pub fn end_publisher(&self, key_id: &str) {
        for orders in lock(&self.switchboard).values() {
            if orders
                .try_send(Order::EndPublisher(key_id.to_owned()))
                .is_err()
            {
                tracing::warn!(key_id, "an input is too busy to end a publisher");
            }
        }
    }

    fn open_door(&mut self, socket: &Path) {
        let door = Door::new(Arc::clone(&self.switchboard));
        match Door::bind(socket) {
            Ok(listener) => {
                let task = tokio::spawn(door.stand_open(listener));
                self.door = Some(AbortOnDropHandle::new(task));
            }
            Err(error) => {
                let socket = socket.display();
                tracing::error!(%socket, %error, "no publisher can be handed over to this worker");
            }
        }
    }

    fn start(&self, config: &LiveInputConfig) -> LiveInput {
        let is_http = config
            .url
            .as_ref()
            .is_some_and(|url| url.starts_with("http"));
        let feed = Arc::new(Feed {
            name: config.name.clone(),
            buffer: LiveBuffer::new(if is_http { JITTER_HLS } else { JITTER }),
            facts: Mutex::default(),
        });
        let (to_task, orders) = mpsc::channel(ORDERS);
        lock(&self.switchboard).insert(config.name.clone(), to_task);
        let stop = CancellationToken::new();
        let (common, for_task) = (Arc::clone(&self.common), Arc::clone(&feed));
        let (config_of_task, stopped) = (config.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let work = async {
                match &config_of_task.url {
                    Some(url) => {
                        pull::keep_pulling(&common, &for_task, url, &config_of_task, orders).await
                    }
                    None => publisher::keep_receiving(&common, &for_task, orders).await,
                }
            };
            let _stopped = stopped.run_until_cancelled(work).await;
            for_task.over(None);
        });
        LiveInput {
            config: config.clone(),
            feed,
            _task: task,
            _stop: stop.drop_guard(),
        }
    }
}

fn lock(switchboard: &Switchboard) -> MutexGuard<'_, BTreeMap<String, mpsc::Sender<Order>>> {
    // A map is whole after whatever happened to its holder.
    switchboard.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl LiveInput ===

impl LiveInput {
    /// From the configuration.
    pub fn config(&self) -> &LiveInputConfig {
        &self.config
    }

    /// What arrived.
    pub fn buffer(&self) -> &LiveBuffer {
        &self.feed.buffer
    }

    /// What is known of it.
    pub fn facts(&self) -> Facts {
        self.feed.facts().clone()
    }

    /// A connection is there or is being made.
    pub fn is_connecting(&self) -> bool {
        self.feed.facts().connecting
    }

    /// Its last feed was ended on purpose, and none has come since.
    pub fn has_left(&self) -> bool {
        self.feed.facts().said_goodbye
    }

    /// Its feed is the one `config` asks for, whatever else differs.
    fn has_feed_of(&self, config: &LiveInputConfig) -> bool {
        let of = |config: &LiveInputConfig| {
            let LiveInputConfig {
                name,
                url,
                user,
                password_env,
                ..
            } = config.clone();
            (name, url, user, password_env)
        };
        of(&self.config) == of(config)
    }
}

// === impl Feed ===

impl Feed {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        // Set field by field; every mixture of them is a possible one.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is being made, or was just made.
    fn connecting(&self, from: Option<String>) {
        let mut facts = self.facts();
        facts.connecting = true;
        facts.said_goodbye = false;
        facts.from = from;
        facts.media = None;
        facts.copied = None;
    }

    /// Media has arrived. A feed that comes slower than it plays is told, and that it does no more.
    fn deliver(&self, packets: impl IntoIterator<Item = Packet>, now: Instant) {
        let was_slow = self.buffer.is_slow();
        self.buffer.push_all(packets, now);
        let input = &self.name;
        match (was_slow, self.buffer.is_slow()) {
            (false, true) => {
                let error = fault(
                    "live_slow",
                    "the feed comes slower than it plays".to_owned(),
                    "lower the encoder's bit rate, or look for what holds it up: its CPU, the way here",
                );
                let (error_type, hint) = (&error.error_type, &error.hint);
                tracing::warn!(input, error_type, hint, "{}", error.message);
                self.facts().error = Some(error);
            }
            (true, false) => {
                tracing::info!(input, "the feed comes as fast as it plays again");
                self.facts().error = None;
            }
            (false, false) | (true, true) => {}
        }
    }

    /// It ended, with an error when that was nobody's intention.
    fn over(&self, error: Option<ErrorReport>) {
        self.buffer.end();
        let mut facts = self.facts();
        facts.connecting = false;
        facts.media = None;
        facts.copied = None;
        if error.is_some() {
            facts.error = error;
        }
    }
}

fn fault(error_type: &str, message: String, hint: &str) -> ErrorReport {
    ErrorReport {
        error_type: error_type.to_owned(),
        message,
        hint: hint.to_owned(),
    }
}
