//! What a scenario's clients say, and what they make of what they hear.
//!
//! A worker turns one play over one [`Io`]: the play is told of openings, messages and ends, and asked each
//! turn for what is due. It measures into its [`Gauge`].

pub mod attackers;
pub mod broadcast;
pub mod chatter;
pub mod echo;
pub mod frames;
pub mod ledger;
pub mod rooms;
pub mod seats;
pub mod sessions;
pub mod stamp;

use crate::gauge::Gauge;
use crate::io::{End, Io};

pub trait Play {
    /// Path and query for a connection; `None`: the URL's own.
    fn path(&self, _connection: u32) -> Option<String> {
        None
    }

    /// Bytes of the request for the upgrade that are sent at once; a play that wants fewer appends the others.
    fn head_bytes(&mut self, _connection: u32, request: &[u8]) -> usize {
        request.len()
    }

    /// True if connections that fail or are lost are what the load is there for.
    fn bears_losses(&self) -> bool {
        false
    }

    /// Connections that stand when the load is over.
    fn standing(&self, io: &Io) -> u64 {
        io.open
    }

    /// True if the server's pings are answered.
    fn answers_pings(&self) -> bool {
        true
    }

    /// True if all connections are to be open before the load begins.
    fn wants_connections(&self) -> bool {
        true
    }

    /// Connections that are where the load wants them before it begins: open, or further.
    fn ready(&self, io: &Io) -> u64 {
        io.open
    }

    /// True once an open connection that is to stall has heard all it needs and is read no more.
    fn may_stall(&self, _connection: u32) -> bool {
        true
    }

    fn opened(&mut self, io: &mut Io, connection: u32);

    fn message(&mut self, io: &mut Io, connection: u32, is_text: bool, payload: &[u8]);

    /// A connection's send is done: there may be room for what waited.
    fn drained(&mut self, _io: &mut Io, _connection: u32) {}

    fn ended(&mut self, io: &mut Io, connection: u32, end: &End);

    /// The load begins.
    fn begin(&mut self, io: &mut Io);

    /// Does what is due and says when something will be next, ns.
    fn act(&mut self, io: &mut Io) -> u64;

    /// The load is over: nothing new is sent.
    fn stop(&mut self, _io: &mut Io) {}

    /// Deliveries that are still owed.
    fn owed(&self) -> u64;

    /// Settles the accounts. `is_silent`: nothing has come for a second, so what is owed is lost.
    fn conclude(&mut self, io: &Io, is_silent: bool);

    fn gauge(&mut self) -> &mut Gauge;
}

/// What an idle connection costs at most, in the play's record and in `Io`'s; its timers come on top.
const _: () = assert!(
    crate::io::CONNECTION_BYTES + rooms::CLIENT_BYTES <= 256
        && crate::io::CONNECTION_BYTES + echo::STREAM_BYTES <= 256
);
