//! One file of the folder as an HTTP answer.

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::LocalStore;
use crate::media::{MediaError, MediaOperation};

impl LocalStore {
    /// Answers `GET` and `HEAD` of `key`, whole or by range.
    pub(in crate::media) async fn serve(
        &self,
        key: &str,
        request: Request<Body>,
    ) -> Result<Response, MediaError> {
        let wanted = key.to_owned();
        let path = self
            .blocking(MediaOperation::Read, Some(key), move |folder, context| {
                folder.resolve(&wanted, context)
            })
            .await?;
        let Ok(response) = ServeFile::new(path).oneshot(request).await;
        Ok(response.map(Body::new))
    }
}
