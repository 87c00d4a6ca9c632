//! What is found where a document should be, and cannot be used.

use std::path::PathBuf;

use crate::json::SyntaxError;
use crate::model::problems::Problem;

/// A document that cannot be used, and what can be used instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Corrupt<T> {
    /// The document.
    pub path: PathBuf,
    /// What is wrong with it.
    pub flaw: Flaw,
    /// The last good copy, if there is a good one.
    pub last_good: Option<LastGood<T>>,
}

/// A last good copy.
#[derive(Debug, Clone, PartialEq)]
pub struct LastGood<T> {
    /// Where it is.
    pub path: PathBuf,
    /// Its contents.
    pub value: T,
    /// See [`Opened::Loaded`](super::Opened::Loaded).
    pub generation: u64,
}

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The file is gone although its last good copy is here.
    #[error("the file is missing although its last good copy is there")]
    Missing,
    /// No bytes.
    #[error("the file is empty")]
    Empty,
    /// Not JSON, or not of the right shape.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// A pipe, a socket or a device stands in its place.
    #[error("it is not a file but {0}")]
    NotAFile(&'static str),
    /// No document is as large.
    #[error("it has {0} bytes, more than any document of this kind")]
    TooLarge(u64),
    /// JSON, with values that are not allowed.
    #[error("{}", list(.0))]
    Problems(Vec<Problem>),
    /// The bytes are not the ones that were written.
    #[error(
        "the checksum does not fit: the file was damaged or edited (to have an edited file \
         accepted, remove its \"checksum\" line)"
    )]
    Checksum,
    /// Written by a newer release.
    #[error(
        "version {found} was written by a newer release; this one knows versions up to {known}: \
         upgrade, or move the file away"
    )]
    FutureVersion {
        /// The version of the file.
        found: u64,
        /// The newest this build can read.
        known: u32,
    },
}

// === impl Corrupt ===

impl<T> Corrupt<T> {
    /// Line and column, where the flaw has a place.
    pub fn place(&self) -> Option<(usize, usize)> {
        match &self.flaw {
            Flaw::Syntax(e) => Some((e.line, e.column)),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        let path = self.path.display();
        match (&self.flaw, &self.last_good) {
            (Flaw::FutureVersion { .. }, _) => {
                format!("install the newer release again, or move {path} away")
            }
            (Flaw::Missing, Some(copy)) => format!(
                "take the copy back (`cp -p {copy} {path}`), or remove {copy} too to start empty",
                copy = copy.path.display()
            ),
            (_, Some(copy)) => format!(
                "correct {path}, or take back its last good copy (`cp -p {} {path}`)",
                copy.path.display()
            ),
            (_, None) => format!("correct {path} or move it away; there is no good copy of it"),
        }
    }
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    lines.join("; ")
}
