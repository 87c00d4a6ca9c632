//! A machine of its own, as far as TCP can tell: a network namespace behind a cable that can be cut.
//!
//! What the kernel of the loopback always does, a cut cable does not: answer.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

use crate::rtmp::Receiver;

/// The far end of the cable; gone when dropped.
#[derive(Debug)]
pub struct Far {
    namespace: File,
    /// This end.
    near: String,
    interface: String,
    address: Ipv4Addr,
}

impl Far {
    /// `None` where this user may not make one, or `ip` is missing.
    pub fn away() -> Option<Self> {
        // One cable per test process: its number makes its names and addresses its own.
        let pid = std::process::id();
        let [.., high, low] = pid.to_be_bytes();
        let (here, address) = (
            Ipv4Addr::new(10, 211 + high % 32, low, 1),
            Ipv4Addr::new(10, 211 + high % 32, low, 2),
        );
        let (near, interface) = (format!("sc{pid}h"), format!("sc{pid}f"));
        let make = {
            let (near, interface) = (near.clone(), interface.clone());
            move || {
                unshare(CloneFlags::CLONE_NEWNET).ok()?;
                let namespace = File::open("/proc/thread-self/ns/net").ok()?;
                let host = pid.to_string();
                ip(&format!(
                    "link add {interface} type veth peer name {near} netns {host}"
                ))?;
                ip("link set lo up")?;
                ip(&format!("link set {interface} up"))?;
                ip(&format!("addr add {address}/30 dev {interface}"))?;
                Some(namespace)
            }
        };
        let namespace = std::thread::spawn(make).join().ok()??;
        ip(&format!("addr add {here}/30 dev {near}"))?;
        ip(&format!("link set {near} up"))?;
        Some(Self {
            namespace,
            near,
            interface,
            address,
        })
    }

    /// A polite receiver over there.
    pub fn receiver(&self) -> Receiver {
        let address = SocketAddr::new(IpAddr::V4(self.address), 0);
        self.over_there(|| Receiver::start_at(address))
    }

    /// From now on the cable carries so much on its way there; false where this machine cannot do that.
    pub fn narrow(&self, kbps: u32) -> bool {
        let shape = format!("root tbf rate {kbps}kbit burst 16kb latency 500ms");
        run("tc", &format!("qdisc add dev {} {shape}", self.near)).is_some()
    }

    /// It carries everything again.
    pub fn widen(&self) {
        run("tc", &format!("qdisc del dev {} root", self.near)).expect("tc worked before");
    }

    /// From now on nothing arrives there and nothing comes back.
    pub fn cut(&self) {
        self.address_there("del");
    }

    /// Everything arrives again.
    pub fn mend(&self) {
        self.address_there("add");
    }

    /// Without its address the far machine drops what comes for it, without a word.
    fn address_there(&self, what: &str) {
        let (address, interface) = (self.address, &self.interface);
        let arguments = format!("addr {what} {address}/30 dev {interface}");
        self.over_there(|| ip(&arguments))
            .expect("ip worked before");
    }

    /// Runs `work` on a thread that lives over there.
    fn over_there<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("our own namespace");
                work()
            });
            thread.join().expect("no panic over there")
        })
    }
}

fn ip(arguments: &str) -> Option<()> {
    run("ip", arguments)
}

/// Runs `program` in the namespace of this thread.
fn run(program: &str, arguments: &str) -> Option<()> {
    let status = Command::new(program).args(arguments.split(' ')).status();
    status.ok()?.success().then_some(())
}
