//! The format that most of a programme already has.

use std::collections::BTreeMap;

use super::StreamFormat;
use crate::fit::{MediaInfo, VideoInfo, is_copyable_in_some_format};

/// Longer and shorter side of the largest picture chosen without being asked for.
const MAX_SIDES: (u32, u32) = (1920, 1080);
const MAX_FPS: u32 = 60;

/// Largest picture area, frames per second, and the bit rate that platforms recommend for it.
const KBPS: [(u32, u32, u32); 6] = [
    (640 * 360, 30, 1000),
    (854 * 480, 30, 1500),
    (1280 * 720, 30, 3000),
    (1280 * 720, 60, 4500),
    (1920 * 1080, 30, 4500),
    (1920 * 1080, 60, 6000),
];

/// A shape on air: what a connection is tied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    width: u32,
    height: u32,
    fps: u32,
}

/// How much of a programme has a shape.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    files: usize,
    seconds: f64,
    max_kbps: u32,
}

/// The size and rate of most files that could be copied; of all files when none could; the default
/// format when there is no picture at all. The longer total wins between equal counts. Never above
/// 1080p60; its bit rate leaves room for copying what the chosen files have.
pub fn auto<'a>(infos: impl Iterator<Item = &'a MediaInfo>) -> StreamFormat {
    let mut copyable = BTreeMap::new();
    let mut any = BTreeMap::new();
    for info in infos {
        let Some(video) = &info.video else { continue };
        let Some(shape) = Shape::of(video) else {
            continue;
        };
        let seconds = info.duration_s.unwrap_or(0.0);
        add(&mut any, shape, seconds, video);
        if is_copyable_in_some_format(video, &info.container) {
            add(&mut copyable, shape, seconds, video);
        }
    }
    match most(&copyable).or_else(|| most(&any)) {
        Some((shape, share)) => shape.clamped().with_bit_rate(share.max_kbps),
        None => StreamFormat::default(),
    }
}

fn add(shares: &mut BTreeMap<Shape, Share>, shape: Shape, seconds: f64, video: &VideoInfo) {
    let share = shares.entry(shape).or_default();
    share.files += 1;
    share.seconds += seconds;
    share.max_kbps = share.max_kbps.max(video.kbps.unwrap_or(0));
}

/// Between shapes with equal shares the largest wins, so that the answer does not depend on order.
fn most(shares: &BTreeMap<Shape, Share>) -> Option<(Shape, Share)> {
    shares
        .iter()
        .max_by(|(_, a), (_, b)| {
            let by_count = a.files.cmp(&b.files);
            by_count.then(a.seconds.total_cmp(&b.seconds))
        })
        .map(|(shape, share)| (*shape, *share))
}

// === impl Shape ===

impl Shape {
    /// As the picture is shown, upright; `None` when the file does not say.
    fn of(video: &VideoInfo) -> Option<Self> {
        let (width, height) = match video.rotation_deg {
            90 | 270 => (video.height, video.width),
            _ => (video.width, video.height),
        };
        let known = width > 0 && height > 0 && video.fps > 0.0;
        known.then(|| Self {
            width,
            height,
            fps: video.fps.round() as u32,
        })
    }

    /// Shrunk into [`MAX_SIDES`] with its aspect kept, even, and within what a format may be.
    fn clamped(self) -> Self {
        let (long, short) = (self.width.max(self.height), self.width.min(self.height));
        let scale = (f64::from(MAX_SIDES.0) / f64::from(long))
            .min(f64::from(MAX_SIDES.1) / f64::from(short))
            .min(1.0);
        let even = |side: u32| (f64::from(side) * scale / 2.0).round() as u32 * 2;
        Self {
            width: even(self.width).clamp(160, MAX_SIDES.0),
            height: even(self.height).clamp(90, MAX_SIDES.0),
            fps: self.fps.clamp(1, MAX_FPS),
        }
    }

    /// Half of `max_kbps`, because files up to twice the bit rate are copied; but no more than twice
    /// what is usual for the shape, and no less than that.
    fn with_bit_rate(self, max_kbps: u32) -> StreamFormat {
        let usual = KBPS
            .iter()
            .find(|(area, fps, _)| self.width * self.height <= *area && self.fps <= *fps)
            .map_or(6000, |(_, _, kbps)| *kbps);
        StreamFormat {
            width: self.width,
            height: self.height,
            fps: self.fps,
            video_kbps: max_kbps.div_ceil(2).clamp(usual, usual * 2),
            ..StreamFormat::default()
        }
    }
}
