//! Shards that fail and begin anew: what goes with one, what outlives it, and what its peers' clients must hear of it.
//!
//! A shard fails somewhere in a turn. Its sockets are reset, and what it had not posted is gone. Its next life has what
//! was posted to it, and the rooms that it handed over last: their models are made anew of what was kept, exactly. What
//! a peer sends before it has answered the new life is not heard. A peer's clients in a room of its hear what the failed
//! shard had posted, all of it and no more. Once their core knows, they are in the room again by a join of their core's,
//! of which nobody hears but they, and they only where the room is. Not so exact is what strangers had asked, where they
//! may: its answer comes or does not.

use super::said::{Kind, Text};
use super::socket::{End, Place};
use super::{Completion, Core, Event, Kept, Setup, Socket, World, note};
use crate::model::{Authz, Client};
use engine::{App, CoreId, Envelope, Settings, Shard};

/// Whose connections a core's are, as another knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Life {
    pub(super) core: u16,
    pub(super) number: u32,
}

/// Where in its turn a shard fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Doom {
    /// Before this stage.
    Stage(usize),
    /// After so many envelopes, with the others of their batch in its hands.
    Envelopes(usize),
}

/// A new life begins within this.
const RESPAWN_US_MAX: i64 = 200_000;
/// A shard handles hardly more than this in a turn.
const DOOM_ENVELOPES_MAX: usize = 8;

impl World<'_> {
    /// Some shard is to fail; now and then the next one soon after.
    pub(super) fn doom(&mut self, core: u16) {
        let Some(lives) = self.setup.lives.clone().filter(|_| self.is_chaos) else { return };
        let doom = if self.fate.one_in(3) {
            Doom::Envelopes(self.fate.below(DOOM_ENVELOPES_MAX))
        } else {
            Doom::Stage(self.fate.below(super::turn::STAGES))
        };
        note!(self, "core {core} is to fail: {doom:?}");
        self.cores[usize::from(core)].doom = Some(doom);
        self.turn_soon(core);
        let next = self.fate.below(self.cores.len()) as u16;
        let wait_us = if self.fate.one_in(3) {
            self.fate.within(0..=2 * RESPAWN_US_MAX)
        } else {
            self.fate.within(lives.fail_every_us / 2..=lives.fail_every_us * 2)
        };
        self.schedule(self.now.master_us + wait_us, Event::Fail(next));
    }

    /// True if the shard fails before this stage of its turn.
    pub(super) fn fails_before(&self, core: u16, stage: usize) -> bool {
        let doom = self.cores[usize::from(core)].doom.filter(|_| self.is_chaos);
        matches!(doom, Some(Doom::Stage(doomed)) if doomed == stage)
    }

    /// True if the shard fails after the envelope that it has just handled.
    pub(super) fn fails_after_envelope(&mut self, core: u16) -> bool {
        match &mut self.cores[usize::from(core)].doom {
            Some(Doom::Envelopes(0)) => self.is_chaos,
            Some(Doom::Envelopes(left)) => {
                *left -= 1;
                false
            }
            _ => false,
        }
    }

    /// A shard fails and begins anew.
    pub(super) fn fail(&mut self, core: u16) -> Kept {
        note!(self, "core {core} fails");
        self.check_kept()?;
        self.tally.respawns += 1;
        self.count_shard(core);
        self.lose_sockets(core);
        let rooms = self.cores[usize::from(core)].keeping.handed.rooms.clone();
        self.tally.rooms_restored += rooms.len() as u64;
        self.judge.begin_anew(core, &rooms, self.clock(), &mut self.sockets);
        let shard = new_shard(&self.setup, core);
        let now = self.now;
        let here = &mut self.cores[usize::from(core)];
        here.next_life(shard);
        here.shard.begin_life(here.life, now);
        here.shard.restore(here.keeping.handed.slice.records(), now);
        here.begins_us = now.master_us + self.fate.within(0..=RESPAWN_US_MAX);
        let begins_us = here.begins_us;
        self.turn_at(core, begins_us);
        self.after(core)
    }

    /// A core's sockets are reset, and those that it was about to hand to others.
    pub(super) fn lose_sockets(&mut self, core: u16) {
        let is_lost = |socket: &&Socket| socket.core == core && socket.connection.is_some();
        let mut lost: Vec<Client> = self.sockets.iter().filter(is_lost).map(|socket| socket.client).collect();
        for to in (0..self.setup.cores).filter(|to| *to != core) {
            lost.extend(self.channel(core, to).forget_waiting());
        }
        self.tally.sockets_lost += lost.len() as u64;
        lost.into_iter().for_each(|client| self.lose_socket(client));
    }

    pub(super) fn lose_socket(&mut self, client: Client) {
        let socket = self.socket(client);
        (socket.place, socket.connection, socket.in_flight) = (Place::Released, None, None);
        (socket.is_unheard, socket.is_lost) = (true, true);
        socket.hearing.cut();
        self.end_down(client, End::Reset);
    }

    /// The shard hears this: it was sent after the sender knew of this life, or says that it has one itself.
    pub(super) fn hears(&mut self, from: u16, core: u16, envelope: &Envelope) -> bool {
        let here = &mut self.cores[usize::from(core)];
        let is_unheard = &mut here.unheard[usize::from(from)];
        *is_unheard &= !matches!(envelope, Envelope::Welcome { life } if *life == here.life);
        !*is_unheard || matches!(envelope, Envelope::Respawned { .. })
    }

    /// A core has heard that `peer` has begun anew: what waited for it is gone, and whoever is in a room there, or asked
    /// to be, asks anew.
    pub(super) fn ask_anew(&mut self, core: u16, peer: u16, life: u32) {
        if self.cores[usize::from(core)].welcomed[usize::from(peer)].replace(life) == Some(life) {
            return;
        }
        for socket in &mut self.sockets {
            if socket.core != core || socket.place != Place::Open || socket.connection.is_none() {
                continue;
            }
            let hearing = &mut socket.hearing;
            hearing.travelling.remove(&peer);
            let Some(join) = hearing.join.clone().filter(|join| join.room_code == hearing.room_code) else {
                continue;
            };
            let Some(room_code) = hearing.room_code.clone().filter(|code| self.judge.home(code) == peer)
            else {
                continue;
            };
            let is_return = hearing.is_return || hearing.room.is_some();
            if let Some(segment) = hearing.segments.back_mut() {
                segment.is_over = true;
                // The word was for the life before this core's own, and the peer's has let it in by now: what comes of
                // that is for the join before, and is not heard.
                segment.is_cut |= segment.let_in.is_some_and(|let_in| let_in >= life);
            }
            hearing.begin(&room_code);
            hearing.is_return = is_return;
            self.tally.joins_anew += 1;
            let kind = if is_return { Kind::Return } else { Kind::Join };
            hearing.travelling.entry(peer).or_default().push_back(Text { kind, ..join });
        }
    }

    /// The life of a core.
    pub(super) fn life(&self, core: u16) -> Life {
        Life { core, number: self.cores[usize::from(core)].life }
    }

    /// The newest life of a core that another has heard of.
    pub(super) fn life_known(&self, core: u16, of: CoreId) -> Life {
        let here = &self.cores[usize::from(core)];
        let number = if of.0 == core { here.life } else { here.lives_known[usize::from(of.0)] };
        Life { core: of.0, number }
    }
}

impl Core {
    /// What outlives a shard stays: what was accepted and not seen, and what was handed over.
    pub(super) fn next_life(&mut self, shard: Shard) {
        self.shard = shard;
        self.life += 1;
        self.unheard.fill(true);
        self.welcomed.fill(None);
        self.slots.clear();
        self.completions.retain(|completion| matches!(completion, Completion::Accept(_)));
        self.states_due.clear();
        self.doom = None;
        self.keeping.next_life();
    }
}

/// A shard of this world that has just begun.
pub(super) fn new_shard(setup: &Setup, core: u16) -> Shard {
    Shard::new(Settings {
        core: CoreId(core),
        cores: setup.cores,
        app: App::Rooms,
        authz: match setup.authz {
            Authz::Member => engine::Authz::Member,
            Authz::Host => engine::Authz::Host,
            Authz::Off => engine::Authz::Off,
        },
        limits: setup.limits.clone(),
        seed: setup.key,
        page: None,
    })
}
