//! Real signals to this process; so this file has one test.

use nix::sys::signal::{Signal, raise};
use supervise::shutdown::{Cause, Shutdown};

#[tokio::test]
async fn the_first_signal_is_graceful_and_the_second_immediate() {
    let shutdown = Shutdown::install().unwrap();
    let other_holder = shutdown.clone();
    assert!(!shutdown.token().is_cancelled());

    raise(Signal::SIGTERM).unwrap();
    assert_eq!(shutdown.requested().await, Cause::Terminate);
    assert!(other_holder.token().is_cancelled());
    // A request by the program itself is no second signal, and does not change the cause.
    shutdown.request();
    let pause = std::time::Duration::from_millis(20);
    assert!(
        tokio::time::timeout(pause, shutdown.immediate())
            .await
            .is_err()
    );
    assert_eq!(shutdown.requested().await, Cause::Terminate);

    raise(Signal::SIGINT).unwrap();
    other_holder.immediate().await;
}
