//! A connection's life: accepted, upgraded here or handed to its room's home, read, closed, released.
//!
//! It decides; the driver holds the descriptor. The request's head is read while nothing else is armed on
//! the socket, so that handing it to another core needs no cancel: the bytes read so far travel along.

use super::{Action, Shard};
use crate::connection::{Activity, Connection, Membership, Phase, Unfinished};
use crate::envelope::Envelope;
use crate::ids::{ConnectionId, CoreId, MemberId};
use crate::limits::{App, ENDS_PER_TURN_MAX};
use crate::meter::Meter;
use crate::observed::record;
use crate::placement;
use crate::time::Now;
use wire::answer::Clocks;
use wire::close::{self, Reason};
use wire::decoder::{Decoder, Event};
use wire::frame::{self, Opcode};
use wire::request::Parser;
use wire::upgrade::{self, Head, Partial, Refusal};

/// How the driver goes on with a socket after its bytes were handled.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    /// Receive once more: the head is not complete.
    Head,
    /// Receive from now on.
    Stream,
    /// Nothing is expected soon: wait for bytes, then receive once.
    Rest,
    /// The connection has left this shard: its descriptor goes to another, with these bytes, and the
    /// slot is free.
    Moved(Moved),
}

/// A connection on its way to another core, before its upgrade is answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where to.
    pub to: CoreId,
    /// The whole head, and what came behind it.
    pub bytes: Vec<u8>,
    /// The room's home chose this core: it is not moved again.
    pub is_placed: bool,
    /// When it was accepted: µs of the master clock, wrapped.
    pub accepted_us: u32,
}

impl Shard {
    /// A socket was accepted. With `is_over_limit` it is answered 503 and closed.
    pub fn handle_accept(&mut self, is_over_limit: bool, now: Now) -> ConnectionId {
        self.now = now;
        self.stats.accepted += 1;
        let id = self.open_slot();
        self.connections[id.index as usize].ticket = now.master_us as u32;
        if is_over_limit {
            self.refuse(id.index, &Refusal::Unavailable, false);
        } else {
            self.deadlines.arm_head(id, now);
        }
        id
    }

    /// A connection came from another core, or goes nowhere because the way there is full: its place, before what it has
    /// said is read.
    pub fn open_moved(&mut self, moved: &Moved, now: Now) -> ConnectionId {
        self.now = now;
        self.stats.handed_in += 1;
        let id = self.open_slot();
        self.connections[id.index as usize].ticket = moved.accepted_us;
        id
    }

    /// What it has said so far is read.
    pub fn handle_moved(&mut self, id: ConnectionId, moved: Moved, now: Now) -> Flow {
        self.now = now;
        let Moved { mut bytes, is_placed, .. } = moved;
        self.read_head(id, &mut bytes, is_placed)
    }

    /// Bytes arrived. They are changed in place and may be reused when this returns.
    pub fn handle_bytes(&mut self, id: ConnectionId, bytes: &mut [u8], now: Now) -> Flow {
        self.now = now;
        let Some(index) = self.live(id) else { return Flow::Stream };
        match self.connections[index as usize].phase {
            Phase::Head => self.read_head(id, bytes, false),
            Phase::Open => {
                self.read_frames(index, bytes);
                self.flow(index)
            }
            Phase::Closing { .. } | Phase::Gone | Phase::Free => Flow::Stream,
        }
    }

    /// How to wait for a connection's next bytes, after a receive that brought none.
    pub fn flow_of(&self, id: ConnectionId) -> Flow {
        self.live(id).map_or(Flow::Stream, |index| self.flow(index))
    }

    fn flow(&self, index: u32) -> Flow {
        if self.connections[index as usize].activity == Activity::Resting { Flow::Rest } else { Flow::Stream }
    }

    /// The peer ended its side: nothing more will come.
    pub fn handle_end(&mut self, id: ConnectionId, now: Now) {
        self.now = now;
        let Some(index) = self.live(id) else { return };
        match &mut self.connections[index as usize].phase {
            Phase::Head | Phase::Open => self.end(id, false),
            Phase::Closing { peer_ended, .. } => {
                *peer_ended = true;
                self.finish_closing(index);
            }
            Phase::Gone | Phase::Free => {}
        }
    }

    /// The socket failed: reset by the peer, or broken.
    pub fn handle_failure(&mut self, id: ConnectionId, now: Now) {
        self.now = now;
        if let Some(index) = self.live(id)
            && self.connections[index as usize].phase != Phase::Gone
        {
            self.end(id, true);
        }
    }

    /// Handling this connection's bytes has panicked, somewhere: it is closed with 1011.
    #[cold]
    pub fn handle_fault(&mut self, id: ConnectionId, now: Now) {
        self.now = now;
        self.recover();
        let Some(index) = self.live(id) else { return };
        match self.connections[index as usize].phase {
            Phase::Head => self.drop_connection(index, true),
            Phase::Open => self.close(index, Reason::Internal),
            Phase::Closing { .. } | Phase::Gone | Phase::Free => {}
        }
    }

    /// The same for a message from another core, which closes the connection there.
    #[cold]
    pub fn handle_fault_elsewhere(&mut self, asker: MemberId, now: Now) {
        self.now = now;
        self.recover();
        self.evict_one(asker, None, Reason::Internal);
    }

    /// After a panic: what was taken out for the time is made anew.
    fn recover(&mut self) {
        self.stats.faults += 1;
        self.parser.get_or_insert_with(|| Box::new(Parser::new(self.settings.limits.request())));
        self.clocks.get_or_insert_with(|| Box::new(Clocks::new(0, 0)));
        self.scratch.clear();
    }

    /// A connection is to be let go of, at once or in line behind others whose end came before. Once in line it
    /// stays there once, however many of its sends fail meanwhile.
    fn end(&mut self, id: ConnectionId, reset: bool) {
        if self.connections[id.index as usize].is_ending {
            return;
        }
        if self.ends_handled < ENDS_PER_TURN_MAX && self.ends_waiting.is_empty() {
            self.ends_handled += 1;
            self.drop_connection(id.index, reset);
        } else {
            let connection = &mut self.connections[id.index as usize];
            connection.is_ending = true;
            // What comes for it meanwhile finds it listed already, and so is never sent: where all of a room go at once,
            // each would else be told of each.
            connection.is_listed = true;
            self.stats.ending += 1;
            self.ends_waiting.push_back((id, reset));
        }
    }

    /// Lets go of as many of those in line as one turn may.
    pub(super) fn end_waiting(&mut self) {
        while self.ends_handled < ENDS_PER_TURN_MAX
            && let Some((id, reset)) = self.ends_waiting.pop_front()
        {
            self.stats.ending -= 1;
            if let Some(index) = self.live(id)
                && self.connections[index as usize].phase != Phase::Gone
            {
                self.ends_handled += 1;
                self.drop_connection(index, reset);
            }
        }
        self.ends_handled = 0;
    }

    /// The descriptor is closed and no operation is in flight on it: its slot may be used again.
    pub fn handle_released(&mut self, id: ConnectionId) {
        if self.live(id).is_some() {
            debug_assert!(self.connections[id.index as usize].phase == Phase::Gone);
            self.close_slot(id.index);
        }
    }

    /// From here on rooms outlast their members, so that what is kept at the end has them.
    pub fn begin_drain(&mut self, now: Now) {
        self.now = now;
        self.is_draining = true;
    }

    /// Closes up to `limit` connections with 1001, a room's members one after the other and without a word to those who
    /// are left; false once there is nobody more to close.
    pub fn drain(&mut self, mut limit: usize, now: Now) -> bool {
        self.now = now;
        self.is_quiet = true;
        while limit > 0
            && let Some(index) = self.next_to_drain()
        {
            limit -= 1;
            match self.connections[index as usize].phase {
                Phase::Head => self.drop_connection(index, false),
                _ => self.close(index, Reason::GoingAway),
            }
        }
        self.is_quiet = false;
        limit == 0
    }

    /// Members first, an audience at a time, then whoever is in no room.
    fn next_to_drain(&mut self) -> Option<u32> {
        let (audience, slot) = &mut self.drained;
        while *audience < self.audiences.capacity() {
            let listeners = self.audiences.get(*audience).map(|audience| &audience.listeners);
            if let Some(listener) = listeners.and_then(|listeners| listeners.last()) {
                return Some(listener.connection);
            }
            *audience += 1;
        }
        while let Some(connection) = self.connections.get(*slot) {
            *slot += 1;
            if matches!(connection.phase, Phase::Head | Phase::Open) {
                return Some(*slot as u32 - 1);
            }
        }
        None
    }

    /// Resets what is left of a drain.
    pub fn abandon(&mut self) {
        for index in 0..self.connections.len() as u32 {
            if !matches!(self.connections[index as usize].phase, Phase::Gone | Phase::Free) {
                self.drop_connection(index, true);
            }
        }
    }

    fn open_slot(&mut self) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(Connection::unused());
            self.meters.push(Meter::default());
            self.connections.len() as u32 - 1
        });
        self.stats.connections += 1;
        let connection = &mut self.connections[index as usize];
        connection.phase = Phase::Head;
        connection.id(index)
    }

    fn close_slot(&mut self, index: u32) {
        self.unwatch(index);
        let connection = &mut self.connections[index as usize];
        let generation = (connection.generation + 1) & ConnectionId::GENERATION_MAX;
        *connection = Connection { generation, ..Connection::unused() };
        self.meters[index as usize] = Meter::default();
        self.heads.remove(&index);
        // A key is hashed only where there is something to be found.
        if !self.newest_pings.is_empty() {
            self.newest_pings.remove(&index);
        }
        if !self.excesses.is_empty() {
            self.excesses.remove(&index);
        }
        self.free.push(index);
        self.stats.connections -= 1;
    }

    fn read_head(&mut self, id: ConnectionId, bytes: &mut [u8], is_placed: bool) -> Flow {
        let index = id.index;
        let limits = self.settings.limits.head();
        let mut head = self.heads.remove(&index).unwrap_or_default();
        let was_split = !head.is_empty();
        if was_split && !head.push(bytes, &limits) {
            self.heads.insert(index, head);
            return Flow::Head;
        }
        let bytes = if was_split { head.bytes_mut() } else { bytes };
        let head_bytes = match upgrade::parse(bytes, &limits) {
            Ok(Head::Incomplete) => {
                let bytes = if was_split { head.into_bytes() } else { bytes.to_vec() };
                self.heads.insert(index, Partial::new(bytes));
                return Flow::Head;
            }
            Err(Refusal::NoPage) if self.page.is_some() => {
                self.serve_page(index, upgrade::is_head_method(bytes));
                return Flow::Stream;
            }
            Err(refusal) => {
                self.refuse(index, &refusal, upgrade::is_head_method(bytes));
                return Flow::Stream;
            }
            Ok(Head::Complete(request, _)) if !self.settings.limits.origins.allow(request.origin) => {
                self.refuse(index, &Refusal::OriginNotAllowed, false);
                return Flow::Stream;
            }
            Ok(Head::Complete(request, head_bytes)) => {
                if let Some((to, is_placed)) = self.elsewhere(&request, is_placed) {
                    let bytes = bytes.to_vec();
                    let accepted_us = self.connections[index as usize].ticket;
                    self.close_slot(index);
                    self.stats.handed_away += 1;
                    return Flow::Moved(Moved { to, bytes, is_placed, accepted_us });
                }
                self.push_own(index, |out| upgrade::accept(&request, out));
                head_bytes
            }
        };
        self.open(id);
        self.read_frames(index, &mut bytes[head_bytes..]);
        Flow::Stream
    }

    /// The core that is to have this connection, if it is not this one.
    fn elsewhere(&self, request: &upgrade::Request<'_>, is_placed: bool) -> Option<(CoreId, bool)> {
        if is_placed || self.settings.app != App::Rooms || self.settings.cores == 1 {
            return None;
        }
        let room_code = request.room_code()?;
        let home = placement::home(self.settings.seed, &room_code, self.settings.cores);
        if home != self.settings.core {
            return Some((home, false));
        }
        let core = self.emptiest_core(&room_code)?;
        (core != self.settings.core).then_some((core, true))
    }

    fn open(&mut self, id: ConnectionId) {
        self.stats.upgraded += 1;
        let connection = &mut self.connections[id.index as usize];
        connection.phase = Phase::Open;
        let accepted_us = std::mem::take(&mut connection.ticket);
        let handshake_us = (self.now.master_us as u32).wrapping_sub(accepted_us);
        record(&mut self.observed.handshake, i64::from(handshake_us));
        self.deadlines.arm_ping(id, self.now);
        match self.settings.app {
            App::Rooms => self.deadlines.arm_join(id, self.now),
            App::Echo => {}
            App::Broadcast => {
                let place = self.audiences[0].add(id.index);
                connection.membership = Membership::Member { audience: 0, place, home_place: 0 };
            }
        }
    }

    fn refuse(&mut self, index: u32, refusal: &Refusal, is_head_method: bool) {
        self.stats.refused_heads += 1;
        match refusal {
            Refusal::HeadTooLarge => self.stats.heads_too_large += 1,
            Refusal::OriginNotAllowed => self.stats.origins_refused += 1,
            _ => {}
        }
        self.push_own(index, |out| refusal.write(is_head_method, out));
        self.begin_closing(index);
    }

    #[cold]
    fn serve_page(&mut self, index: u32, is_head_method: bool) {
        self.stats.pages_served += 1;
        if is_head_method {
            if let Some(page) = self.settings.page {
                self.push_own(index, |out| page.write(true, out));
            }
        } else if let Some(page) = &self.page {
            // Whoever is still in its head is owed nothing else, so the bytes are not copied.
            self.connections[index as usize].outbox.push_shared(page, 0);
            self.list(index);
        }
        self.begin_closing(index);
    }

    fn read_frames(&mut self, index: u32, bytes: &mut [u8]) {
        let limits = self.settings.limits.decoder();
        let mut input = bytes;
        // Out of the table while its events are handled, since they borrow from it.
        let mut unfinished = self.connections[index as usize].unfinished.take();
        let mut fresh = Decoder::default();
        let messages_before = self.stats.messages_received;
        let decoder = unfinished.as_deref_mut().map_or(&mut fresh, |unfinished| &mut unfinished.decoder);
        while self.connections[index as usize].phase == Phase::Open {
            match decoder.next(&mut input, &limits) {
                Ok(Some(event)) => self.handle_event(index, event),
                Ok(None) => {
                    if decoder.is_midway() {
                        self.keep_unfinished(index, unfinished, fresh, messages_before);
                    }
                    return;
                }
                Err(reason) => {
                    match reason {
                        Reason::TooBig => self.stats.messages_too_big += 1,
                        _ => self.stats.protocol_errors += 1,
                    }
                    self.close(index, reason);
                }
            }
        }
    }

    /// Keeps what has come of a frame or message, and since when it comes: now, if whole messages came before it.
    #[cold]
    fn keep_unfinished(
        &mut self,
        index: u32,
        unfinished: Option<Box<Unfinished>>,
        fresh: Decoder,
        messages_before: u64,
    ) {
        let since_us = self.now.master_us;
        let mut unfinished = unfinished.unwrap_or_else(|| Box::new(Unfinished { decoder: fresh, since_us }));
        if self.stats.messages_received > messages_before {
            unfinished.since_us = since_us;
        }
        self.connections[index as usize].unfinished = Some(unfinished);
        self.watch(index);
    }

    fn handle_event(&mut self, index: u32, event: Event<'_>) {
        let connection = &mut self.connections[index as usize];
        connection.pings_unanswered = 0;
        if !matches!(event, Event::Pong) {
            connection.activity = Activity::Lively;
        }
        match event {
            Event::Text(payload) => self.handle_message(index, Opcode::Text, payload),
            Event::Binary(payload) => self.handle_message(index, Opcode::Binary, payload),
            Event::Ping(payload) => self.handle_ping(index, payload),
            Event::Pong => {
                self.meter_control(index);
            }
            Event::Close(payload) => {
                let reason = close::reply(payload);
                let is_fault = matches!(reason, Reason::Protocol | Reason::InvalidUtf8);
                self.stats.protocol_errors += u64::from(is_fault);
                self.close(index, reason);
            }
        }
    }

    /// Answers a ping, or keeps it to be answered if no newer one comes.
    fn handle_ping(&mut self, index: u32, payload: &[u8]) {
        if !self.meter_control(index) {
            return;
        }
        if self.connections[index as usize].outbox.count_pong() {
            self.push_own(index, |out| frame::push_frame(out, Opcode::Pong, payload));
        } else if self.newest_pings.insert(index, payload.into()).is_some() {
            self.stats.pongs_skipped += 1;
        }
    }

    /// False if the connection sends pings and pongs too fast, and is closed for it.
    fn meter_control(&mut self, index: u32) -> bool {
        let is_within = self.meters[index as usize].controls.take(&self.rates.controls, self.now);
        if !is_within {
            self.stats.controls_excess += 1;
            self.close(index, Reason::Policy);
        }
        is_within
    }

    /// Answers the newest pings of those that sent too many for each to be answered, unless what they are owed
    /// is stuck.
    pub(super) fn answer_newest_pings(&mut self) {
        if self.newest_pings.is_empty() {
            return;
        }
        let connections = &self.connections;
        let is_stuck = |index: &u32| connections[*index as usize].outbox.is_in_flight();
        let mut due: Vec<_> = self.newest_pings.extract_if(|index, _| !is_stuck(index)).collect();
        due.sort_unstable_by_key(|(index, _)| *index);
        for (index, payload) in due {
            self.push_own(index, |out| frame::push_frame(out, Opcode::Pong, &payload));
        }
    }

    /// A message of a client of rooms, whose rate is metered.
    #[inline]
    fn handle_metered(&mut self, index: u32, text: &mut [u8]) {
        let is_within = self.meters[index as usize].messages.take(&self.rates.messages, self.now);
        if !is_within && self.is_flood(index) {
            return;
        }
        self.handle_text(index, text, !is_within);
    }

    /// Counts a message past its rate; true if there are so many that the connection is closed.
    #[cold]
    fn is_flood(&mut self, index: u32) -> bool {
        self.stats.messages_excess += 1;
        let is_flood =
            self.excesses.entry(index).or_default().add(self.now) > self.settings.limits.messages_excess_max;
        if is_flood {
            self.stats.floods_closed += 1;
            self.close(index, Reason::Policy);
        }
        is_flood
    }

    fn handle_message(&mut self, index: u32, opcode: Opcode, payload: &mut [u8]) {
        self.stats.messages_received += 1;
        match self.settings.app {
            // The old server read binary frames as text too.
            App::Rooms => self.handle_metered(index, payload),
            App::Echo => self.push_own(index, |out| frame::push_frame(out, opcode, payload)),
            App::Broadcast => {
                let mut frames = std::mem::take(&mut self.scratch);
                frame::push_frame(&mut frames, opcode, payload);
                self.append(0, &frames, false, None);
                for peer in (0..self.settings.cores).filter(|peer| *peer != self.settings.core.0) {
                    let link = &mut self.links[usize::from(peer)];
                    if link.is_full() {
                        self.stats.mesh_broadcasts_dropped += 1;
                    } else {
                        link.push(Envelope::Everyone { frames: frames.clone() });
                    }
                }
                frames.clear();
                self.scratch = frames;
            }
        }
    }

    /// Says why, and that nothing follows. The member leaves its room at once.
    pub(super) fn close(&mut self, index: u32, reason: Reason) {
        if self.connections[index as usize].phase != Phase::Open {
            return;
        }
        self.leave(index);
        self.push_own(index, |out| close::push_frame(out, reason));
        self.begin_closing(index);
    }

    fn begin_closing(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.phase == Phase::Gone {
            return;
        }
        connection.phase = Phase::Closing { is_shut: false, peer_ended: false };
        connection.unfinished = None;
        let id = connection.id(index);
        self.deadlines.arm_close(id, self.now);
    }

    /// Once the last bytes are sent: ends our side, or lets go if the peer has ended its own.
    pub(super) fn finish_closing(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let id = connection.id(index);
        let is_sent = connection.outbox.is_empty();
        match &mut connection.phase {
            Phase::Closing { peer_ended: true, .. } if is_sent => self.drop_connection(index, false),
            Phase::Closing { is_shut, .. } if is_sent && !*is_shut => {
                *is_shut = true;
                self.actions.push_back(Action::Shutdown(id));
            }
            _ => {}
        }
    }
}
