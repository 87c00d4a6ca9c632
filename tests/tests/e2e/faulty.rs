//! Destinations that fail, each behind a proxy or a server of its own, and how they are told.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use e2e::controller::Controller;
use e2e::nginx::free_address;
use e2e::process::{self, Child};
use e2e::proxy::{Fault, Proxy};
use e2e::rtmp::{Manners, Receiver};
use e2e::wait;
use serde_json::Value;

use super::destinations::to;

const SOON: Duration = Duration::from_secs(40);

/// A receiver behind a proxy.
pub(super) struct Behind {
    pub(super) receiver: Receiver,
    pub(super) proxy: Proxy,
}

impl Behind {
    pub(super) fn new() -> Self {
        let receiver = Receiver::start();
        let proxy = Proxy::to(receiver.address());
        Self { receiver, proxy }
    }

    pub(super) fn destination(&self, name: &str) -> Value {
        to(name, &self.proxy.url("rtmp"))
    }
}

/// A server whose certificate nobody has signed.
struct SelfSigned {
    _server: Child,
    _directory: tempfile::TempDir,
    address: SocketAddr,
}

impl SelfSigned {
    fn start() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str| directory.path().join(name).display().to_string();
        let (key, certificate) = (file("key.pem"), file("cert.pem"));
        let make = [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=127.0.0.1",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ];
        let made = process::run("openssl", &make, SOON).ok()?;
        if !made.status.success() {
            return None;
        }
        let address = free_address();
        let mut command = process::command("openssl");
        command.args(["s_server", "-quiet", "-accept", &address.to_string()]);
        command.args(["-key", &key, "-cert", &certificate]);
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let server = Child::spawn(&mut command);
        wait::until("the TLS server listens", SOON, || {
            std::net::TcpStream::connect(address).ok()
        });
        Some(Self {
            _server: server,
            _directory: directory,
            address,
        })
    }
}

/// Waits until the log says that `destination` failed as `kind`; gives the event.
pub(super) fn told(
    controller: &Controller,
    destination: &str,
    kind: &str,
    limit: Duration,
) -> Value {
    wait::within(limit, || failure(controller, destination, kind)).unwrap_or_else(|| {
        panic!(
            "{destination}: no {kind} within {limit:?}\n{:#}",
            controller.status("main")
        )
    })
}

/// How long after `since` the worker wrote `event`.
pub(super) fn logged(event: &Value, since: SystemTime) -> Duration {
    let at = event["timestamp"].as_str().and_then(|at| at.parse().ok());
    let at: jiff::Timestamp = at.unwrap_or_else(|| panic!("an instant: {event:#}"));
    let after = SystemTime::from(at).duration_since(since);
    after.unwrap_or_default()
}

fn failure(controller: &Controller, destination: &str, kind: &str) -> Option<Value> {
    let log = controller.worker_log();
    let mut events = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.find(|event| event["destination"] == destination && event["error_type"] == kind)
}

/// A destination as the status shows it; nothing while the worker is still starting.
pub(super) fn shown(status: &Value, name: &str) -> Value {
    let all = status["destinations"].as_array().into_iter().flatten();
    all.into_iter()
        .find(|it| it["name"] == name)
        .cloned()
        .unwrap_or_default()
}

pub(super) fn wait_all_live(controller: &Controller, names: &[&str]) {
    controller.wait("main", "all live", SOON, |status| {
        names
            .iter()
            .all(|name| shown(status, name)["state"] == "live")
    });
}

/// What goes wrong after a while, each in its own way.
pub(super) struct Failing {
    pub(super) frozen: Behind,
    pub(super) reset: Behind,
    pub(super) half_closed: Behind,
    pub(super) slow: Behind,
}

impl Failing {
    pub(super) const NAMES: [&str; 4] = ["frozen", "reset", "half-closed", "slow"];

    pub(super) fn new() -> Self {
        Self {
            frozen: Behind::new(),
            reset: Behind::new(),
            half_closed: Behind::new(),
            slow: Behind::new(),
        }
    }

    /// In the order of [`Self::NAMES`].
    pub(super) fn all(&self) -> [&Behind; 4] {
        [&self.frozen, &self.reset, &self.half_closed, &self.slow]
    }

    pub(super) fn destinations(&self) -> impl Iterator<Item = Value> {
        let named = Self::NAMES.into_iter().zip(self.all());
        named.map(|(name, behind)| behind.destination(name))
    }

    pub(super) fn fail(&self) {
        self.frozen.proxy.fault(Fault::Freeze);
        self.slow.proxy.fault(Fault::Throttle(50_000));
        self.reset.proxy.reset();
        self.half_closed.proxy.half_close();
    }
}

/// What is wrong from the beginning.
pub(super) struct Wrong {
    garbage: Behind,
    closing: Behind,
    rejecting: Receiver,
    nobody: SocketAddr,
    unsigned: Option<SelfSigned>,
}

impl Wrong {
    pub(super) fn new() -> Self {
        let (garbage, closing) = (Behind::new(), Behind::new());
        garbage.proxy.fault(Fault::Garbage);
        // Handshake and `connect` are 3.3 KiB.
        closing.proxy.fault(Fault::CloseAfter(3_200));
        let rejecting = Receiver::start();
        rejecting.behave(Manners::RejectKey);
        Self {
            garbage,
            closing,
            rejecting,
            nobody: free_address(),
            unsigned: SelfSigned::start(),
        }
    }

    pub(super) fn destinations(&self) -> Vec<Value> {
        let mut all = vec![
            self.closing.destination("closing"),
            to("garbage", &self.garbage.proxy.url("rtmps")),
            to("rejected", &self.rejecting.url()),
            to("refused", &format!("rtmp://{}/live", self.nobody)),
            to("nameless", "rtmp://no-such-host.invalid/live"),
        ];
        match &self.unsigned {
            Some(server) => all.push(to("unsigned", &format!("rtmps://{}/live", server.address))),
            None => super::skipped("a certificate nobody has signed: openssl is not installed"),
        }
        all
    }

    /// Each of them as it has to be told, and how long after `since` it first was.
    pub(super) fn told(
        &self,
        controller: &Controller,
        since: SystemTime,
    ) -> Vec<(&'static str, Duration)> {
        let mut all = vec![
            ("garbage", "tls_failed"),
            ("nameless", "dns_failed"),
            ("closing", "closed_at_publish"),
            ("rejected", "key_rejected"),
            ("refused", "connection_refused"),
        ];
        all.extend(
            self.unsigned
                .is_some()
                .then_some(("unsigned", "tls_failed")),
        );
        let after = |name, kind| logged(&told(controller, name, kind, SOON), since);
        all.into_iter()
            .map(|(name, kind)| (name, after(name, kind)))
            .collect()
    }
}
