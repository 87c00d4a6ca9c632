//! Why a destination does not get the stream, as the program decides by it and an operator reads it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

use storage::model::{DarkCause, ErrorReport};

use super::knock::Knock;
use super::slow::Shortfall;
use super::stall::{HALF_OPEN_AFTER, Held, STALLED_AFTER};
use crate::ffmpeg::classify::Complaint;

/// A connection that ends this soon after the first delivery was not wanted by the server.
const CLOSED_AT_ONCE: Duration = Duration::from_secs(2);

/// One failure of one destination. Never holds a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// What happened, to what.
    pub message: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// FFmpeg said what is wrong between it and the server.
    Peer(Complaint),
    /// The server's machine answers, and the server takes nothing.
    Stalled,
    /// The network is silent: nothing is acknowledged, not even the question for it.
    HalfOpen,
    /// FFmpeg takes nothing although nothing holds it up.
    FfmpegStalled,
    /// FFmpeg ended without saying anything that is understood.
    FfmpegExited,
    /// FFmpeg could not be started.
    FfmpegUnusable,
    /// This FFmpeg can be given a key only in its arguments.
    ArgvSecretRefused,
    /// The variable that should hold the key does not.
    KeyMissing,
    /// The key cannot be one.
    KeyUnusable,
    /// The URL cannot be published to.
    UrlUnusable,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// What FFmpeg complained about in `line`, publishing to `url`.
    pub fn peer(complaint: Complaint, url: &str, line: &str) -> Self {
        let what = match complaint {
            Complaint::Refused => format!("nothing listens at {url}"),
            Complaint::Lost => format!("the connection to {url} was lost"),
            Complaint::TimedOut => format!("{url} does not answer"),
            Complaint::Dns => format!("the host of {url} has no address"),
            Complaint::Tls => format!("no trusted TLS connection to {url}"),
            Complaint::Rejected => format!("{url} refused the key or the name"),
            Complaint::ClosedAtPublish => {
                format!("{url} closed the connection when the stream was announced")
            }
            Complaint::Occupied => format!("{url} has another publisher with this key"),
        };
        Self::new(FailureKind::Peer(complaint), format!("{what} ({line})"))
    }

    /// What held up the connection to `url`.
    pub fn held(held: Held, url: &str) -> Self {
        let stalled_s = STALLED_AFTER.as_secs_f64();
        match held {
            Held::Unanswered => Self::new(
                FailureKind::Peer(Complaint::TimedOut),
                format!("{url} has not answered for {stalled_s} s"),
            ),
            Held::HalfOpen => Self::new(
                FailureKind::HalfOpen,
                format!(
                    "nothing has come back from {url} for {} s",
                    HALF_OPEN_AFTER.as_secs()
                ),
            ),
            Held::PeerStalled => Self::new(
                FailureKind::Stalled,
                format!("{url} has taken no data for {stalled_s} s"),
            ),
            Held::FfmpegStalled => Self::new(
                FailureKind::FfmpegStalled,
                format!("FFmpeg has taken no data for {url} for {stalled_s} s"),
            ),
        }
    }

    /// Whether a connection was lost as soon as it had delivered, `delivered_for` so long: that is
    /// how some platforms refuse a key.
    pub fn is_at_once(&self, delivered_for: Option<Duration>) -> bool {
        let at_once = delivered_for.is_some_and(|time| time < CLOSED_AT_ONCE);
        at_once && self.kind == FailureKind::Peer(Complaint::Lost)
    }

    /// The same, when it was not the first time: once may be any server's end.
    pub fn closed_again(self) -> Self {
        Self {
            kind: FailureKind::Peer(Complaint::ClosedAtPublish),
            ..self
        }
    }

    /// As it stands in status answers.
    pub fn report(&self) -> ErrorReport {
        ErrorReport {
            error_type: self.kind.error_type().to_owned(),
            message: self.message.clone(),
            hint: self.kind.hint().to_owned(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl FailureKind {
    /// The stable name of the kind.
    pub fn error_type(self) -> &'static str {
        match self {
            Self::Peer(Complaint::Refused) => "connection_refused",
            Self::Peer(Complaint::Lost) => "connection_lost",
            Self::Peer(Complaint::TimedOut) => "timeout",
            Self::Peer(Complaint::Dns) => "dns_failed",
            Self::Peer(Complaint::Tls) => "tls_failed",
            Self::Peer(Complaint::Rejected) => "key_rejected",
            Self::Peer(Complaint::Occupied) => "already_publishing",
            Self::Peer(Complaint::ClosedAtPublish) => "closed_at_publish",
            Self::Stalled => "stalled",
            Self::HalfOpen => "half_open",
            Self::FfmpegStalled => "ffmpeg_stalled",
            Self::FfmpegExited => "ffmpeg_exited",
            Self::FfmpegUnusable => "ffmpeg_unusable",
            Self::ArgvSecretRefused => "argv_secret_refused",
            Self::KeyMissing => "key_missing",
            Self::KeyUnusable => "key_unusable",
            Self::UrlUnusable => "url_unusable",
        }
    }

    /// What the air record calls the darkness it brings.
    pub fn cause(self) -> DarkCause {
        match self {
            Self::Peer(Complaint::Rejected | Complaint::Occupied) => DarkCause::DestinationRejected,
            Self::Stalled | Self::HalfOpen => DarkCause::DestinationStalled,
            Self::Peer(
                Complaint::Refused
                | Complaint::Lost
                | Complaint::TimedOut
                | Complaint::Dns
                | Complaint::Tls
                | Complaint::ClosedAtPublish,
            )
            | Self::FfmpegStalled
            | Self::FfmpegExited
            | Self::FfmpegUnusable => DarkCause::DestinationLost,
            Self::ArgvSecretRefused | Self::KeyMissing | Self::KeyUnusable | Self::UrlUnusable => {
                DarkCause::GivenUp
            }
        }
    }

    /// What shows that another try may succeed; `None`: only another try does.
    pub fn knock(self) -> Option<Knock> {
        match self {
            Self::Peer(Complaint::Refused | Complaint::TimedOut | Complaint::Dns)
            | Self::HalfOpen => Some(Knock::Connect),
            Self::Peer(Complaint::Lost) | Self::Stalled => Some(Knock::Greet),
            // A key is not tried more often than its ladder says.
            Self::Peer(
                Complaint::Tls
                | Complaint::Rejected
                | Complaint::Occupied
                | Complaint::ClosedAtPublish,
            )
            | Self::FfmpegStalled
            | Self::FfmpegExited
            | Self::FfmpegUnusable
            | Self::ArgvSecretRefused
            | Self::KeyMissing
            | Self::KeyUnusable
            | Self::UrlUnusable => None,
        }
    }

    /// Whether trying again as things stand cannot help.
    pub fn is_final(self) -> bool {
        match self {
            Self::ArgvSecretRefused | Self::KeyMissing | Self::KeyUnusable | Self::UrlUnusable => {
                true
            }
            Self::Peer(_)
            | Self::Stalled
            | Self::HalfOpen
            | Self::FfmpegStalled
            | Self::FfmpegExited
            | Self::FfmpegUnusable => false,
        }
    }

    /// What an operator should do.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Peer(Complaint::Refused) => {
                "nothing listens at that address and port: check the URL, and that the server runs"
            }
            Self::Peer(Complaint::Lost) => {
                "the server or the network ended the connection; it is made again by itself. If \
                 it happens within seconds each time, check the key and the platform's dashboard"
            }
            Self::Peer(Complaint::TimedOut) => {
                "nothing answers: check the host and port in the URL and this machine's firewall"
            }
            Self::Peer(Complaint::Dns) => {
                "the host name has no address: check its spelling in the URL and this machine's \
                 name server"
            }
            Self::Peer(Complaint::Tls) => {
                "the server's certificate was not accepted: check the host name in the URL, this \
                 machine's clock, and that ca-certificates is installed"
            }
            Self::Peer(Complaint::Rejected) => {
                "the platform refused the key or the name: copy the stream key anew from its \
                 dashboard, and check that nothing else is publishing with it"
            }
            Self::Peer(Complaint::Occupied) => {
                "the server has a publisher with that key: end it, or wait until the server has \
                 noticed that an earlier connection is gone"
            }
            Self::Peer(Complaint::ClosedAtPublish) => {
                "the server closed the connection without a word when it was told the key, which \
                 usually means a wrong key: copy it anew from the platform's dashboard. A server \
                 that is being restarted may do the same"
            }
            Self::Stalled => {
                "the server's machine answers, the server takes no data: look at the server; the \
                 connection is made again by itself"
            }
            Self::HalfOpen => {
                "the network between here and the server is silent: check this machine's uplink \
                 and firewall; the connection is made again by itself"
            }
            Self::FfmpegStalled => {
                "FFmpeg hangs on this machine and is replaced by itself. If it returns, look for \
                 stopped processes and a lack of CPU"
            }
            Self::FfmpegExited => "see the [FFMPEG] lines of this destination in the log",
            Self::FfmpegUnusable => {
                "check FFMPEG_BIN, and this machine's limits of processes and memory"
            }
            Self::ArgvSecretRefused => {
                "use an FFmpeg from 4.2 to 7.0, or accept that every user of this machine can \
                 read the key: ALLOW_ARGV_SECRETS=true"
            }
            Self::KeyMissing => {
                "set that variable in the controller's environment and restart the stream"
            }
            Self::KeyUnusable => "copy the stream key anew from the platform's dashboard",
            Self::UrlUnusable => "write it as rtmp://host/app, rtmps://host/app or srt://host:port",
        }
    }
}

/// What an operator is told of a destination that takes the stream, and not as fast as it comes.
pub(super) fn slow(
    url: &str,
    shortfall: Option<Shortfall>,
    behind_s: f64,
    dropped_frames: u64,
) -> ErrorReport {
    let of = shortfall.map_or_else(String::new, |it| {
        format!("{} of {} kb/s, ", it.taken_kbps, it.given_kbps)
    });
    ErrorReport {
        error_type: "slow".to_owned(),
        message: format!(
            "{url} takes the stream slower than it comes: {of}{behind_s:.1} s behind, \
             {dropped_frames} frames dropped so far"
        ),
        hint: "the way to the server is slower than the stream: lower format.video_kbps, or look \
               at this machine's uplink. Nothing is connected anew for it"
            .to_owned(),
    }
}
