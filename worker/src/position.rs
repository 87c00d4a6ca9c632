//! Where the programme stands, written so that a new worker resumes there.
