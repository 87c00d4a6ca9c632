//! What the bucket held when it was last listed, kept for a worker that starts while it cannot be.

use std::path::PathBuf;

use jiff::Timestamp;
use programme::ListedObject;
use serde::{Deserialize, Serialize};
use storage::model::StorageSettings;
use tokio::task::spawn_blocking;

/// Version of [`Listing`] this build writes; another is none.
const LISTING_VERSION: u32 = 1;

/// `STATE_DIR/streams/<id>/listing.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    version: u32,
    /// Endpoint, bucket and prefix.
    store: [String; 3],
    /// What was listed.
    prefixes: Vec<String>,
    /// When.
    pub at: Timestamp,
    /// In key order.
    pub objects: Vec<ListedObject>,
}

/// Where the last good listing of one stream is kept.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    store: [String; 3],
    /// As written last: a listing mostly is what it was.
    written: Option<(Vec<String>, Vec<ListedObject>)>,
}

// === impl Memory ===

impl Memory {
    /// The memory at `path`, of the store of these settings.
    pub fn new(path: PathBuf, settings: &StorageSettings) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let folder = settings.local_dir.as_ref();
        let folder = folder.map(|dir| dir.display().to_string());
        Self {
            path,
            store: [
                text(&settings.endpoint),
                text(&settings.bucket.clone().or(folder)),
                settings.prefix.clone(),
            ],
            written: None,
        }
    }

    /// What was listed below `prefixes`, if that is what was listed last.
    pub async fn load(&self, prefixes: &[String]) -> Option<Listing> {
        let path = self.path.clone();
        let read = spawn_blocking(move || std::fs::read(path)).await.ok()?;
        let listing: Listing = serde_json::from_slice(&read.ok()?).ok()?;
        let is_it = listing.version == LISTING_VERSION
            && listing.store == self.store
            && listing.prefixes == prefixes;
        is_it.then_some(listing)
    }

    /// Keeps a listing, unless it is what was kept last. A failure costs the memory only.
    pub async fn keep(&mut self, prefixes: &[String], objects: &[ListedObject], at: Timestamp) {
        let kept = (prefixes.to_vec(), objects.to_vec());
        if self.written.as_ref() == Some(&kept) {
            return;
        }
        let listing = Listing {
            version: LISTING_VERSION,
            store: self.store.clone(),
            prefixes: kept.0.clone(),
            at,
            objects: kept.1.clone(),
        };
        let path = self.path.clone();
        let written = spawn_blocking(move || {
            let json = serde_json::to_vec(&listing).map_err(std::io::Error::other)?;
            storage::atomic::write(&path, &json).map_err(std::io::Error::other)
        });
        match written.await {
            Ok(Ok(())) => self.written = Some(kept),
            Ok(Err(error)) => {
                let path = self.path.display();
                tracing::warn!(%path, "the listing is not kept for an outage: {error}");
            }
            Err(error) => tracing::error!("the task that keeps the listing failed: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use programme::ListedObject;
    use storage::model::job::Provider;

    use super::*;

    fn settings(bucket: &str) -> StorageSettings {
        StorageSettings {
            provider: Provider::S3,
            bucket: Some(bucket.to_owned()),
            prefix: String::new(),
            endpoint: None,
            region: None,
            local_dir: None,
            url_ttl_secs: 60,
            extensions: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_listing_is_remembered_for_the_same_bucket_and_programme() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("listing.json");
        let objects = [ListedObject {
            key: "a.mp4".to_owned(),
            size_bytes: 1,
            version: "1".to_owned(),
        }];
        let all = [String::new()];
        let mut memory = Memory::new(path.clone(), &settings("films"));
        assert_eq!(memory.load(&all).await, None);
        memory.keep(&all, &objects, Timestamp::UNIX_EPOCH).await;
        let again = Memory::new(path.clone(), &settings("films"));
        assert_eq!(again.load(&all).await.unwrap().objects, objects);
        assert_eq!(again.load(&["shows/".to_owned()]).await, None);
        let other = Memory::new(path.clone(), &settings("series"));
        assert_eq!(other.load(&all).await, None);
        storage::atomic::write(&path, b"{\"version\":").unwrap();
        assert_eq!(again.load(&all).await, None, "a torn file is none");
    }
}
