//! Faults of the channel's first destination, and of the FFmpeg that publishes to it.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Played;
use crate::drill::proxy::Way;
use crate::drill::world::World;

/// A hanging publisher is given up within this, or the drill ends its freeze.
const NOTICED_WITHIN: Duration = Duration::from_secs(15);
/// Half of the films' bit rate, sound included, in bytes.
const SLOW_BYTES_PER_S: usize = 29_000;

pub(super) async fn publisher_killed(world: &mut World, channel: usize) -> anyhow::Result<Played> {
    let publisher = world.publisher(channel).await?;
    let made = Instant::now();
    publisher.signal(Signal::KILL)?;
    lost(world, channel).await?;
    Ok(Played::at_once(made))
}

pub(super) async fn publisher_frozen(world: &mut World, channel: usize) -> anyhow::Result<Played> {
    let publisher = world.publisher(channel).await?;
    let made = Instant::now();
    publisher.signal(Signal::STOP)?;
    let ended = tokio::time::timeout(NOTICED_WITHIN, publisher.exited()).await;
    publisher.signal(Signal::CONT)?;
    anyhow::ensure!(ended.is_ok(), "a frozen FFmpeg was not ended");
    // Nothing has to be waited for: a new one can publish from the first moment on.
    Ok(Played::at_once(made))
}

pub(super) async fn refuses(
    world: &mut World,
    channel: usize,
    hold: Duration,
) -> anyhow::Result<Played> {
    way(world, channel, Way::Refused, hold).await
}

pub(super) async fn half_open(
    world: &mut World,
    channel: usize,
    hold: Duration,
) -> anyhow::Result<Played> {
    way(world, channel, Way::HalfOpen, hold).await
}

pub(super) async fn stalls(
    world: &mut World,
    channel: usize,
    hold: Duration,
) -> anyhow::Result<Played> {
    way(world, channel, Way::Stalled, hold).await
}

pub(super) async fn slow(
    world: &mut World,
    channel: usize,
    hold: Duration,
) -> anyhow::Result<Played> {
    way(world, channel, Way::Slow(SLOW_BYTES_PER_S), hold).await
}

pub(super) async fn resets(world: &mut World, channel: usize) -> anyhow::Result<Played> {
    let made = Instant::now();
    world.channels[channel].destinations[0].proxy.reset();
    lost(world, channel).await?;
    Ok(Played::at_once(made))
}

pub(super) async fn rejects_key(
    world: &mut World,
    channel: usize,
    hold: Duration,
) -> anyhow::Result<Played> {
    let destination = &world.channels[channel].destinations[0];
    destination.platform.reject_keys(true);
    destination.proxy.reset();
    world.watch(channel, hold).await;
    let destination = &world.channels[channel].destinations[0];
    destination.platform.reject_keys(false);
    Ok(Played::now())
}

/// The way to the first destination is like this for a while.
async fn way(
    world: &mut World,
    channel: usize,
    way: Way,
    hold: Duration,
) -> anyhow::Result<Played> {
    world.channels[channel].destinations[0].proxy.set(way);
    world.watch(channel, hold).await;
    world.channels[channel].destinations[0].proxy.set(Way::Open);
    Ok(Played::now())
}

/// Until the status tells it: what follows must not be taken for the state before.
async fn lost(world: &mut World, channel: usize) -> anyhow::Result<()> {
    let limit = Duration::from_secs(5);
    let is_lost = |status: &serde_json::Value| {
        let first = &status["destinations"][0];
        first["state"] != "live" || !first["error"].is_null()
    };
    world
        .until(channel, "the lost destination is told", limit, is_lost)
        .await
        .map(drop)
}
