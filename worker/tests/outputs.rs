//! Outputs against a real server: real FFmpegs publish to nginx with its RTMP module.

#[path = "outputs/nginx.rs"]
mod nginx;
#[path = "outputs/preview.rs"]
mod preview;
#[path = "outputs/publish.rs"]
mod publish;
#[path = "outputs/stage.rs"]
mod stage;
