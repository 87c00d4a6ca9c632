//! Faults of the channel's first destination, and of the FFmpeg that publishes to it.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Played, Unavailable};
use crate::drill::proxy::Way;
use crate::drill::world::World;

/// A hanging publisher is given up within this, or the drill ends its freeze.
const NOTICED_WITHIN: Duration = Duration::from_secs(15);
/// A quarter of what the films need.
const SLOW_BYTES_PER_S: usize = 50_000;

pub(super) async fn publisher_killed(world: &mut World, channel: usize) -> anyhow::Result<Played> {
    let before = connections(world, channel).await?;
    let publisher = world.publisher(channel).await?;
    let made = Instant::now();
    publisher.signal(Signal::KILL)?;
    another(world, channel, before).await?;
    Ok(Played::at_once(made))
}

pub(super) async fn publisher_frozen(world: &mut World, channel: usize) -> anyhow::Result<Played> {
    let before = connections(world, channel).await?;
    let publisher = world.publisher(channel).await?;
    let made = Instant::now();
    publisher.signal(Signal::STOP)?;
    let ended = tokio::time::timeout(NOTICED_WITHIN, publisher.exited()).await;
    publisher.signal(Signal::CONT)?;
    anyhow::ensure!(ended.is_ok(), "a frozen FFmpeg was not ended");
    another(world, channel, before).await?;
    // Nothing had to be waited for: a new one can publish from the first moment on.
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
) -> anyhow::Result<Result<Played, Unavailable>> {
    if !world.channels[channel].destinations[0].proxy.can_be_deaf() {
        return Ok(Err(Unavailable(
            "this kernel lets only root filter what arrives at a socket: run the drill as root",
        )));
    }
    way(world, channel, Way::HalfOpen, hold).await.map(Ok)
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
    let before = connections(world, channel).await?;
    let made = Instant::now();
    world.channels[channel].destinations[0].proxy.reset();
    another(world, channel, before).await?;
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

/// Connections made to the first destination since its worker started.
async fn connections(world: &mut World, channel: usize) -> anyhow::Result<u64> {
    let status = world.status(channel).await?;
    Ok(made(&status))
}

fn made(status: &serde_json::Value) -> u64 {
    status["destinations"][0]["connections"]
        .as_u64()
        .unwrap_or_default()
}

/// Until there is another connection: the state before must not be taken for the one after.
async fn another(world: &mut World, channel: usize, than: u64) -> anyhow::Result<()> {
    let is_made = |status: &serde_json::Value| made(status) > than;
    world
        .until(channel, "a new connection", NOTICED_WITHIN, is_made)
        .await
        .map(drop)
}
