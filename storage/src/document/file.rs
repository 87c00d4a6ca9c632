//! Reading whatever stands at a document's name, without being held up by it.

use std::fs::{FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::O_NONBLOCK;

use super::Flaw;

/// Hundreds of streams fit in it.
const MAX_BYTES: u64 = 16 << 20;

/// The bytes of the file at `path`, or why they are not those of a document; `None` without a file.
///
/// # Errors
/// When the system refuses to read it.
pub(super) fn read(path: &Path) -> io::Result<Option<Result<Vec<u8>, Flaw>>> {
    // To open a pipe nobody writes to would take for ever.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => {
            return Ok(Some(Err(Flaw::NotAFile("a socket"))));
        }
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if let Some(other) = other_than_file(metadata.file_type()) {
        return Ok(Some(Err(Flaw::NotAFile(other))));
    }
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    let len = metadata.len().max(text.len() as u64);
    Ok(Some(if len > MAX_BYTES {
        Err(Flaw::TooLarge(len))
    } else {
        Ok(text)
    }))
}

/// A directory is not among them: reading it fails by itself, and nothing can be put in its place.
fn other_than_file(kind: FileType) -> Option<&'static str> {
    if kind.is_fifo() {
        Some("a pipe")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else {
        None
    }
}
