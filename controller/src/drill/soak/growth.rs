//! What a channel that is on air for months must not do: grow.

use serde::Serialize;

use crate::drill::world::{Footprint, World};

/// Fewer samples say nothing about a slope.
const ENOUGH: usize = 8;
/// Growth below this is the allocator's, and that of logs kept in memory until they are full.
const SPARE_KIB: u64 = 24 << 10;
/// Connections and reads under way at the moment of a sample.
const SPARE_DESCRIPTORS: u64 = 24;
/// A journal part, a position, an exit record per stream.
const SPARE_FILES: u64 = 24;
/// FFmpegs that read, at the moment of a sample.
const SPARE_PROCESSES: u64 = 12;

/// Samples of everything the drill's controller and workers use.
#[derive(Debug)]
pub(super) struct Growth(Vec<Footprint>);

/// First quarter against last quarter, each by its median.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    samples: usize,
    resident_kib: (u64, u64),
    descriptors: (u64, u64),
    processes: (u64, u64),
    files: (u64, u64),
}

// === impl Growth ===

impl Growth {
    pub(super) fn begin() -> Self {
        Self(Vec::new())
    }

    /// Looks once.
    ///
    /// # Errors
    /// When `/proc` or the drill's own directories cannot be read.
    pub(super) async fn sample(&mut self, world: &mut World) -> anyhow::Result<()> {
        self.0.push(world.footprint().await?);
        Ok(())
    }

    pub(super) fn verdict(&self) -> Verdict {
        let both = |what: fn(&Footprint) -> u64| {
            let values: Vec<u64> = self.0.iter().map(what).collect();
            let quarter = values.len().div_ceil(4);
            let first = median(&values[..quarter]);
            (first, median(&values[values.len() - quarter..]))
        };
        Verdict {
            samples: self.0.len(),
            resident_kib: both(|f| f.resident_kib),
            descriptors: both(|f| f.descriptors),
            processes: both(|f| f.processes),
            files: both(|f| f.files),
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// What has grown.
    pub(super) fn complaints(&self) -> Vec<String> {
        if self.samples < ENOUGH {
            return Vec::new();
        }
        [
            ("memory (KiB)", self.resident_kib, SPARE_KIB),
            ("descriptors", self.descriptors, SPARE_DESCRIPTORS),
            ("processes", self.processes, SPARE_PROCESSES),
            ("files", self.files, SPARE_FILES),
        ]
        .into_iter()
        .filter(|(_, (first, last), spare)| *last > first + first / 5 + spare)
        .map(|(what, (first, last), _)| format!("{what} grew from {first} to {last}"))
        .collect()
    }
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(descriptors: impl Iterator<Item = u64>) -> Vec<String> {
        let sample = |descriptors| Footprint {
            descriptors,
            resident_kib: 100_000,
            processes: 12,
            files: 40,
        };
        Growth(descriptors.map(sample).collect())
            .verdict()
            .complaints()
    }

    #[test]
    fn a_leak_is_told_and_noise_is_not() {
        assert!(growth((0..40).map(|n| 300 + n % 20)).is_empty());
        let leak = growth((0..40).map(|n| 300 + 5 * n));
        assert!(
            leak.len() == 1 && leak[0].starts_with("descriptors grew"),
            "{leak:?}"
        );
        assert!(
            growth((0..4).map(|n| 300 + 500 * n)).is_empty(),
            "too few to tell"
        );
    }
}
