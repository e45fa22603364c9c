//! What clients get.
use super::*;
