//! Private servers on this machine: ports, programs, passwords, and one module a server.

pub mod authority;
pub mod find;
pub mod ports;
pub mod secret;
pub mod servers;
