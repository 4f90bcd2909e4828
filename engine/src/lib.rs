//! Rooms without a network: everything in Downbeat that has a policy.
//!
//! [`Shard`] is one core's share: `handle_*` takes an event (bytes, an envelope, the time), and what follows
//! from it comes out of `poll_*` as values. Every method runs to completion. The crate does no I/O, reads no
//! clock, starts no thread and draws no random number: time and seeds are arguments, timers are data.
//!
//! A message's way: [`Shard::handle_bytes`] → `wire` → the room's home (`requests`) → [`room`] decides →
//! [`audience`] and [`outbox`] → [`Shard::poll_send`]; or an [`Envelope`] to the core that has the member.

#![forbid(unsafe_code)]

pub mod audience;
pub mod connection;
pub mod envelope;
pub mod ids;
pub mod limits;
pub mod link;
pub mod meter;
pub mod observed;
pub mod origins;
pub mod outbox;
pub mod placement;
pub mod readiness;
pub mod room;
pub mod seed;
pub mod shard;
pub mod snapshot;
pub mod stats;
pub mod time;

pub use envelope::Envelope;
pub use ids::{ConnectionId, CoreId, MemberId};
pub use limits::{App, Authz, Limits};
pub use observed::Observed;
pub use origins::Origins;
pub use seed::Seed;
pub use shard::{Action, FanOut, Flow, Holdings, Moved, Settings, Shard};
pub use stats::Stats;
pub use time::Now;
