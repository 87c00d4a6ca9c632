//! What FFmpeg complains about when it publishes, in words of versions 4.2 to 9.0.

use super::run::{Level, Line};
use serde::{Deserialize, Serialize};

/// What is wrong between FFmpeg and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Complaint {
    /// Nothing listens there.
    Refused,
    /// There was a connection, and it is gone.
    Lost,
    /// No answer in time.
    TimedOut,
    /// The host has no address.
    Dns,
    /// The certificate was not accepted, or there is no TLS.
    Tls,
    /// The server refused the key or the name.
    Rejected,
    /// The server has a publisher of that name already.
    Occupied,
    /// The server took the connection, and closed it without a word at `connect` or `publish`.
    ClosedAtPublish,
}

/// Listens to one FFmpeg: of several lines about one failure the first that says something is the
/// most exact, and some say something only in the light of an earlier one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Listener {
    heard: Option<(Complaint, String)>,
    in_handshake: bool,
}

impl Listener {
    /// One more line.
    pub fn hear(&mut self, line: &Line) {
        if self.heard.is_some() {
            return;
        }
        let complaint = match complaint(line) {
            // It never came as far as a key.
            Some(Complaint::ClosedAtPublish) if self.in_handshake => Some(Complaint::Lost),
            complaint => complaint,
        };
        self.heard = complaint.map(|complaint| (complaint, line.text.clone()));
        self.in_handshake |= line.text.contains("handshake");
    }

    /// What is wrong, and the line that said so.
    pub fn into_heard(self) -> Option<(Complaint, String)> {
        self.heard
    }
}

/// What `line` says, if it is one of a connection's failure.
fn complaint(line: &Line) -> Option<Complaint> {
    if line.level < Level::Error {
        return None;
    }
    let text = line.text.as_str();
    said_by_server(text)
        .or_else(|| about_tls(text))
        .or_else(|| about_connection(text))
}

/// FFmpeg passes on what the server answered to `connect` or `publish`.
fn said_by_server(text: &str) -> Option<Complaint> {
    let (_, answer) = text.split_once("Server error: ")?;
    let answer = answer.to_ascii_lowercase();
    let occupied = ["already", "in use", "busy"];
    if occupied.iter().any(|word| answer.contains(word)) {
        Some(Complaint::Occupied)
    } else {
        Some(Complaint::Rejected)
    }
}

fn about_tls(text: &str) -> Option<Complaint> {
    let said = text.strip_prefix("tls: ")?;
    // The connection below it broke: the lines that follow say how.
    let below = ["IO error", "pull function", "push function", "Connection "];
    (!below.iter().any(|words| said.contains(words))).then_some(Complaint::Tls)
}

fn about_connection(text: &str) -> Option<Complaint> {
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if says(&["Failed to resolve hostname"]) {
        Some(Complaint::Dns)
    } else if says(&["Connection refused"]) {
        Some(Complaint::Refused)
    } else if says(&[
        "timed out",
        "No route to host",
        "Network is unreachable",
        "Host is unreachable",
    ]) {
        Some(Complaint::TimedOut)
    } else if text.starts_with("srt: Connection to ") {
        // libsrt knows one error for everything that keeps a handshake from ending.
        Some(Complaint::TimedOut)
    } else if says(&["Broken pipe", "Connection reset by peer", "End of file"]) {
        Some(Complaint::Lost)
    } else if says(&["Input/output error"]) {
        // While opening and with nothing said before: the end of the input where an answer was to
        // come, which is how most refuse a key.
        let opening = text.contains("Error opening output") || text.starts_with("rtmp");
        Some(if opening {
            Complaint::ClosedAtPublish
        } else {
            Complaint::Lost
        })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the lines of one run, as they come from FFmpeg, are understood as.
    fn of(run: &str) -> Option<Complaint> {
        let mut listener = Listener::default();
        for line in run.lines() {
            listener.hear(&Line::parse(line.trim()));
        }
        listener.into_heard().map(|(complaint, _)| complaint)
    }

    #[test]
    fn nothing_listens() {
        let v5 = "[tcp @ 0x55dc] [error] Connection to tcp://127.0.0.1:1?tcp_nodelay=0 failed: Connection refused
            [rtmp @ 0x55dc] [error] Cannot open connection tcp://127.0.0.1:1?tcp_nodelay=0
            [error] rtmp://127.0.0.1:1/***: Connection refused";
        let v7 = "[tcp @ 0x1c3d] [error] Connection to tcp://127.0.0.1:1?tcp_nodelay=0 failed: Connection refused
            [out#0/flv @ 0x1c42] [fatal] Error opening output rtmp://127.0.0.1:1/***: Connection refused";
        assert_eq!(of(v5), Some(Complaint::Refused));
        assert_eq!(of(v7), Some(Complaint::Refused));
    }

    #[test]
    fn the_connection_is_closed_at_publish() {
        let v5 = "[error] rtmp://127.0.0.1:29351/***: Input/output error";
        let v7 = "[out#0/flv @ 0x1edf] [fatal] Error opening output rtmp://127.0.0.1:29351/***: Input/output error
            [error] Error opening output file rtmp://127.0.0.1:29351/***.
            [fatal] Error opening output files: Input/output error";
        assert_eq!(of(v5), Some(Complaint::ClosedAtPublish));
        assert_eq!(of(v7), Some(Complaint::ClosedAtPublish));
    }

    #[test]
    fn publish_is_refused_in_words() {
        for words in [
            "NetStream.Publish.BadName",
            "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ]",
            "Publish rejected",
            "authentication failed",
        ] {
            let line = format!("[rtmp @ 0x560a] [error] Server error: {words}");
            assert_eq!(of(&line), Some(Complaint::Rejected), "{words}");
        }
        // Only a remark about an optional call: FFmpeg goes on.
        assert_eq!(
            of("[rtmp @ 0x1] [warning] Server error: no FCPublish"),
            None
        );
    }

    #[test]
    fn somebody_else_publishes() {
        let run = "[rtmp @ 0x560a] [error] Server error: Already publishing
            [error] rtmp://127.0.0.1:29351/***: Operation not permitted";
        assert_eq!(of(run), Some(Complaint::Occupied));
    }

    #[test]
    fn the_server_goes_away_in_the_middle() {
        let v5 = "[error] av_interleaved_write_frame(): Connection reset by peer
            [flv @ 0x5625] [warning] Failed to update header with correct duration.
            [error] Error writing trailer of rtmp://127.0.0.1:29351/***: Connection reset by peer
            [error] Error closing file rtmp://127.0.0.1:29351/***: Broken pipe";
        let v7 =
            "[vost#0:0/copy @ 0x705a] [error] Error submitting a packet to the muxer: Broken pipe
            [out#0/flv @ 0x705a] [error] Error muxing a packet";
        let youtube = "[error] av_interleaved_write_frame(): Input/output error";
        assert_eq!(of(v5), Some(Complaint::Lost));
        assert_eq!(of(v7), Some(Complaint::Lost));
        assert_eq!(of(youtube), Some(Complaint::Lost));
    }

    #[test]
    fn the_server_goes_away_in_the_handshake() {
        let plain = "[rtmp @ 0x55fe] [error] Cannot read RTMP handshake response
            [error] rtmp://127.0.0.1:29353/***: Connection reset by peer";
        let silent = "[rtmp @ 0x55fe] [error] Cannot read RTMP handshake response
            [error] rtmp://127.0.0.1:29353/***: Input/output error";
        let tls = "[tls @ 0x55ae] [error] Error in the pull function.
            [tls @ 0x55ae] [error] IO error: Connection reset by peer
            [rtmps @ 0x55ae] [error] Cannot open connection tls://127.0.0.1:29353
            [error] rtmps://127.0.0.1:29353/***: Connection reset by peer";
        assert_eq!(of(plain), Some(Complaint::Lost));
        assert_eq!(of(silent), Some(Complaint::Lost));
        assert_eq!(of(tls), Some(Complaint::Lost));
    }

    #[test]
    fn the_server_is_frozen() {
        let run = "[rtmp @ 0x55b2] [error] Cannot read RTMP handshake response
            [error] rtmp://127.0.0.1:29351/***: Connection timed out";
        assert_eq!(of(run), Some(Complaint::TimedOut));
    }

    #[test]
    fn the_name_does_not_resolve() {
        let run = "[tcp @ 0x55df] [error] Failed to resolve hostname no.such.host.invalid: Name or service not known
            [rtmp @ 0x55df] [error] Cannot open connection tcp://no.such.host.invalid:1935?tcp_nodelay=0
            [error] rtmp://no.such.host.invalid/***: Input/output error";
        assert_eq!(of(run), Some(Complaint::Dns));
    }

    #[test]
    fn tls_fails() {
        for line in [
            "[tls @ 0x562f] [error] An unexpected TLS packet was received.",
            "[tls @ 0x558238d2e540] [error] error:0A00010B:SSL routines::wrong version number",
            "[tls @ 0x55c8] [error] Peer certificate failed verification",
            "[tls @ 0x5641] [error] error:0A000086:SSL routines::certificate verify failed",
        ] {
            assert_eq!(of(line), Some(Complaint::Tls), "{line}");
        }
    }

    #[test]
    fn srt_finds_nobody() {
        let run =
            "[srt @ 0x55b3] [error] Connection to srt://127.0.0.1:29999 failed: Input/output error
            [error] srt://127.0.0.1:29999: Input/output error";
        assert_eq!(of(run), Some(Complaint::TimedOut));
    }

    #[test]
    fn other_words_are_left_alone() {
        assert_eq!(
            of("[flv @ 0x1] [error] Packets are not in the proper order"),
            None
        );
        assert_eq!(of("[info] Connection refused is only mentioned"), None);
    }
}
