//! A thread that serves the connections of a listener: nothing else of the test can delay it.

use std::net::TcpListener;
use std::thread::JoinHandle;

use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// The thread; it and its connections end when dropped.
#[derive(Debug)]
pub(crate) struct Served {
    /// Dropped: the thread is to end.
    closing: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Has `receive` serve each connection.
    pub(crate) fn by<R, F>(listener: TcpListener, receive: R) -> Self
    where
        R: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        listener.set_nonblocking(true).expect("a socket for tokio");
        let (closing, closed) = oneshot::channel();
        let thread = std::thread::spawn(move || serve(listener, &receive, closed));
        Self {
            closing: Some(closing),
            thread: Some(thread),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.closing.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve<R, F>(listener: TcpListener, receive: &R, mut closed: oneshot::Receiver<()>)
where
    R: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listening socket");
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((socket, _)) = accepted else { break };
                    connections.spawn(receive(socket));
                }
                Some(_) = connections.join_next() => {}
                _ = &mut closed => break,
            }
        }
    });
}
