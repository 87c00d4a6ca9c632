//! The controller's media store, as its settings name it.

pub(crate) mod probe;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use storage::media::sign::{SignerError, UrlSigner};
use storage::media::{MediaError, MediaStore};

use crate::config::Config;

/// Why there is no media store.
#[derive(Debug, thiserror::Error)]
pub enum OpenMediaError {
    /// The settings do not fit together.
    #[error(transparent)]
    Store(#[from] MediaError),
    /// The key that signs addresses of a local folder cannot be had.
    #[error("cannot sign addresses of the local media folder")]
    Signer(#[from] SignerError),
}

/// Opens the store; no request is made. A local folder is served by the controller, which listens
/// at `api`, so its signed addresses lead there.
///
/// # Errors
/// See [`OpenMediaError`].
pub async fn open(config: &Config, api: SocketAddr) -> Result<MediaStore, OpenMediaError> {
    let store = MediaStore::open(&config.storage, config.storage_keys.clone()).await?;
    Ok(match store {
        MediaStore::Local(folder) => {
            let signer = UrlSigner::load_or_create(&config.layout.local_media_key())?;
            MediaStore::Local(folder.served_at(format!("http://{}", reachable(api)), signer))
        }
        bucket @ MediaStore::S3(_) => bucket,
    })
}

/// "Every address" is none to call; this machine reaches itself by loopback.
fn reachable(api: SocketAddr) -> SocketAddr {
    let ip = match api.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, api.port())
}
