//! What clients ask, at the core of their socket and at their room's home.
//!
//! A time_ping without a room is answered where it arrives; a join is the member's core's business; all
//! else is decided by the room's home, in the order it arrives there. A member elsewhere gets the same
//! treatment: its text travels before parsing, and comes through the same door.

use super::Shard;
use crate::connection::Membership;
use crate::envelope::Envelope;
use crate::ids::{CoreId, MemberId};
use crate::limits::{Authz, MESH_FULL};
use crate::placement;
use crate::readiness::Readiness;
use crate::time::us;
use wire::answer::Answer;
use wire::json::Value;
use wire::request::{self, Message, Request};
use wire::text::{Ms, Nullable};

/// The id of a time_ping whose answer panics, for tests of what that costs.
#[cfg(feature = "chaos")]
const CHAOS_PING: &str = "chaos_panic";
/// Makes the shard panic at the end of its turn.
#[cfg(feature = "chaos")]
const CHAOS_SHARD: &[u8] = br#"{"type":"chaos_shard"}"#;

impl Shard {
    /// A message of one of this shard's connections. Of those past its rate pings are dropped.
    pub(super) fn handle_text(&mut self, index: u32, text: &mut [u8], is_excess: bool) {
        #[cfg(feature = "chaos")]
        if *text == *CHAOS_SHARD {
            self.is_doomed = true;
        }
        if let Some((id, t0)) = request::usual_ping(text) {
            if is_excess {
                self.stats.pings_dropped += 1;
            } else if self.is_late(index) {
                self.stats.pongs_late += 1;
            } else {
                self.answer_ping(self.member_id(index), Some(id), Some(t0), None);
            }
            return;
        }
        let Some(mut parser) = self.parser.take() else { return };
        // Parsing changes the text in place, so what may have to travel is kept before.
        let kept = self.may_travel(index).then(|| text.to_vec());
        let result = parser.parse(text, |message| {
            if is_excess && matches!(message.request, Request::TimePing { .. }) {
                self.stats.pings_dropped += 1;
            } else {
                self.route(index, message, kept);
            }
        });
        self.parser = Some(parser);
        if result.is_err() {
            self.stats.messages_ignored += 1;
        }
    }

    /// A message that travelled from another core.
    pub(super) fn handle_travelled(&mut self, from: MemberId, text: &mut [u8]) {
        let Some(mut parser) = self.parser.take() else { return };
        let result = parser.parse(text, |message| self.decide(from, message));
        self.parser = Some(parser);
        debug_assert!(result.is_ok(), "it was parsed where it came from");
    }

    /// True if the connection's room may have its home elsewhere.
    fn may_travel(&self, index: u32) -> bool {
        let elsewhere = match &self.connections[index as usize].membership {
            Membership::None => false,
            Membership::Joining(_) => true,
            Membership::Member { audience, .. } => {
                self.audiences[*audience as usize].room.home != self.settings.core
            }
        };
        elsewhere || (self.settings.authz == Authz::Off && self.settings.cores > 1)
    }

    fn route(&mut self, index: u32, message: Message<'_, '_>, kept: Option<Vec<u8>>) {
        let from = self.member_id(index);
        if let (Request::Join { user_id, host_id }, Some(room_code)) = (&message.request, message.room_code) {
            let owned = |value: &Option<Value<'_, '_>>| value.map(|value| value.to_json());
            self.join(index, room_code, owned(user_id), owned(host_id));
            return;
        }
        if is_command(&message.request)
            && !self.meters[index as usize].commands.take(&self.rates.commands, self.now)
        {
            self.stats.commands_excess += 1;
            return;
        }
        let home = message.room_code.map_or(self.settings.core, |room_code| self.home_for(index, room_code));
        let Some(text) = kept.filter(|_| home != self.settings.core) else {
            self.decide(from, message);
            return;
        };
        let is_ping = matches!(message.request, Request::TimePing { .. });
        let link = &mut self.links[usize::from(home.0)];
        if !link.is_full() {
            link.push(Envelope::Request { from, text: text.into(), is_ping });
        } else if is_ping {
            self.stats.mesh_pings_dropped += 1;
        } else {
            self.stats.mesh_evicted += 1;
            self.close(index, MESH_FULL);
        }
    }

    /// Where a connection's requests about a room are decided: its own room's home, wherever that is, so
    /// that they arrive in order with its join; or anyone's, if anyone may ask.
    fn home_for(&self, index: u32, room_code: &str) -> CoreId {
        if self.settings.authz == Authz::Off {
            return placement::home(self.settings.seed, room_code, self.settings.cores);
        }
        match &self.connections[index as usize].membership {
            Membership::None => self.settings.core,
            Membership::Joining(joining) => joining.home,
            Membership::Member { audience, .. } => self.audiences[*audience as usize].room.home,
        }
    }

    /// At the home of the room it names, if it names one: the request is carried out.
    fn decide(&mut self, from: MemberId, message: Message<'_, '_>) {
        let standing = message.room_code.and_then(|room_code| self.standing_in(from, room_code));
        if let Request::TimePing { id, t0 } = message.request {
            if from.core == self.settings.core && self.is_late(from.connection.index) {
                self.stats.pongs_late += 1;
            } else {
                self.answer_ping(from, id, t0, standing.map(|(room, _)| room));
            }
            return;
        }
        let Some((room, place)) = standing else {
            self.stats.messages_unauthorised += 1;
            return;
        };
        match message.request {
            Request::PlaybackState | Request::Sync | Request::SyncCheck { .. } => {
                self.answer_query(from, room, place, &message.request);
            }
            Request::Ready { check_id, rtt_ms } => match place {
                Some(place) => self.ready(from, room, place, check_id, rtt_ms),
                None => self.stats.messages_unauthorised += 1,
            },
            _ if !self.may_command(room, place) => self.stats.messages_unauthorised += 1,
            command => self.command(room, &command),
        }
    }

    /// The room of this code, and the sender's place in it; without a place only where anyone may ask.
    fn standing_in(&self, from: MemberId, room_code: &str) -> Option<(u32, Option<u32>)> {
        let standing = self.standing(from).filter(|(room, _)| *self.rooms[*room as usize].code == *room_code);
        if let Some((room, place)) = standing {
            return Some((room, Some(place)));
        }
        if self.settings.authz != Authz::Off {
            return None;
        }
        self.rooms_by_code.get(room_code).map(|room| (*room, None))
    }

    fn may_command(&self, room: u32, place: Option<u32>) -> bool {
        match self.settings.authz {
            Authz::Member | Authz::Off => true,
            Authz::Host => place.is_some_and(|place| self.rooms[room as usize].is_host(place as usize)),
        }
    }

    fn answer_ping(
        &mut self,
        from: MemberId,
        id: Option<Value<'_, '_>>,
        t0: Option<Value<'_, '_>>,
        room: Option<u32>,
    ) {
        let now = self.now;
        let Some(mut clocks) = self.clocks.take() else { return };
        clocks.set(now.unix_us, now.master_us);
        #[cfg(feature = "chaos")]
        assert!(id.and_then(|id| id.as_str()) != Some(CHAOS_PING), "a client asked for a panic");
        let asked = room.map(|room| &self.rooms[room as usize]);
        let offset_us = t0.and_then(|t0| t0.as_f64()).map(|t0_ms| now.unix_us.saturating_sub(us(t0_ms)) / 2);
        let pong = Answer::TimePong {
            id,
            t0,
            clocks: &clocks,
            // serverTimeUnix - (t0 + serverTimeUnix) / 2, to the microsecond.
            time_offset: Nullable(offset_us.map(Ms)),
            playback_position: Ms(asked.map_or(0, |room| room.position_us(now))),
            is_playing: asked.is_some_and(|room| room.is_playing()),
        };
        if from.core == self.settings.core {
            self.push_own(from.connection.index, |out| pong.push_frame(out));
        } else {
            let mut frames = Vec::new();
            pong.push_frame(&mut frames);
            self.reply(from, room, &mut frames, true);
        }
        self.clocks = Some(clocks);
    }

    fn answer_query(&mut self, from: MemberId, room: u32, place: Option<u32>, request: &Request<'_, '_>) {
        let asked = &self.rooms[room as usize];
        let mut frames = std::mem::take(&mut self.scratch);
        match request {
            Request::SyncCheck { client_position_ms } => {
                self.check_sync(room, place, *client_position_ms, &mut frames);
            }
            Request::Sync if !asked.is_playing() => {}
            _ if self.is_late_member(from, room) => {
                self.stats.states_late += 1;
                self.connections[from.connection.index as usize].is_state_due = true;
            }
            _ => asked.write_snapshot(self.now, &mut frames),
        }
        self.reply(from, Some(room), &mut frames, false);
        self.scratch = frames;
    }

    /// A member here that is late; what strangers ask for, where they may, is not put off.
    fn is_late_member(&self, from: MemberId, room: u32) -> bool {
        from.core == self.settings.core
            && self.is_late(from.connection.index)
            && self.standing(from).is_some_and(|(standing, _)| standing == room)
    }

    fn ready(&mut self, from: MemberId, room: u32, place: u32, check_id: Option<&str>, rtt_ms: Option<f64>) {
        let now = self.now;
        let mut frames = std::mem::take(&mut self.scratch);
        let place = place as usize;
        let asked = &mut self.rooms[room as usize];
        let before = asked.out_of_sync;
        let outcome = asked.ready(place, check_id, rtt_ms, now, &mut frames);
        self.count_out_of_sync(room, before);
        self.stats.stale_readiness += u64::from(outcome.stale);
        if let Some(ready_us) = outcome.ready_us {
            self.observe_ready(ready_us, rtt_ms);
        }
        self.broadcast(room, &mut frames, None);
        if outcome.tell_others {
            self.rooms[room as usize].write_device_ready(place, now, &mut frames);
            self.broadcast(room, &mut frames, Some(from));
        } else {
            self.stats.device_ready_coalesced += 1;
        }
        self.rooms[room as usize].write_catch_up(now, &mut frames);
        self.reply(from, Some(room), &mut frames, false);
        self.scratch = frames;
        self.observe_start(room);
        self.arm_room(room);
    }

    fn command(&mut self, room: u32, command: &Request<'_, '_>) {
        let now = self.now;
        if !self.rooms[room as usize].commands.take(&self.rates.room_commands, now) {
            self.stats.room_commands_excess += 1;
            return;
        }
        self.handshakes += 1;
        let check_id = self.settings.seed.check_id(self.settings.core, self.handshakes);
        let mut frames = std::mem::take(&mut self.scratch);
        let commanded = &mut self.rooms[room as usize];
        let before = commanded.out_of_sync;
        match command {
            Request::Play { audio_url, duration, start_delay_ms, rtt_ms } => {
                let duration = duration.map(|duration| duration.to_json());
                let us = now.master_us;
                let readiness = Readiness::new(check_id, audio_url, duration, *start_delay_ms, *rtt_ms, us);
                if !commanded.prepare(readiness, now, &mut frames) {
                    self.stats.messages_ignored += 1;
                }
            }
            Request::Pause => {
                let has_state = commanded.pause(self.settings.limits.pause_states_max, now, &mut frames);
                self.stats.pause_states_excess += u64::from(!has_state);
            }
            Request::Resume { start_delay_ms } => commanded.resume(*start_delay_ms, now, &mut frames),
            Request::Seek { position_ms } => commanded.seek(*position_ms, now, &mut frames),
            Request::TrackChange { track } => commanded.change_track(*track, now, &mut frames),
            _ => {}
        }
        self.count_out_of_sync(room, before);
        self.broadcast(room, &mut frames, None);
        self.scratch = frames;
        self.arm_room(room);
    }
}

/// What changes a room for everyone in it.
fn is_command(request: &Request<'_, '_>) -> bool {
    match request {
        Request::Play { .. }
        | Request::Pause
        | Request::Resume { .. }
        | Request::Seek { .. }
        | Request::TrackChange { .. } => true,
        Request::Join { .. }
        | Request::TimePing { .. }
        | Request::Ready { .. }
        | Request::PlaybackState
        | Request::Sync
        | Request::SyncCheck { .. } => false,
    }
}
