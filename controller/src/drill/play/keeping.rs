//! Faults of those who keep a channel on air: controller, worker, and what they remember.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hyper::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::fs;
use tokio::time::sleep;

use super::{Played, Unavailable};
use crate::drill::family;
use crate::drill::refusal::Refusal;
use crate::drill::rest;
use crate::drill::world::World;

const KILLS: u32 = 5;
/// As a service manager waits before it starts it again.
const RESTART_AFTER: Duration = Duration::from_millis(300);
/// The next controller has found the worker, and knows how it is.
const ADOPTED_WITHIN: Duration = Duration::from_secs(3);
const NOTICED_WITHIN: Duration = Duration::from_secs(5);
/// Shorter than anything that is noticed: a destination is given up after 5 s, a worker after 8 s.
const PAUSED: Duration = Duration::from_secs(3);
/// For how long nothing can be written.
const REFUSED_FOR: Duration = Duration::from_secs(6);
/// A stream that is never on air: to be written down.
const BESIDE: &str = "/streams/drill-beside";
const UPGRADED_WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn controller_killed(world: &mut World, channel: usize) -> anyhow::Result<Played> {
    let worker = world.worker(channel).await?;
    for number in 0..KILLS {
        world.kill_controller().await?;
        // Not always at the same point of its life.
        sleep(RESTART_AFTER * (1 + number % 3)).await;
        world.start_controller().await?;
        adopted(world, channel, worker.pid()).await?;
    }
    Ok(Played::now())
}

pub(super) async fn controller_restarted(
    world: &mut World,
    channel: usize,
) -> anyhow::Result<Played> {
    let worker = world.worker(channel).await?;
    world.leave_controller().await?;
    sleep(RESTART_AFTER).await;
    world.start_controller().await?;
    adopted(world, channel, worker.pid()).await?;
    Ok(Played::now())
}

pub(super) async fn controller_frozen(
    world: &mut World,
    channel: usize,
    hold: Duration,
) -> anyhow::Result<Played> {
    let worker = world.worker(channel).await?;
    let controller = world.controller_process()?;
    controller.signal(Signal::STOP)?;
    sleep(hold).await;
    controller.signal(Signal::CONT)?;
    adopted(world, channel, worker.pid()).await?;
    Ok(Played::now())
}

/// The last good copy of the state is in force; the worker stays on air meanwhile.
pub(super) async fn state_corrupt(world: &mut World, channel: usize) -> anyhow::Result<Played> {
    let worker = world.worker(channel).await?;
    world.leave_controller().await?;
    let state = world.layout.state_file();
    storage::atomic::write(&state, b"{ \"version\": 1, \"streams\": oops")?;
    world.start_controller().await?;
    adopted(world, channel, worker.pid()).await?;
    Ok(Played::now())
}

pub(super) async fn state_read_only(
    world: &mut World,
    channel: usize,
) -> anyhow::Result<Result<Played, Unavailable>> {
    let worker = world.worker(channel).await?;
    let Some(refusal) = Refusal::of(&world.layout.state_dir, world.refusing)? else {
        return Ok(Err(Unavailable(
            "root may write everywhere here, and may neither mount nor give that up: run the drill as another \
             user",
        )));
    };
    let told = unsaved(world, channel).await;
    refusal.lift()?;
    told.context("while the state directory refused writes")?;
    saved_again(world).await?;
    adopted(world, channel, worker.pid()).await?;
    Ok(Ok(Played::now()))
}

/// Something is to be written down, and the caller hears that it was not; the rest goes on.
async fn unsaved(world: &mut World, channel: usize) -> anyhow::Result<()> {
    let (status, answer) = put_beside(world).await?;
    ensure!(
        status == StatusCode::SERVICE_UNAVAILABLE && answer["error"]["code"] == "not_saved",
        "a stream was saved nevertheless, or refused for another reason: {status}: {answer}"
    );
    world.watch(channel, REFUSED_FOR).await;
    let (status, _) = rest::call(world.address()?, Method::GET, BESIDE, None).await?;
    ensure!(
        status == StatusCode::NOT_FOUND,
        "what was not saved is there: {status}"
    );
    rest::get(world.address()?, "/health").await.map(drop)
}

/// What was refused is taken, and taken away again.
async fn saved_again(world: &World) -> anyhow::Result<()> {
    let (status, answer) = put_beside(world).await?;
    ensure!(
        status.is_success(),
        "nothing can be saved yet: {status}: {answer}"
    );
    let (status, answer) = rest::call(world.address()?, Method::DELETE, BESIDE, None).await?;
    ensure!(status.is_success(), "removing it: {status}: {answer}");
    Ok(())
}

async fn put_beside(world: &World) -> anyhow::Result<(StatusCode, Value)> {
    let nowhere = json!({ "destinations": [] });
    rest::call(world.address()?, Method::PUT, BESIDE, Some(&nowhere)).await
}

pub(super) async fn worker_upgraded(
    world: &mut World,
    channel: usize,
) -> anyhow::Result<Result<Played, Unavailable>> {
    let path = format!("/streams/{}/upgrade", world.channels[channel].id);
    let worker = world.worker(channel).await?;
    let begun = image_time(worker.pid()).await?;
    let (status, answer) = rest::call(world.address()?, Method::POST, &path, None).await?;
    if status == StatusCode::NOT_FOUND || status == StatusCode::METHOD_NOT_ALLOWED {
        return Ok(Err(Unavailable(
            "this controller knows no upgrade of a worker",
        )));
    }
    ensure!(
        status.is_success(),
        "the upgrade was answered {status}: {answer}"
    );
    let asked = Instant::now();
    while image_time(worker.pid()).await? == begun {
        ensure!(
            asked.elapsed() < UPGRADED_WITHIN,
            "the worker is still its old program"
        );
        world.watch(channel, Duration::from_millis(100)).await;
    }
    adopted(world, channel, worker.pid()).await?;
    Ok(Ok(Played::now()))
}

pub(super) async fn worker_paused(world: &mut World, channel: usize) -> anyhow::Result<Played> {
    let worker = world.worker(channel).await?;
    worker.signal(Signal::STOP)?;
    sleep(PAUSED).await;
    worker.signal(Signal::CONT)?;
    adopted(world, channel, worker.pid()).await?;
    Ok(Played::now())
}

pub(super) async fn worker_killed(world: &mut World, channel: usize) -> anyhow::Result<Played> {
    let worker = world.worker(channel).await?;
    let made = Instant::now();
    worker.signal(Signal::KILL)?;
    replaced(world, channel, worker.pid()).await?;
    Ok(Played::at_once(made))
}

pub(super) async fn worker_and_ffmpegs_killed(
    world: &mut World,
    channel: usize,
) -> anyhow::Result<Played> {
    let worker = world.worker(channel).await?;
    let children = family::children(&worker, "")?;
    let made = Instant::now();
    worker.signal(Signal::KILL)?;
    for child in &children {
        child.process.signal(Signal::KILL)?;
    }
    replaced(world, channel, worker.pid()).await?;
    Ok(Played::at_once(made))
}

/// The very same worker is known, and answers.
async fn adopted(world: &mut World, channel: usize, pid: i32) -> anyhow::Result<()> {
    let known = |status: &Value| status["pid"] == pid && !status["on_air"].is_null();
    let what = "the worker that was there is known and answers";
    world
        .until(channel, what, ADOPTED_WITHIN, known)
        .await
        .map(drop)
}

/// There is another worker than before.
async fn replaced(world: &mut World, channel: usize, pid: i32) -> anyhow::Result<()> {
    let another = |status: &Value| {
        status["pid"]
            .as_i64()
            .is_some_and(|new| new != i64::from(pid))
    };
    world
        .until(channel, "a new worker", NOTICED_WITHIN, another)
        .await
        .map(drop)
}

/// Changes when a process becomes another program: the memory it runs from is laid out anew.
async fn image_time(pid: i32) -> anyhow::Result<String> {
    let auxv = fs::read(format!("/proc/{pid}/auxv")).await?;
    Ok(auxv.iter().map(|byte| format!("{byte:02x}")).collect())
}
