//! Why a destination does not get the stream, as the program decides by it and an operator reads it.

use std::fmt;

use storage::model::ErrorReport;

use crate::ffmpeg::classify::Complaint;

/// One failure of one destination. Never holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// What happened, to what.
    pub message: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// FFmpeg said what is wrong between it and the server.
    Peer(Complaint),
    /// The server took nothing, or acknowledged nothing, for too long.
    Stalled,
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
            Complaint::Occupied => format!("{url} has another publisher with this key"),
        };
        Self::new(FailureKind::Peer(complaint), format!("{what} ({line})"))
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
            Self::Stalled => "stalled",
            Self::FfmpegExited => "ffmpeg_exited",
            Self::FfmpegUnusable => "ffmpeg_unusable",
            Self::ArgvSecretRefused => "argv_secret_refused",
            Self::KeyMissing => "key_missing",
            Self::KeyUnusable => "key_unusable",
            Self::UrlUnusable => "url_unusable",
        }
    }

    /// Whether trying again as things stand cannot help.
    pub fn is_final(self) -> bool {
        match self {
            Self::ArgvSecretRefused | Self::KeyMissing | Self::KeyUnusable | Self::UrlUnusable => {
                true
            }
            Self::Peer(_) | Self::Stalled | Self::FfmpegExited | Self::FfmpegUnusable => false,
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
            Self::Stalled => {
                "the connection is open but takes no data; it is made again by itself. If it \
                 returns, the upload is too slow for the stream's bit rate"
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
