//! `media list|upload|url`.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use storage::media::{MediaError, MediaStore};

use super::{bytes, say};
use crate::config::Config;
use crate::media;

/// What to do with media.
#[derive(Debug, Clone, Subcommand)]
pub enum MediaCommand {
    /// List what can be played: size, time and key of each object.
    List {
        /// Only keys that begin with this.
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Upload files; what is there under the same key is replaced.
    Upload {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Key to upload to; with a `/` at its end, or several files, a prefix of their names
        /// [default: the file's name].
        #[arg(long)]
        key: Option<String>,
    },
    /// Print a signed address of an object, good for STORAGE_URL_TTL_SECS. Whoever has it can read
    /// the object.
    Url {
        /// The object's key.
        key: String,
    },
}

/// Does it.
///
/// # Errors
/// In words for the operator, with what to do.
pub async fn run(config: &Config, command: MediaCommand) -> anyhow::Result<()> {
    let store = media::open(config, config.bind).await?;
    match command {
        MediaCommand::List { prefix } => list(&store, &prefix).await,
        MediaCommand::Upload { files, key } => upload(&store, &files, key.as_deref()).await,
        MediaCommand::Url { key } => url(config, &store, &key).await,
    }
}

async fn list(store: &MediaStore, prefix: &str) -> anyhow::Result<()> {
    let objects = store.list(prefix).await.map_err(hinted)?;
    for object in &objects {
        let size = bytes(object.size_bytes).to_string();
        let modified = object
            .modified
            .map_or_else(|| "-".to_owned(), |at| at.strftime("%F %R").to_string());
        say(format_args!("{size:>11}  {modified:<16}  {}", object.key));
    }
    let total = objects.iter().map(|object| object.size_bytes).sum();
    say(format_args!("{} objects, {}", objects.len(), bytes(total)));
    Ok(())
}

async fn upload(store: &MediaStore, files: &[PathBuf], key: Option<&str>) -> anyhow::Result<()> {
    let prefix = match key {
        Some(key) if key.ends_with('/') || files.len() > 1 => Some(key),
        _ => None,
    };
    for file in files {
        tokio::fs::metadata(file)
            .await
            .with_context(|| format!("cannot read {}", file.display()))?;
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .with_context(|| format!("{} has no name that can be a key", file.display()))?;
        let key = match (prefix, key) {
            (Some(prefix), _) => format!("{prefix}{name}"),
            (None, Some(key)) => key.to_owned(),
            (None, None) => name.to_owned(),
        };
        let bar = progress_bar(&key);
        let sent = store
            .upload(file, &key, &|at| {
                bar.set_length(at.total_bytes);
                bar.set_position(at.sent_bytes);
            })
            .await;
        bar.finish_and_clear();
        let object = sent.map_err(hinted)?;
        say(format_args!(
            "uploaded {key} ({})",
            bytes(object.size_bytes)
        ));
    }
    Ok(())
}

async fn url(config: &Config, store: &MediaStore, key: &str) -> anyhow::Result<()> {
    // An address of nothing would only fail later, at whoever it was given to.
    store.stat(key).await.map_err(hinted)?;
    let ttl = std::time::Duration::from_secs(config.storage.url_ttl_secs);
    let url = store.signed_get(key, ttl).await.map_err(hinted)?;
    if matches!(store, MediaStore::Local(_)) && config.bind.port() == 0 {
        bail!(
            "set CONTROLLER_BIND to the running controller's address: it serves the local folder"
        );
    }
    say(url.expose());
    Ok(())
}

/// Hidden where nobody looks: a log full of bars helps no one.
fn progress_bar(key: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
    )
    .expect("the template is well-formed");
    ProgressBar::new(0)
        .with_style(style)
        .with_prefix(key.to_owned())
}

fn hinted(error: MediaError) -> anyhow::Error {
    let hint = error.hint();
    anyhow::anyhow!("{error}; {hint}")
}
