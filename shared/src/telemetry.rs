//! Logs, metric names, and the server of /metrics, /livez, /readyz and /config.
//!
//! A server begins with [`init_log`] and [`install`], then runs [`serve`] beside its work. Hot paths take handles once
//! ([`Metric::counter`]) and keep them; elsewhere [`count`], [`set`] and [`observe`] are enough.

mod about;
mod log;
mod metric;
mod moment;
mod process;
mod readiness;
mod ready_file;
mod recorder;
mod server;
mod share;
mod table;

pub use about::{About, Machine, open_files};
pub use log::{LogConfig, LogError, LogFormat, init_log, is_filter};
pub use metric::{Kind, Part, count, observe, set};
pub use moment::Moment;
pub use readiness::{Condition, Readiness};
pub use ready_file::write_ready_file;
pub use recorder::{InstallError, install, render};
pub use server::serve;
pub use share::Share;
pub use table::Metric;
