//! Results worth keeping over a restart, one file each: probes and rendered slates.
//!
//! A file begins with the line that says what it is the result of, so a name that collides or a
//! file from elsewhere is a miss. Nothing here can fail a caller: a cache that cannot be read or
//! written costs time only, and says so in the log once per process.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::task::spawn_blocking;

/// A bounded directory of results. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: Arc<Path>,
    max_files: usize,
    complained: Arc<AtomicBool>,
}

// === impl Cache ===

impl Cache {
    /// Keeps at most `max_files` in `dir`, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>, max_files: usize) -> Self {
        Self {
            dir: dir.into().into(),
            max_files,
            complained: Arc::default(),
        }
    }

    /// What was kept for `of`; `of` is one line.
    pub async fn get(&self, of: &str) -> Option<Bytes> {
        let path = self.path(of);
        let first_line = format!("{of}\n");
        let read = spawn_blocking(move || fs::read(path)).await.ok()?;
        let mut kept = Bytes::from(read.ok()?);
        let is_it = kept.starts_with(first_line.as_bytes());
        is_it.then(|| kept.split_off(first_line.len()))
    }

    /// Keeps `body` for `of`, and drops the oldest files when there are too many.
    pub async fn put(&self, of: &str, body: &[u8]) {
        let path = self.path(of);
        let mut bytes = format!("{of}\n").into_bytes();
        bytes.extend_from_slice(body);
        let cache = self.clone();
        let written = spawn_blocking(move || cache.write(&path, &bytes));
        if let Ok(Err(message)) = written.await
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            let dir = self.dir.display();
            tracing::warn!(%dir, "cannot keep a result in the cache: {message}");
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        fs::create_dir_all(&self.dir).map_err(|error| error.to_string())?;
        storage::atomic::write(path, bytes).map_err(|error| error.to_string())?;
        self.drop_oldest().map_err(|error| error.to_string())
    }

    fn drop_oldest(&self) -> std::io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let modified = entry.metadata()?.modified()?;
            files.push((modified, entry.path()));
        }
        let too_many = files.len().saturating_sub(self.max_files);
        files.sort_by_key(|(modified, _): &(SystemTime, PathBuf)| *modified);
        for (_, path) in files.into_iter().take(too_many) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    fn path(&self, of: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        of.hash(&mut hasher);
        self.dir.join(format!("{:016x}", hasher.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_put_is_got_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("new"), 8);
        assert_eq!(cache.get("a 1").await, None);
        cache.put("a 1", b"first\nsecond").await;
        assert_eq!(
            cache.get("a 1").await.as_deref(),
            Some(&b"first\nsecond"[..])
        );
        assert_eq!(cache.get("a 2").await, None);
        cache.put("a 1", b"").await;
        assert_eq!(cache.get("a 1").await.as_deref(), Some(&b""[..]));
    }

    #[tokio::test]
    async fn a_file_of_something_else_is_a_miss() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path(), 8);
        cache.put("b", b"body").await;
        fs::copy(cache.path("b"), cache.path("c")).unwrap();
        assert_eq!(cache.get("c").await, None);
    }

    #[tokio::test]
    async fn the_number_of_files_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path(), 3);
        for n in 0..6 {
            cache.put(&format!("{n}"), b"x").await;
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        assert!(cache.get("5").await.is_some(), "the newest stays");
    }

    #[tokio::test]
    async fn a_cache_that_cannot_be_written_is_only_slow() {
        let dir = tempfile::tempdir().unwrap();
        let in_the_way = dir.path().join("file");
        fs::File::create(&in_the_way).unwrap();
        let cache = Cache::new(in_the_way, 3);
        cache.put("a", b"x").await;
        assert_eq!(cache.get("a").await, None);
    }
}
