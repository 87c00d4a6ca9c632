//! Media: list, stat, sign, upload and delete, over S3/R2 or a local folder.

pub mod key;
