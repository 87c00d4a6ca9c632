//! A store with something behind it: an S3 server in this process, or a folder with its router.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use storage::media::local;
use storage::media::sign::UrlSigner;
use storage::media::{LocalStore, MediaStore};
use storage::model::StorageSettings;
use storage::model::job::Provider;
use storage::secret::Secret;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub(crate) const KEY_ID: &str = "AKIDCANARYTEST";
pub(crate) const SECRET: &str = "canary-secret-0123456789";
pub(crate) const BUCKET: &str = "films";
/// Largest body the folder's router takes here.
pub(crate) const MAX_UPLOAD: u64 = 32 * 1024 * 1024;

pub(crate) struct Bench {
    pub(crate) store: MediaStore,
    pub(crate) settings: StorageSettings,
    /// The folder the objects are in, prefix included.
    pub(crate) root: PathBuf,
    /// For files that are to be uploaded.
    pub(crate) outside: TempDir,
    _dir: TempDir,
    server: JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Bench {
    pub(crate) async fn s3(prefix: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join(BUCKET).join(prefix);
        fs::create_dir_all(&root).unwrap();
        let (endpoint, server) = s3_server(dir.path()).await;
        let settings = s3_settings(&endpoint, prefix);
        Self {
            store: MediaStore::open(&settings, keys()).await.unwrap(),
            settings,
            root,
            outside: tempfile::tempdir().unwrap(),
            _dir: dir,
            server,
        }
    }

    pub(crate) async fn local(prefix: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join(prefix);
        fs::create_dir_all(&root).unwrap();
        let outside = tempfile::tempdir().unwrap();
        let settings = local_settings(dir.path(), prefix);
        let store = open_local(&settings).await;
        let signer = UrlSigner::load_or_create(&outside.path().join("key")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let store = store.served_at(base, signer);
        let router = local::router(store.clone(), MAX_UPLOAD);
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            store: MediaStore::Local(store),
            settings,
            root,
            outside,
            _dir: dir,
            server,
        }
    }

    /// The server is gone, its connections with it.
    pub(crate) fn go_away(&self) {
        self.server.abort();
    }

    /// Puts an object there behind the store's back.
    pub(crate) fn drop_in(&self, key: &str, content: &[u8]) {
        make(&self.root.join(key), content);
    }

    pub(crate) fn content(&self, key: &str) -> Vec<u8> {
        fs::read(self.root.join(key)).unwrap()
    }

    /// A file that is not in the store yet.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.outside.path().join(name);
        make(&path, content);
        path
    }

    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        let objects = self.store.list(prefix).await.unwrap();
        objects.into_iter().map(|o| o.key).collect()
    }
}

pub(crate) fn make(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::File::create(path).unwrap();
    file.write_all(content).unwrap();
}

/// Bytes in which no two places look alike.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn keys() -> Option<(Secret, Secret)> {
    Some((Secret::new(KEY_ID), Secret::new(SECRET)))
}

pub(crate) fn s3_settings(endpoint: &str, prefix: &str) -> StorageSettings {
    StorageSettings {
        provider: Provider::S3,
        bucket: Some(BUCKET.to_owned()),
        prefix: prefix.to_owned(),
        endpoint: Some(endpoint.to_owned()),
        region: None,
        local_dir: None,
        url_ttl_secs: 86_400,
        extensions: Vec::new(),
    }
}

pub(crate) fn local_settings(dir: &Path, prefix: &str) -> StorageSettings {
    StorageSettings {
        provider: Provider::Local,
        bucket: None,
        prefix: prefix.to_owned(),
        endpoint: None,
        region: None,
        local_dir: Some(dir.to_owned()),
        url_ttl_secs: 86_400,
        extensions: Vec::new(),
    }
}

pub(crate) async fn open_local(settings: &StorageSettings) -> LocalStore {
    match MediaStore::open(settings, None).await.unwrap() {
        MediaStore::Local(store) => store,
        MediaStore::S3(_) => unreachable!("the settings say local"),
    }
}

/// A real server of the protocol that verifies every signature; buckets are folders of `root`.
async fn s3_server(root: &Path) -> (String, JoinHandle<()>) {
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    service.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        // They end with the server.
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let connection = http
                .serve_connection(TokioIo::new(socket), service.clone())
                .into_owned();
            connections.spawn(async move {
                // A client that goes away is not this server's concern.
                let _ = connection.await;
            });
        }
    });
    (endpoint, server)
}
