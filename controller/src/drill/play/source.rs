//! Faults of what is played, and what an operator does with it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::Signal;
use serde_json::json;
use tokio::fs;
use tokio::time::sleep;

use super::Played;
use crate::drill::rest;
use crate::drill::world::World;

/// A source that hangs is replaced when what was read ahead, some 10 s, has been aired.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(30);
/// About what has been read of an item and was not aired yet.
const READ_AHEAD: Duration = Duration::from_secs(8);
/// A film ends by then, if all of it was read before it was cut.
const AIRED_WITHIN: Duration = Duration::from_secs(75);
const SKIPS: u32 = 20;
const BETWEEN_SKIPS: Duration = Duration::from_millis(200);
const FRESH_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn reader_killed(world: &mut World, channel: usize) -> anyhow::Result<Played> {
    fresh_item(world, channel).await?;
    let reader = world.reader(channel).await?;
    let made = Instant::now();
    reader.signal(Signal::KILL)?;
    // What was read ahead is seconds long: only behind it would a hole show.
    world.watch(channel, Duration::from_secs(7)).await;
    Ok(Played::at_once(made))
}

pub(super) async fn reader_frozen(world: &mut World, channel: usize) -> anyhow::Result<Played> {
    fresh_item(world, channel).await?;
    let reader = world.reader(channel).await?;
    let made = Instant::now();
    reader.signal(Signal::STOP)?;
    let ended = tokio::time::timeout(GIVEN_UP_WITHIN, reader.exited()).await;
    reader.signal(Signal::CONT)?;
    anyhow::ensure!(ended.is_ok(), "a frozen FFmpeg was not given up");
    Ok(Played::at_once(made))
}

pub(super) async fn file_truncated(world: &mut World, channel: usize) -> anyhow::Result<Played> {
    let file = fresh_item(world, channel).await?;
    let whole = aside(&file);
    fs::copy(&file, &whole).await?;
    // Of a minute's film: the cut is met within some 15 s, or as much later as the kernels' buffers hold of it.
    let handle = fs::OpenOptions::new().write(true).open(&file).await?;
    handle.set_len(handle.metadata().await?.len() / 5).await?;
    let item = name_of(&file)?;
    let gone_on = world
        .until(channel, "the next item", AIRED_WITHIN, |s| {
            s["on_air"]["kind"] == "programme" && s["on_air"]["item"] != *item
        })
        .await;
    // Under its name again before anyone looks at the outcome.
    storage::atomic::write(&file, &fs::read(&whole).await?)?;
    fs::remove_file(&whole).await?;
    gone_on?;
    Ok(Played::now())
}

pub(super) async fn file_deleted(
    world: &mut World,
    channel: usize,
    hold: Duration,
) -> anyhow::Result<Played> {
    let file = fresh_item(world, channel).await?;
    let kept = aside(&file);
    fs::hard_link(&file, &kept).await?;
    fs::remove_file(&file).await?;
    world.watch(channel, hold).await;
    fs::hard_link(&kept, &file).await?;
    fs::remove_file(&kept).await?;
    Ok(Played::now())
}

pub(super) async fn folder_emptied(
    world: &mut World,
    channel: usize,
    hold: Duration,
) -> anyhow::Result<Played> {
    let media = world.media();
    let kept = media.with_extension("kept");
    fs::create_dir(&kept).await?;
    let mut names = Vec::new();
    let mut entries = fs::read_dir(&media).await?;
    while let Some(entry) = entries.next_entry().await? {
        names.push(entry.file_name());
    }
    for name in &names {
        fs::hard_link(media.join(name), kept.join(name)).await?;
        fs::remove_file(media.join(name)).await?;
    }
    let held = without_media(world, channel, hold).await;
    for name in &names {
        fs::hard_link(kept.join(name), media.join(name)).await?;
    }
    fs::remove_dir_all(&kept).await?;
    held?;
    Ok(Played::now())
}

pub(super) async fn folder_away(
    world: &mut World,
    channel: usize,
    hold: Duration,
) -> anyhow::Result<Played> {
    let media = world.media();
    let away = media.with_extension("away");
    swap(&media, &away)?;
    let held = without_media(world, channel, hold).await;
    swap(&away, &media)?;
    held?;
    Ok(Played::now())
}

pub(super) async fn storage_lost(
    world: &mut World,
    channel: usize,
    hold: Duration,
) -> anyhow::Result<Played> {
    fresh_item(world, channel).await?;
    let reader = world.reader(channel).await?;
    let media = world.media();
    let away = media.with_extension("away");
    swap(&media, &away)?;
    let killed = reader.signal(Signal::KILL);
    world.watch(channel, READ_AHEAD + hold).await;
    swap(&away, &media)?;
    killed?;
    Ok(Played::now())
}

pub(super) async fn skip_storm(world: &mut World, channel: usize) -> anyhow::Result<Played> {
    for _ in 0..SKIPS {
        skip(world, channel).await?;
        sleep(BETWEEN_SKIPS).await;
    }
    Ok(Played::now())
}

pub(super) async fn operator_slate(
    world: &mut World,
    channel: usize,
    hold: Duration,
) -> anyhow::Result<Played> {
    let path = format!("/streams/{}/source", world.channels[channel].id);
    let slate = json!({ "take": "slate" });
    rest::post(world.address()?, &path, Some(&slate)).await?;
    world.watch(channel, hold).await;
    let healed = Instant::now();
    let programme = json!({ "take": "programme" });
    rest::post(world.address()?, &path, Some(&programme)).await?;
    Ok(Played { healed })
}

/// The next is asked for and is not there; then time passes.
async fn without_media(world: &mut World, channel: usize, hold: Duration) -> anyhow::Result<()> {
    // Refused where the worker knows already that there is none; the slate is waited for below.
    let path = format!("/streams/{}/skip", world.channels[channel].id);
    let asked = rest::call(world.address()?, hyper::Method::POST, &path, None).await;
    asked.context("asking for the next item")?;
    world.watch(channel, hold).await;
    Ok(())
}

/// Goes on to the next item, so that the one on air has just begun and is still being read. That may be the same
/// film again: those between may have been away when their turn was.
async fn fresh_item(world: &mut World, channel: usize) -> anyhow::Result<PathBuf> {
    let before = world.status(channel).await?["on_air"]["since"].clone();
    skip(world, channel).await?;
    let status = world
        .until(channel, "the next item", FRESH_WITHIN, |status| {
            status["on_air"]["kind"] == "programme" && status["on_air"]["since"] != before
        })
        .await?;
    let item = status["on_air"]["item"].as_str();
    Ok(world.media().join(item.context("an item is on air")?))
}

async fn skip(world: &mut World, channel: usize) -> anyhow::Result<()> {
    let path = format!("/streams/{}/skip", world.channels[channel].id);
    rest::post(world.address()?, &path, None).await.map(drop)
}

fn name_of(file: &std::path::Path) -> anyhow::Result<String> {
    let name = file.file_name().context("a file has a name")?;
    Ok(name.to_string_lossy().into_owned())
}

/// Beside the folder, where nothing is played from.
fn aside(file: &std::path::Path) -> PathBuf {
    let mut beside = file.to_owned();
    beside.set_extension("kept");
    match (file.parent().and_then(|p| p.parent()), beside.file_name()) {
        (Some(root), Some(name)) => root.join(name),
        _ => beside,
    }
}

/// A folder of films is no document: nothing of it is lost by a power cut in a drill.
#[expect(clippy::disallowed_methods, reason = "see above")]
fn swap(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    std::fs::rename(from, to)
}
