//! Every byte that outlives or leaves a process flows through this crate.
//!
//! - **Documents**: [`atomic`] (the only rename in the workspace), [`document`] (absent, loaded or
//!   corrupt; generation; last good copy), [`lock`], [`layout`], and the [`model`] they hold.
//! - **The air record**: [`journal`] (what a worker wrote down) and [`history`] (the database made of it).
//! - **Media**: [`media`] (list, stat, sign, upload, delete over S3/R2 or a local folder).
//!
//! It never spawns a process.

pub mod atomic;
pub mod document;
pub mod history;
pub mod journal;
mod json;
pub mod layout;
pub mod lock;
pub mod media;
pub mod model;
pub mod secret;
