//! The one-line form.
use super::*;
