//! Downbeat, a thread-per-core io_uring WebSocket server for rooms that play in sync.
//!
//! This crate is everything that touches the world; the rooms are in `engine`, the formats in `wire`. A
//! message's way through it: [`ring`] → [`driver`] → `engine::Shard` → [`driver`] → [`ring`], turned by
//! [`turn`], between cores by [`mesh`]. [`server`] boots it, [`control`] stops it, [`admin`] tells of it. ARCHITECTURE.md is the map.

pub mod admin;
pub mod admission;
pub mod backup;
pub mod banner;
pub mod check;
pub mod clock;
pub mod config;
pub mod control;
pub mod demo;
pub mod driver;
pub mod host;
pub mod life;
pub mod listener;
pub mod log;
pub mod mesh;
pub mod published;
pub mod ring;
pub mod server;
pub mod start_error;
pub mod supervisor;
pub mod turn;
