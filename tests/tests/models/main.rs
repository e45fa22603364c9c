//! Seeded random histories through the workers' own code and a real PostgreSQL, against simple models.
//!
//! `IM_SEED=N cargo nextest run -p tests --test models NAME` runs one history alone.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

mod cursors;
mod database;
mod groups;
mod locks;
mod rules;
