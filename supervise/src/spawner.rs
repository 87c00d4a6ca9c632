//! The one thread that forks.
//!
//! `PR_SET_PDEATHSIG` fires when the *thread* that forked ends, not the process. A child forked from
//! a worker thread of the runtime, or from its blocking pool, would be killed whenever that thread
//! is retired. So one thread lives as long as the process and does every fork. It also reaps the
//! children whose handles were dropped, and replaces the process's image ([`crate::reexec`]).
//!
//! That thread is one of its own, or the main thread ([`here`]). A process that re-executes itself
//! needs the latter: `execve` ends all threads but the caller, which becomes the main thread. A child
//! forked by any other would get its death signal then, in this image or in the next.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::command::{SpawnError, Spec};
use crate::fork::{Forked, fork_exec};
use crate::reexec::{self, Image};
use crate::unreaped::Unreaped;

/// How often dropped children are looked at. Only zombies wait for it.
const REAP_EVERY: Duration = Duration::from_millis(500);

enum Request {
    Spawn {
        spec: Box<Spec>,
        reply: Sender<Result<Forked, SpawnError>>,
    },
    Reap(Unreaped),
    /// Answered only when it failed.
    Replace {
        image: Box<Image>,
        reply: Sender<io::Error>,
    },
    WelcomeSignals,
    /// The work this thread serves is done.
    End,
}

static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();

/// Makes the calling thread the one that forks, while `work` runs in another; returns when that has
/// ended. No child can be started afterwards.
///
/// # Panics
/// When `work` does, and when a child was started before.
pub fn here<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let (sender, requests) = channel();
    let end = sender.clone();
    assert!(
        SPAWNER.set(sender).is_ok(),
        "the thread that forks was chosen already"
    );
    std::thread::scope(|scope| {
        let working = std::thread::Builder::new()
            .name("work".into())
            .spawn_scoped(scope, move || {
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                // The receiver is below, and waits for exactly this.
                let _ = end.send(Request::End);
                done
            })
            .expect("a process that cannot start its second thread cannot do anything");
        serve(&requests);
        match working.join() {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) | Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Forks and executes `spec` on the spawner thread, and waits for `execve` to have succeeded.
pub(crate) fn spawn(spec: Spec) -> Result<Forked, SpawnError> {
    let (reply, answer) = channel();
    let spec = Box::new(spec);
    spawner()
        .send(Request::Spawn { spec, reply })
        .expect("the spawner thread never ends: its sender is a static");
    answer
        .recv()
        .expect("the spawner thread answers every request and does not panic")
}

/// Takes over a child nobody will wait for, so that it does not stay a zombie.
pub(crate) fn reap_later(child: Unreaped) {
    // It can only fail while the process is being torn down; init reaps then.
    let _ = spawner().send(Request::Reap(child));
}

/// Replaces this process's image; returns only when that failed.
pub(crate) fn replace(image: Image) -> io::Error {
    let (reply, failed) = channel();
    let image = Box::new(image);
    let asked = spawner().send(Request::Replace { image, reply });
    let answer = asked
        .map_err(|_| ())
        .and_then(|()| failed.recv().map_err(|_| ()));
    // Without an answer the process is ending.
    answer.unwrap_or_else(|()| io::ErrorKind::BrokenPipe.into())
}

/// See [`reexec::welcome_signals`].
pub(crate) fn welcome_signals() {
    // It can only fail while the process is ending.
    let _ = spawner().send(Request::WelcomeSignals);
}

fn spawner() -> &'static Sender<Request> {
    SPAWNER.get_or_init(|| {
        let (sender, requests) = channel();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || serve(&requests))
            .expect("a process that cannot start its second thread cannot do anything");
        sender
    })
}

fn serve(requests: &Receiver<Request>) {
    let mut dropped: Vec<Unreaped> = Vec::new();
    loop {
        let request = if dropped.is_empty() {
            requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            requests.recv_timeout(REAP_EVERY)
        };
        match request {
            Ok(Request::Spawn { spec, reply }) => {
                // The caller is blocked on the answer, so it is there.
                let _ = reply.send(fork_exec(*spec));
            }
            Ok(Request::Reap(child)) => dropped.push(child),
            Ok(Request::Replace { image, reply }) => {
                // The caller is blocked on the answer, so it is there.
                let _ = reply.send(reexec::exec(&image));
            }
            Ok(Request::WelcomeSignals) => reexec::unblock_signals(),
            Ok(Request::End) => return,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        dropped.retain(|child| child.try_wait().is_none());
    }
}
