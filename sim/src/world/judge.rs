//! The naive models beside the shards: one for each room, told what its home is told, in the same order.
//!
//! What a model expects goes to the [`super::hearing::Hearing`] of whom it is for. A model of its own for each room
//! lets rooms move on at their own time, as their homes do; another without rooms speaks for what is answered where
//! it arrives. A room's model outlives the room, so that names that were bound stay bound.

use super::hearing::{Departures, Item};
use super::said::{Kind, Text};
use super::socket::{Place, Socket};
use super::turn::Refused;
use crate::model::{Authz, Client, Clock, Expected, KeptRoom, Matcher, Model};
use engine::{Seed, placement};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Both sides are told the same times; this is what doubles may lose.
const TIME_TOLERANCE_MS: f64 = 0.01;
/// Where those are who ask from no room; no room has this code.
pub(super) const LOBBY: &str = "";

#[derive(Debug)]
pub(super) struct Judge {
    /// By code, and [`LOBBY`].
    pub(super) rooms: BTreeMap<String, RoomJudge>,
    authz: Authz,
    cores: u16,
    key: Seed,
    /// Clients of shards that have failed since, whose names others may have by now.
    gone: BTreeSet<Client>,
}

#[derive(Debug)]
pub(super) struct RoomJudge {
    pub(super) model: Model,
    matcher: Matcher,
    pub(super) home: u16,
    /// The stay of each member, as its connection counts them.
    tickets: BTreeMap<Client, u32>,
    known: BTreeSet<Client>,
    /// The position when it was last looked at, if it was playing then: not before this does it play on.
    pub(super) played_us: Option<i64>,
    /// It has been told to be elsewhere since.
    pub(super) may_jump: bool,
}

impl RoomJudge {
    fn new(authz: Authz, home: u16) -> RoomJudge {
        RoomJudge {
            model: Model::new(authz),
            matcher: Matcher::new(TIME_TOLERANCE_MS),
            home,
            tickets: BTreeMap::new(),
            known: BTreeSet::new(),
            played_us: None,
            may_jump: false,
        }
    }

    fn know(&mut self, client: Client) {
        if self.known.insert(client) {
            self.model.connect(client);
        }
    }

    fn message(&mut self, client: Client, text: &str, at: Clock) -> Vec<Expected> {
        self.know(client);
        self.model.message(client, text, at)
    }

    fn leave(&mut self, client: Client, at: Clock) -> Vec<Expected> {
        self.known.remove(&client);
        self.model.leave(client, at)
    }
}

impl Judge {
    pub(super) fn new(authz: Authz, cores: u16, key: Seed) -> Judge {
        Judge {
            rooms: BTreeMap::from([(LOBBY.to_owned(), RoomJudge::new(authz, u16::MAX))]),
            authz,
            cores,
            key,
            gone: BTreeSet::new(),
        }
    }

    /// The core that a room has its home on.
    pub(super) fn home(&self, room_code: &str) -> u16 {
        placement::home(self.key, room_code, self.cores).0
    }

    /// Where a text is decided that came to `core` from a connection in room `standing`, if it is in one.
    pub(super) fn decided_at(&self, core: u16, text: &Text, standing: Option<&str>) -> u16 {
        match (&text.room_code, self.authz) {
            (None, _) => core,
            (Some(room_code), _) if text.kind == Kind::Join => self.home(room_code),
            (Some(room_code), Authz::Off) => self.home(room_code),
            (Some(_), _) => standing.map_or(core, |room_code| self.home(room_code)),
        }
    }

    /// A text that is no join is carried out on `core`. True if it made a room play.
    pub(super) fn decide(
        &mut self,
        core: u16,
        client: Client,
        text: &Text,
        at: Clock,
        sockets: &mut [Socket],
        refused: Refused,
    ) -> bool {
        let room_code = match self.authz {
            Authz::Off => text.room_code.clone().filter(|room_code| self.rooms.contains_key(room_code)),
            _ if text.room_code.is_none() => None,
            // Whoever names another room than its own asks as a stranger.
            _ => self.standing(core, client).filter(|standing| text.room_code.as_ref() == Some(standing)),
        };
        let room_code = room_code.unwrap_or_else(|| LOBBY.to_owned());
        let Some(room) = self.rooms.get_mut(&room_code) else { return false };
        let mut expected = room.message(client, &text.text, at);
        let is_start = expected.iter().any(|expected| expected.frame["type"] == "PLAY");
        if refused.pings_dropped + refused.pongs_late > 0 {
            expected.retain(|expected| expected.frame["type"] != "time_pong");
        }
        if refused.states_late > 0 {
            // A question about the state has this one answer.
            expected.clear();
        }
        let socket = &mut sockets[client as usize];
        let frames = expected.iter().map(|expected| expected.frame.clone());
        if room_code == LOBBY && socket.core == core {
            socket.hearing.own.extend(frames);
        } else if room_code == LOBBY {
            socket.hearing.aside.entry((core, room_code)).or_default().extend(frames);
        } else {
            self.expect(&room_code, expected, sockets);
        }
        is_start
    }

    /// A join is carried out at the room's home.
    pub(super) fn join(
        &mut self,
        client: Client,
        ticket: u32,
        text: &Text,
        at: Clock,
        sockets: &mut [Socket],
    ) {
        let Some(room_code) = text.room_code.clone() else { return };
        let home = self.home(&room_code);
        let room = self.rooms.entry(room_code.clone()).or_insert_with(|| {
            let mut room = RoomJudge::new(self.authz, home);
            self.gone.iter().for_each(|client| room.matcher.let_go(*client));
            room
        });
        if room.model.room_of(client).is_none() {
            room.tickets.insert(client, ticket);
        }
        let expected = room.message(client, &text.text, at);
        self.expect(&room_code, expected, sockets);
    }

    /// A member is let in again after its room's home has begun anew.
    pub(super) fn come_back(
        &mut self,
        client: Client,
        ticket: u32,
        text: &Text,
        at: Clock,
        sockets: &mut [Socket],
    ) {
        let Some(room_code) = text.room_code.clone() else { return };
        let Some(room) = self.rooms.get_mut(&room_code) else { return };
        room.tickets.insert(client, ticket);
        room.know(client);
        let expected = room.model.come_back(client, &text.text, at);
        self.expect(&room_code, expected, sockets);
    }

    /// What would be kept of the rooms with their home on this core, in order of their codes.
    pub(super) fn kept(&self, core: u16) -> Vec<KeptRoom> {
        let rooms = self.rooms.values().filter(|room| room.home == core);
        rooms.flat_map(|room| room.model.kept()).collect()
    }

    /// A core's shard has failed: its rooms are what was kept, and their members elsewhere hear no more of them for now.
    pub(super) fn begin_anew(&mut self, core: u16, kept: &[KeptRoom], at: Clock, sockets: &mut [Socket]) {
        sockets.iter_mut().for_each(|socket| socket.hearing.cut_aside(core));
        let gone = sockets.iter().filter(|socket| socket.core == core && socket.place == Place::Released);
        let gone: Vec<Client> = gone.map(|socket| socket.client).collect();
        for (room_code, room) in &mut self.rooms {
            // Slots are used anew, and so are the names that are made of them.
            gone.iter().for_each(|client| room.matcher.let_go(*client));
            if room.home != core {
                continue;
            }
            for client in room.model.members(room_code) {
                let socket = &mut sockets[client as usize];
                let ticket = room.tickets.get(&client).filter(|_| !socket.is_lost);
                if let Some(segment) = ticket.and_then(|ticket| socket.hearing.segment(*ticket)) {
                    segment.end_with_home();
                }
            }
            room.tickets.clear();
            room.known.clear();
            room.played_us = None;
            let kept: Vec<KeptRoom> = kept.iter().filter(|kept| kept.code == *room_code).cloned().collect();
            room.model.restore(&kept, at);
        }
        self.gone.extend(gone);
    }

    /// The next process has another key, and so rooms have other homes.
    pub(super) fn move_homes(&mut self, key: Seed) {
        self.key = key;
        let cores = self.cores;
        let rooms = self.rooms.iter_mut().filter(|(room_code, _)| *room_code != LOBBY);
        rooms.for_each(|(room_code, room)| room.home = placement::home(key, room_code, cores).0);
    }

    /// A member is no more, at its room's home. If it `is_silent`, nobody is told.
    pub(super) fn leave(
        &mut self,
        room_code: &str,
        client: Client,
        at: Clock,
        sockets: &mut [Socket],
        is_silent: bool,
    ) {
        let Some(room) = self.rooms.get_mut(room_code) else { return };
        let expected = room.leave(client, at);
        if !is_silent {
            self.expect(room_code, expected, sockets);
        }
    }

    /// Several members went in one go, in an order that cannot be seen.
    pub(super) fn leave_together(
        &mut self,
        room_code: &str,
        gone: &[Client],
        at: Clock,
        sockets: &mut [Socket],
    ) {
        let Some(room) = self.rooms.get_mut(room_code) else { return };
        let members = room.model.members(room_code).len();
        let about = |client: &Client| {
            room.model.clone().leave(*client, at).into_iter().next().map(|expected| expected.frame)
        };
        let frames: Vec<Value> = gone.iter().filter_map(about).collect();
        let count = frames.len();
        let departures = Departures { frames, order: vec![None; count], members };
        let departures = Rc::new(RefCell::new(departures));
        gone.iter().for_each(|client| drop(room.leave(*client, at)));
        let stays = room.model.members(room_code);
        // Who goes may hear of those who went before.
        for client in stays.iter().chain(gone) {
            let heard = if stays.contains(client) { count } else { count.saturating_sub(1) };
            let Some(ticket) = room.tickets.get(client) else { continue };
            if let Some(segment) = sockets[*client as usize].hearing.segment(*ticket) {
                (0..heard).for_each(|number| segment.push(Item::Departure(Rc::clone(&departures), number)));
            }
        }
    }

    /// Time has come to `at` on this core. What follows from it, each frame once.
    pub(super) fn advance(&mut self, core: u16, at: Clock, sockets: &mut [Socket]) -> Vec<Value> {
        let mut all = Vec::new();
        let codes: Vec<String> =
            self.rooms.iter().filter(|(_, room)| room.home == core).map(|(code, _)| code.clone()).collect();
        for room_code in codes {
            let Some(room) = self.rooms.get_mut(&room_code) else { continue };
            let expected = room.model.advance(at);
            let first = expected.first().map(|expected| expected.to);
            let once = expected.iter().filter(|expected| Some(expected.to) == first);
            all.extend(once.map(|expected| expected.frame.clone()));
            self.expect(&room_code, expected, sockets);
        }
        all
    }

    /// The stay of a member that is no more.
    pub(super) fn ticket(&self, room_code: &str, client: Client) -> Option<u32> {
        self.rooms.get(room_code)?.tickets.get(&client).copied()
    }

    /// Compares a frame with what must come from a room, and learns from it.
    pub(super) fn compare(
        &mut self,
        room_code: &str,
        item: &Item,
        text: &str,
        is_sure: bool,
    ) -> Result<(), String> {
        let room =
            self.rooms.get_mut(room_code).ok_or_else(|| format!("no room {room_code} was ever joined"))?;
        item.compare(&mut room.matcher, text, is_sure)?;
        for (hole, name) in room.matcher.take_bound_checks() {
            room.model.bind_check(&hole, &name);
        }
        Ok(())
    }

    /// The room that a client is a member of, of those with their home on this core.
    fn standing(&self, core: u16, client: Client) -> Option<String> {
        let mut rooms = self.rooms.iter().filter(|(_, room)| room.home == core);
        rooms.find(|(code, room)| room.model.room_of(client) == Some(code)).map(|(code, _)| code.clone())
    }

    fn expect(&mut self, room_code: &str, expected: Vec<Expected>, sockets: &mut [Socket]) {
        const MOVES: [&str; 4] = ["PLAY", "SEEK", "RESUME", "TRACK_CHANGE"];
        let Some(room) = self.rooms.get_mut(room_code) else { return };
        for Expected { to, frame } in expected {
            room.may_jump |= frame["type"].as_str().is_some_and(|kind| MOVES.contains(&kind));
            let hearing = &mut sockets[to as usize].hearing;
            let is_member = room.model.room_of(to).is_some();
            let stay = room.tickets.get(&to).copied().filter(|_| is_member);
            match stay.and_then(|ticket| hearing.segment(ticket)) {
                Some(segment) => segment.push(Item::Frame(frame)),
                None if is_member => {}
                None => {
                    let of = (room.home, room_code.to_owned());
                    hearing.aside.entry(of).or_default().push_back(frame);
                }
            }
        }
    }
}
