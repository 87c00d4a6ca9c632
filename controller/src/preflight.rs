//! Whether everything a stream needs is there, and what to do about what is not.
//!
//! ```text
//!  Preflight ── ground ──────► programs (and a card), machine (directories, clock, keys)   before a start
//!            └─ surroundings ► bucket (item, slate), destinations                          beside it
//! ```
//! *Ground* is what no worker could do without; it needs no network and a fraction of a second. The
//! surroundings may be missing: a stream without its bucket shows the slate, one without its platform
//! tries again. So they are looked at while the worker starts, and tell, but stop nothing. The
//! subcommand `check` asks for both.
//!
//! What is the same for all streams is looked at once for all that ask within [`FRESH_FOR`].

mod bucket;
mod destinations;
mod machine;
mod programs;
mod slate;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use storage::model::{Check, CheckOutcome, StreamConfig};
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::bucket::Listing;
use self::programs::Programs;
use crate::config::Config;

/// Streams that start together share what was found.
pub(crate) const FRESH_FOR: Duration = Duration::from_secs(20);
/// A program that takes longer to tell its version is not waited for.
const GROUND_LIMIT: Duration = Duration::from_secs(5);
/// What the network has not answered by then counts as unreachable.
const SURROUNDINGS_LIMIT: Duration = Duration::from_secs(9);

/// Looks at what streams need; clones share what they found.
#[derive(Debug, Clone)]
pub struct Preflight {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Arc<Config>,
    programs: Mutex<Option<(Instant, Programs)>>,
    listing: Mutex<Option<(Instant, Arc<Listing>)>>,
}

/// How one thing stands; the worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// It works, but perhaps not as meant.
    Doubtful,
    /// Something the configuration names is not to be had; the stream goes on air without it.
    Missing,
    /// No worker could do anything with it.
    Fatal,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found; unless all is well also what to do.
    pub message: String,
}

// === impl Preflight ===

impl Preflight {
    /// Nothing is looked at yet.
    pub fn new(settings: Arc<Config>) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                programs: Mutex::default(),
                listing: Mutex::default(),
            }),
        }
    }

    /// What a worker for `config` cannot do without.
    pub async fn ground(&self, config: &StreamConfig) -> Vec<Finding> {
        let (programs, mut findings) =
            tokio::join!(self.programs(), machine::look(self.settings()));
        findings.splice(0..0, programs.findings);
        findings.extend(programs::protocols(&programs.protocols, config));
        findings.extend(machine::keys(self.settings(), config));
        findings
    }

    /// What else `config` names: the bucket with something to play, the slate, the destinations.
    pub async fn surroundings(&self, config: &StreamConfig) -> Vec<Finding> {
        let (mut findings, destinations) = tokio::join!(
            self.bucket(config),
            destinations::look(&config.destinations)
        );
        findings.extend(destinations);
        findings
    }

    /// The surroundings without the destinations.
    pub async fn bucket(&self, config: &StreamConfig) -> Vec<Finding> {
        let until = Instant::now() + SURROUNDINGS_LIMIT;
        let listing = self.listing().await;
        bucket::look(self.settings(), &listing, config, until).await
    }

    fn settings(&self) -> &Config {
        &self.shared.settings
    }

    async fn programs(&self) -> Programs {
        let mut known = self.shared.programs.lock().await;
        if let Some((at, programs)) = &*known
            && at.elapsed() < FRESH_FOR
        {
            return programs.clone();
        }
        let programs = programs::look(self.settings()).await;
        // What is missing may be installed at any moment; only what is there is believed.
        if programs
            .findings
            .iter()
            .all(|found| found.verdict < Verdict::Fatal)
        {
            *known = Some((Instant::now(), programs.clone()));
        }
        programs
    }

    async fn listing(&self) -> Arc<Listing> {
        let mut known = self.shared.listing.lock().await;
        if let Some((at, listing)) = &*known
            && at.elapsed() < FRESH_FOR
        {
            return Arc::clone(listing);
        }
        let listing = Arc::new(Listing::take(self.settings()).await);
        *known = Some((Instant::now(), Arc::clone(&listing)));
        listing
    }
}

// === impl Finding ===

impl Finding {
    fn new(verdict: Verdict, name: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            name: name.into(),
            verdict,
            message: message.to_string(),
        }
    }

    fn fine(name: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(Verdict::Fine, name, message)
    }

    fn doubtful(name: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(Verdict::Doubtful, name, message)
    }

    fn missing(name: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(Verdict::Missing, name, message)
    }

    fn fatal(name: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(Verdict::Fatal, name, message)
    }
}

impl From<Finding> for Check {
    fn from(finding: Finding) -> Self {
        Self {
            name: finding.name,
            outcome: match finding.verdict {
                Verdict::Fine => CheckOutcome::Ok,
                Verdict::Doubtful | Verdict::Missing => CheckOutcome::Warning,
                Verdict::Fatal => CheckOutcome::Failed,
            },
            message: finding.message,
        }
    }
}
