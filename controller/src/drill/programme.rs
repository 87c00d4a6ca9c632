//! What the programme of the drill looks like on air.

use std::collections::HashSet;

use ingest::Tag;

/// Milliseconds of a picture.
pub const FRAME_MS: u64 = 40;

/// The pictures of the programme, by what they are coded as.
#[derive(Debug, Clone, Default)]
pub struct Programme(HashSet<u64>);

// === impl Programme ===

impl Programme {
    /// Of the tags of all files.
    pub fn of<'a>(tags: impl Iterator<Item = &'a Tag>) -> Self {
        let pictures = tags.filter(|tag| tag.is_picture());
        Self(pictures.map(|tag| tag.digest).collect())
    }

    /// Whether the picture is one of the programme, and not of the slate.
    pub fn has(&self, tag: &Tag) -> bool {
        self.0.contains(&tag.digest)
    }
}
