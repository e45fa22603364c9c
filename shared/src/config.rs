//! Written by its own plan.
