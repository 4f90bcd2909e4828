//! What is measured of Downbeat from inside: its operations, each with the scene it needs.
//!
//! [`operations`] are performed on the pure crates alone ([`scene`]), [`core_operations`] on a whole core with its ring
//! and sockets ([`one_core`]). Nothing here measures: [`mod@perform`] repeats them for tools that count, `costs` runs
//! those tools, `benches/` takes the time.

pub mod allocations;
pub mod core_operations;
pub mod one_core;
pub mod operations;
pub mod perform;
pub mod scene;
