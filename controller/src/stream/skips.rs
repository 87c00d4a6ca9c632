//! Skips asked for while one is being done: they are that one. To the worker a skip is a wish without a number,
//! so whoever presses the button twice, or at the same moment as others, skips one item; and a crowd of
//! callers costs one exchange with the worker and not one each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, watch};

/// Clones are of the same stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Skips(Arc<Calls>);

#[derive(Debug, Default)]
struct Calls {
    /// How many there were.
    came: AtomicU64,
    /// How the last one ended. All who wait learn of it at once, and not one after the other.
    over: watch::Sender<Over>,
    /// Held by whoever does one.
    turn: Mutex<()>,
}

/// Up to which call they are over.
#[derive(Debug, Default)]
struct Over {
    done: u64,
    failed: u64,
}

// === impl Skips ===

impl Skips {
    /// Does `skip`, unless another caller's is done meanwhile. Where another's fails, all who waited for it
    /// do their own at once: a worker that hangs costs each its own patience, not that of all before.
    ///
    /// # Errors
    /// Those of `skip`: they are of this call alone.
    pub(super) async fn one<E>(&self, skip: impl Future<Output = Result<(), E>>) -> Result<(), E> {
        let Calls { came, over, turn } = &*self.0;
        let own = came.fetch_add(1, Ordering::SeqCst) + 1;
        let mut news = over.subscribe();
        let waited = async {
            // The sender is here.
            drop(
                news.wait_for(|over| over.done.max(over.failed) >= own)
                    .await,
            );
        };
        let _turn = tokio::select! {
            biased;
            () = waited => None,
            turn = turn.lock() => Some(turn),
        };
        if over.borrow().done >= own {
            return Ok(());
        }
        let outcome = skip.await;
        let last = came.load(Ordering::SeqCst);
        over.send_modify(|over| match &outcome {
            Ok(()) => over.done = over.done.max(last),
            Err(_) => over.failed = over.failed.max(last),
        });
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::future::join_all;
    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    #[tokio::test]
    async fn those_that_come_while_one_is_done_are_that_one() {
        let (skips, begun, may_end) = (Skips::default(), AtomicU64::new(0), Semaphore::new(0));
        let call = || {
            skips.one(async {
                begun.fetch_add(1, Ordering::SeqCst);
                may_end.acquire().await.expect("it stays open").forget();
                Ok::<_, Infallible>(())
            })
        };
        let calls = join_all((0..100).map(|_| call()));
        tokio::pin!(calls);
        assert!(futures_util::poll!(calls.as_mut()).is_pending());
        may_end.add_permits(2);
        calls.await.into_iter().for_each(|call| call.expect("done"));
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        call().await.expect("done");
        assert_eq!(begun.load(Ordering::SeqCst), 2, "a later one is another");
    }

    #[tokio::test]
    async fn one_that_fails_or_whose_caller_leaves_stands_for_no_other() {
        let skips = Skips::default();
        let (_never, answer) = oneshot::channel::<()>();
        let left = skips.one(async {
            let _never_comes = answer.await;
            Ok::<_, &str>(())
        });
        {
            tokio::pin!(left);
            assert!(futures_util::poll!(left).is_pending());
        }
        let (failed, done) = tokio::join!(
            skips.one(async { Err("refused") }),
            skips.one(async { Ok::<_, &str>(()) })
        );
        assert_eq!((failed, done), (Err("refused"), Ok(())));
    }

    #[tokio::test]
    async fn those_who_waited_for_one_that_fails_do_theirs_side_by_side() {
        let (skips, begun, may_end) = (Skips::default(), AtomicU64::new(0), Semaphore::new(0));
        let call = || {
            skips.one(async {
                begun.fetch_add(1, Ordering::SeqCst);
                may_end.acquire().await.expect("it stays open").forget();
                Err::<(), _>("it hangs")
            })
        };
        let calls = join_all((0..100).map(|_| call()));
        tokio::pin!(calls);
        assert!(futures_util::poll!(calls.as_mut()).is_pending());
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        may_end.add_permits(1);
        while begun.load(Ordering::SeqCst) < 100 {
            assert!(futures_util::poll!(calls.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
        may_end.add_permits(99);
        assert!(calls.await.iter().all(Result::is_err));
    }
}
