//! Times and gauges that are read by whoever watches the server: nothing of it comes back to a client.
//!
//! What the driver knows better (round trips, when sends were handed over) it is asked for, or tells. Each question and
//! each start that waits is bounded: one too many is not observed.

use super::Shard;
use crate::connection::Membership;
use crate::ids::ConnectionId;
use crate::limits::{AUDIENCE_PROMPT_MAX, App, PLAYS_PENDING_MAX, RTTS_DUE_MAX};
use crate::observed::{Observed, record};
use crate::time::{Now, us};

/// A PLAY that members are about to get.
pub(super) struct Play {
    /// When it was written.
    began_us: i64,
    /// How far apart it would reach them, sent to all at once.
    spread_us: i64,
    /// Some of them wait for their slice of a turn.
    is_bulk: bool,
}

impl Shard {
    /// What was observed, to be added to by whoever turns the shard.
    pub fn observed_mut(&mut self) -> &mut Observed {
        &mut self.observed
    }

    /// What was observed since this was last called, in exchange for an empty set.
    pub fn take_observed(&mut self, empty: Box<Observed>) -> Box<Observed> {
        std::mem::replace(&mut self.observed, empty)
    }

    /// All that the turn led to is handed over, at `now`: a PLAY has reached everyone here, but for large audiences.
    #[inline]
    pub fn handle_submitted(&mut self, now: Now) {
        if !self.plays.is_empty() {
            self.end_plays(now);
        }
    }

    #[cold]
    fn end_plays(&mut self, now: Now) {
        let is_behind = self.ready.is_behind();
        for play in self.plays.extract_if(.., |play| !(play.is_bulk && is_behind)) {
            record(&mut self.observed.start_skew, play.spread_us + now.master_us - play.began_us);
        }
    }

    /// Whose round trip the driver should ask TCP for; each connection at most once in a ping's interval.
    pub fn poll_rtt_due(&mut self) -> Option<ConnectionId> {
        self.rtts_due.pop_front()
    }

    /// What TCP says.
    pub fn handle_rtt(&mut self, id: ConnectionId, rtt_us: u32) {
        let Some(index) = self.live(id) else { return };
        if let Membership::Member { audience, home_place, .. } = self.connections[index as usize].membership {
            record(&mut self.observed.rtt, i64::from(rtt_us));
            let room = self.audiences[audience as usize].room;
            if room.home == self.settings.core {
                self.rooms[room.index as usize].set_rtt(home_place as usize, rtt_us);
            }
        }
    }

    /// A member's round trip is of interest again.
    pub(super) fn ask_rtt(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        let is_member = matches!(connection.membership, Membership::Member { .. });
        if is_member && self.settings.app == App::Rooms && self.rtts_due.len() < RTTS_DUE_MAX {
            self.rtts_due.push_back(connection.id(index));
        }
    }

    /// A client says where it is.
    pub(super) fn check_sync(
        &mut self,
        room: u32,
        place: Option<u32>,
        client_position_ms: f64,
        frames: &mut Vec<u8>,
    ) {
        let checked = &mut self.rooms[room as usize];
        let before = checked.out_of_sync;
        let place = place.map(|place| place as usize);
        let drift_us = checked.check_sync(place, client_position_ms, self.now, frames);
        record(&mut self.observed.drift, drift_us.saturating_abs());
        self.count_out_of_sync(room, before);
    }

    /// After anything that may have changed a room's `out_of_sync`, which was `before`.
    pub(super) fn count_out_of_sync(&mut self, room: u32, before: u32) {
        let after = self.rooms[room as usize].out_of_sync;
        self.stats.out_of_sync = self.stats.out_of_sync + u64::from(after) - u64::from(before);
    }

    /// A device has become ready.
    pub(super) fn observe_ready(&mut self, ready_us: i64, rtt_ms: Option<f64>) {
        record(&mut self.observed.ready, ready_us);
        if let Some(rtt_ms) = rtt_ms {
            record(&mut self.observed.reported_rtt, us(rtt_ms));
        }
    }

    /// After anything that may have started a room.
    pub(super) fn observe_start(&mut self, room: u32) {
        let started = &mut self.rooms[room as usize];
        if let Some(spread_us) = started.take_started()
            && self.plays.len() < PLAYS_PENDING_MAX
        {
            let listeners = self.audiences[started.audience].listeners.len();
            let is_bulk = listeners > AUDIENCE_PROMPT_MAX;
            self.plays.push(Play { began_us: self.now.master_us, spread_us, is_bulk });
        }
    }
}
