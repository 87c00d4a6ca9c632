//! What goes from one image of this process to the next.
//!
//! `SCHANDOV`, the version as four bytes, then CBOR, in a sealed memfd: it has no name, takes no disk,
//! holds secrets, and is gone with its last holder.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::fd::OwnedFd;

use bytes::Bytes;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use rustix::fs::{MemfdFlags, SealFlags};
use serde::{Deserialize, Serialize};
use storage::model::{Job, JobSecrets, WorkerReport};
use supervise::reexec::PassedFd;
use supervise::{Pid, reexec};
use tokio::time::Instant;

use crate::playout::{FrozenPlayout, HandedOver, Rehearsal};

const MAGIC: &[u8; 8] = b"SCHANDOV";
/// To be raised by a change that a reader of the version before would get wrong.
const VERSION: u32 = 1;

/// See the module.
#[derive(Debug, Serialize, Deserialize)]
pub struct Document {
    /// Of the program that wrote it.
    pub version: String,
    /// Which upgrade of this process it is for, from 1.
    pub number: u64,
    /// When the last packet went out.
    #[serde(with = "crate::handover::instant")]
    pub frozen_at: Instant,
    /// In force.
    pub job: Job,
    /// As they go through a pipe.
    #[serde(with = "crate::handover::blob")]
    secrets: Bytes,
    /// Number of the air journal's next entry.
    pub next_seq: u64,
    /// The last lines of the log.
    pub logs: Vec<String>,
    /// The newest report.
    pub report: WorkerReport,
    /// Where the control socket listens.
    #[serde(with = "crate::handover::passed")]
    pub control: PassedFd,
    /// Where FFmpegs read their files.
    #[serde(with = "crate::handover::passed")]
    pub media: PassedFd,
    /// Children that nobody goes on with.
    strays: Vec<i32>,
    /// What is on air, and where it goes.
    pub playout: FrozenPlayout,
}

/// What goes over besides what playout held.
#[derive(Debug)]
pub struct Held<'a> {
    /// As they were given.
    pub secrets: &'a JobSecrets,
    /// The last lines of the log.
    pub logs: Vec<String>,
    /// Number of the air journal's next entry.
    pub next_seq: u64,
    /// Where the control socket listens.
    pub control: OwnedFd,
}

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The descriptor is no file that can be read.
    #[error("the hand-over cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is something else.
    #[error("the descriptor holds no hand-over")]
    NotOne,
    /// Another release wrote it.
    #[error(
        "the hand-over has version {0}; this worker reads {VERSION}: restart the stream instead"
    )]
    Version(u32),
    /// This release would lose something of it.
    #[error("the hand-over is not understood: {0}")]
    Invalid(String),
    /// It speaks of something that is not there.
    #[error("the hand-over names {0}, which this process does not have")]
    NotHere(String),
}

// === impl Document ===

impl Document {
    /// What would be handed over now, without what only a stopped playout can let go of.
    ///
    /// # Errors
    /// Never in practice: secrets are texts.
    pub fn rehearsal(
        rehearsal: Rehearsal,
        secrets: &JobSecrets,
        logs: Vec<String>,
    ) -> Result<Self, DocumentError> {
        let nothing = || PassedFd::from_number(-1);
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            number: number(&rehearsal.report),
            frozen_at: Instant::now(),
            job: rehearsal.job,
            secrets: to_bytes(secrets)?,
            next_seq: 0,
            logs,
            report: rehearsal.report,
            control: nothing(),
            media: nothing(),
            strays: Vec::new(),
            playout: rehearsal.playout,
        })
    }

    /// What is handed over.
    ///
    /// # Errors
    /// When the process has too many descriptors.
    pub fn new(stopped: &HandedOver, held: Held<'_>) -> Result<Self, DocumentError> {
        let media = match &stopped.media_socket {
            Ok(socket) => socket.try_clone()?,
            Err(error) => return Err(io::Error::from(error.kind()).into()),
        };
        let handed_over = stopped.playout.pids();
        let strays = reexec::children().into_iter();
        let strays = strays.filter(|pid| !handed_over.contains(pid));
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            number: number(&stopped.report),
            frozen_at: stopped.frozen_at,
            job: stopped.job.clone(),
            secrets: to_bytes(held.secrets)?,
            next_seq: held.next_seq,
            logs: held.logs,
            report: stopped.report.clone(),
            control: PassedFd::new(held.control),
            media: PassedFd::new(media),
            strays: strays.map(Pid::as_raw).collect(),
            playout: stopped.playout.clone(),
        })
    }

    /// Writes it into a file of its own.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn write(&self) -> io::Result<OwnedFd> {
        let memfd =
            rustix::fs::memfd_create("hand-over", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = BufWriter::new(File::from(memfd));
        file.write_all(MAGIC)?;
        file.write_all(&VERSION.to_be_bytes())?;
        ciborium::into_writer(self, &mut file).map_err(io::Error::other)?;
        let memfd = OwnedFd::from(file.into_inner().map_err(io::IntoInnerError::into_error)?);
        let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&memfd, all)?;
        Ok(memfd)
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn read(memfd: OwnedFd) -> Result<Self, DocumentError> {
        let mut file = File::from(memfd);
        file.rewind()?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut head = [0; 12];
        file.read_exact(&mut head)
            .map_err(|_| DocumentError::NotOne)?;
        let (magic, version) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(DocumentError::NotOne);
        }
        let version = u32::from_be_bytes(version.try_into().expect("twelve less eight are four"));
        if version != VERSION {
            return Err(DocumentError::Version(version));
        }
        ciborium::from_reader(file).map_err(|error| DocumentError::Invalid(error.to_string()))
    }

    /// Its secrets.
    ///
    /// # Errors
    /// When they are none.
    pub fn secrets(&self) -> Result<JobSecrets, DocumentError> {
        JobSecrets::from_pipe(&self.secrets)
            .map_err(|error| DocumentError::Invalid(error.to_string()))
    }

    /// What has to stay open across `execve`.
    pub fn descriptors(&self) -> Vec<i32> {
        let mut all = self.playout.descriptors();
        all.extend([self.control.number(), self.media.number()]);
        all
    }

    /// Whether this process has everything it speaks of. Nothing is touched.
    ///
    /// # Errors
    /// [`DocumentError::NotHere`].
    pub fn verify(&self) -> Result<(), DocumentError> {
        for number in self.descriptors() {
            if std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
                return Err(DocumentError::NotHere(format!("descriptor {number}")));
            }
        }
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        for pid in self.playout.pids() {
            if waitid(Id::Pid(pid), look).is_err() {
                return Err(DocumentError::NotHere(format!("child {pid}")));
            }
        }
        Ok(())
    }

    /// Ends the children that nobody goes on with.
    pub fn end_strays(&self) {
        let strays: Vec<Pid> = self.strays.iter().copied().map(Pid::from_raw).collect();
        reexec::end_strays(&strays, &self.playout.pids());
    }
}

fn number(report: &WorkerReport) -> u64 {
    report.upgrade.as_ref().map_or(0, |upgrade| upgrade.number) + 1
}

fn to_bytes(secrets: &JobSecrets) -> Result<Bytes, DocumentError> {
    let bytes = secrets.to_pipe();
    let bytes = bytes.map_err(|error| DocumentError::Invalid(error.to_string()))?;
    Ok(bytes.into())
}
