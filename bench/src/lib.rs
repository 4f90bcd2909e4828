//! What is measured of Downbeat from inside: its operations, each with the scene it needs.
//!
//! [`operations`] names them all. Most are performed on the pure crates alone ([`scene`]), the `core-` ones on a
//! whole core with its ring and sockets ([`one_core`]). Nothing here measures: `operations` performs them for
//! tools that count, `costs` runs those tools, `benches/` takes the time.

pub mod one_core;
pub mod operations;
pub mod scene;
