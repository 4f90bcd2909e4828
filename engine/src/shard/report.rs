//! What there is to see of rooms, for whoever asks: a page of them, or one with its members.
//!
//! A page is found by a walk through all rooms, some in each turn, so that it holds nobody up: whoever comes or goes
//! meanwhile may be missed or still be there. It changes nothing. What is asked for is copied, since it leaves the core.

use super::Shard;
use crate::connection::Phase;
use crate::limits::{REPORTED_MAX, ROOMS_SEARCHED_PER_TURN_MAX, ROOMS_WALKED_PER_TURN_MAX};
use crate::room::{Member, Room, RoomState};
use crate::time::Now;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use wire::json::Json;

/// A room in a line.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomLine {
    /// Its code.
    pub code: String,
    /// How many are in it, on whatever core.
    pub members: usize,
    /// What it does.
    pub state: RoomState,
    /// Where it is, µs; below 0 just before a start.
    pub position_us: i64,
    /// How long its track is, ms, if it is known.
    pub duration_ms: Option<f64>,
    /// The address of its track.
    pub audio_url: Option<String>,
    /// Members whose newest sync_check was too far off.
    pub out_of_sync: u32,
}

/// Rooms of one core.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomsPage {
    /// Those with the most members first.
    pub rooms: Vec<RoomLine>,
    /// How many there are of the kind that was asked for.
    pub total: usize,
}

/// A room with what is known of its members.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomReport {
    /// What a page says of it.
    pub line: RoomLine,
    /// Its host, as sent.
    pub host: Option<Json>,
    /// The pending handshake.
    pub starting: Option<Starting>,
    /// Up to [`REPORTED_MAX`] of its members.
    pub members: Vec<MemberLine>,
}

/// A handshake that holds a start up.
#[derive(Clone, Debug, PartialEq)]
pub struct Starting {
    /// Since it began, µs.
    pub since_us: i64,
    /// Devices that are ready.
    pub ready: usize,
    /// Its id.
    pub check_id: String,
    /// Users, as sent, of up to [`REPORTED_MAX`] members that are not; a connection's id where no user is known.
    pub waiting_for: Vec<Json>,
}

/// A member in a line.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberLine {
    /// Its connection, as clients see it.
    pub ws_id: String,
    /// Its user, as sent.
    pub user: Option<Json>,
    /// Where its socket is.
    pub core: u16,
    /// Its device was ready for the newest start.
    pub is_ready: bool,
    /// Its user is the host.
    pub is_host: bool,
    /// The newest round trip that TCP measured, µs; unknown of members on other cores.
    pub rtt_us: Option<u32>,
    /// How far ahead of the room it said it was, ms.
    pub drift_ms: Option<i16>,
    /// Bytes it is owed; unknown of members on other cores.
    pub owed_bytes: Option<usize>,
}

/// A walk through a shard's rooms.
#[derive(Debug)]
pub struct RoomWalk {
    search: Vec<u8>,
    limit: usize,
    next: usize,
    total: usize,
    /// The largest so far, the smallest of them on top: members, slot, generation.
    largest: BinaryHeap<Reverse<(usize, u32, u32)>>,
}

impl RoomWalk {
    /// A walk for the `limit` largest rooms, at most [`REPORTED_MAX`], whose code has `search` in it, whatever the case of
    /// ASCII letters.
    pub fn new(search: &str, limit: usize) -> RoomWalk {
        let limit = limit.min(REPORTED_MAX);
        let largest = BinaryHeap::with_capacity(limit + 1);
        RoomWalk { search: search.as_bytes().to_vec(), limit, next: 0, total: 0, largest }
    }

    fn is_sought(&self, code: &str) -> bool {
        let mut parts = code.as_bytes().windows(self.search.len().max(1));
        self.search.is_empty() || parts.any(|part| part.eq_ignore_ascii_case(&self.search))
    }

    fn see(&mut self, room: &Room) {
        if !self.is_sought(&room.code) {
            return;
        }
        self.total += 1;
        self.largest.push(Reverse((room.members.len(), room.id.index, room.id.generation)));
        if self.largest.len() > self.limit {
            self.largest.pop();
        }
    }
}

impl Shard {
    /// Some more steps of a walk; the page once it is done.
    pub fn walk_rooms(&self, walk: &mut RoomWalk, now: Now) -> Option<RoomsPage> {
        let is_search = !walk.search.is_empty();
        let steps = if is_search { ROOMS_SEARCHED_PER_TURN_MAX } else { ROOMS_WALKED_PER_TURN_MAX };
        let slots = self.rooms.capacity();
        let end = (walk.next + steps).min(slots);
        (walk.next..end).filter_map(|slot| self.rooms.get(slot)).for_each(|room| walk.see(room));
        walk.next = end;
        if end < slots {
            return None;
        }
        let largest = std::mem::take(&mut walk.largest).into_sorted_vec();
        let rooms = largest.into_iter().filter_map(|Reverse((_, slot, generation))| {
            let room = self.rooms.get(slot as usize).filter(|room| room.id.generation == generation)?;
            Some(line(room, now))
        });
        Some(RoomsPage { rooms: rooms.collect(), total: walk.total })
    }

    /// A room whose home is here. Linear in its members, of which it tells no more than [`REPORTED_MAX`].
    pub fn report_room(&self, room_code: &str, now: Now) -> Option<RoomReport> {
        let room = &self.rooms[*self.rooms_by_code.get(room_code)? as usize];
        let starting = room.readiness().map(|readiness| Starting {
            since_us: readiness.age_us(now.master_us),
            ready: readiness.ready,
            check_id: readiness.check_id.write(&mut [0; 13]).to_owned(),
            waiting_for: {
                let waiting = room.members.iter().filter(|member| !member.is_ready());
                waiting.take(REPORTED_MAX).map(|member| self.name(member)).collect()
            },
        });
        let members = 0..room.members.len().min(REPORTED_MAX);
        Some(RoomReport {
            line: line(room, now),
            host: room.host().cloned(),
            starting,
            members: members.map(|place| self.member_line(room, place)).collect(),
        })
    }

    fn member_line(&self, room: &Room, place: usize) -> MemberLine {
        let member = &room.members[place];
        let here = Some(member.id.connection).filter(|_| member.id.core == self.settings.core);
        let here = here.and_then(|id| self.live(id)).map(|index| index as usize);
        let here = here.filter(|index| self.connections[*index].phase == Phase::Open);
        MemberLine {
            ws_id: self.ws_id(member),
            user: member.user_id.clone(),
            core: member.id.core.0,
            is_ready: member.is_ready(),
            is_host: room.is_host(place),
            rtt_us: member.rtt_us(),
            drift_ms: member.drift_ms(),
            owed_bytes: here.map(|index| self.connections[index].outbox.owed_bytes()),
        }
    }

    fn name(&self, member: &Member) -> Json {
        member.user_id.clone().unwrap_or_else(|| Json::text(&self.ws_id(member)))
    }

    fn ws_id(&self, member: &Member) -> String {
        self.settings.seed.ws_id(member.id).write(&mut [0; 13]).to_owned()
    }
}

fn line(room: &Room, now: Now) -> RoomLine {
    RoomLine {
        code: room.code.to_string(),
        members: room.members.len(),
        state: room.state(),
        position_us: room.position_us(now),
        duration_ms: room.duration_ms(),
        audio_url: room.audio_url().map(str::to_owned),
        out_of_sync: room.out_of_sync,
    }
}
