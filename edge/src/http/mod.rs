//! The HTTP API, answered by workers over the broker.
