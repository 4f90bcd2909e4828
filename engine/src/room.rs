//! One room at its home: what plays, where it is, who is in it, who is ready.
//!
//! It decides and writes frames, each encoded once; who gets them is the shard's. It never sees a
//! connection's socket or bytes. Position: 0 with no start or, while paused, the paused position; else
//! master clock minus the start, so negative during the lead.

use crate::ids::{CoreId, MemberId, RoomId};
use crate::limits::{DEVICE_READY_EACH_MEMBERS_MAX, DEVICE_READY_INTERVAL_MS};
use crate::meter::Bucket;
use crate::readiness::{Readiness, Start};
use crate::seed::Seed;
use crate::snapshot::Record;
use crate::time::{MS, Now, us};
use std::borrow::Cow;
use std::collections::VecDeque;
use wire::answer::Answer;
use wire::json::{Json, Number, Value};
use wire::text::{Ms, Nullable, Timestamp};

/// A snapshot of a playing room speaks of this time ahead.
const SNAPSHOT_LEAD_US: i64 = 700 * MS;
/// A SEEK takes effect after this.
const SEEK_DELAY_MS: u32 = 300;
/// A PAUSE is followed by a PAUSE_STATE after this.
const PAUSE_STATE_DELAY_US: i64 = 300 * MS;
/// A room that was restored, or that outlives its members in a drain, waits so long for someone to join.
pub const VACANT_US: i64 = 120_000 * MS;
const RESUME_DELAY_MS: f64 = 400.0;
/// A client further off than this is told where to go.
const DRIFT_MS_MAX: f64 = 450.0;
/// How far off a client is is kept up to this.
const DRIFT_KEPT_MS_MAX: f64 = 32_000.0;
/// A duration up to this is one in seconds; clients send either.
const DURATION_SECONDS_MAX: f64 = 36_000.0;

/// A room at its home core.
#[derive(Debug)]
pub struct Room {
    /// Its id.
    pub id: RoomId,
    /// Its code.
    pub code: Box<str>,
    /// Its local members' place among the shard's audiences.
    pub audience: usize,
    /// Everyone in it, on whatever core. Order is of no meaning.
    pub members: Vec<Member>,
    /// Members on other cores, by core; only those with any.
    pub remote: Vec<(CoreId, u32)>,
    /// The next time it wants to be woken that the shard knows of.
    pub timer_us: Option<i64>,
    /// What its members have taken of its rate of commands.
    pub commands: Bucket,
    /// Members whose newest sync_check was further off than a client may be.
    pub out_of_sync: u32,
    /// Of which its members' ids are made.
    seed: Seed,
    host: Option<Json>,
    track: Option<Track>,
    started_us: Option<i64>,
    /// Where it was paused; `None` unless paused.
    paused_us: Option<i64>,
    readiness: Option<Readiness>,
    pause_states_us: VecDeque<i64>,
    device_ready_us: Option<i64>,
    /// When it ends if nobody joins; `None` while it has members.
    vacant_until_us: Option<i64>,
    /// A PLAY was written that nobody has asked about yet.
    has_started: bool,
}

/// A member of a room.
#[derive(Debug)]
pub struct Member {
    /// Where to reach it.
    pub id: MemberId,
    /// Its user, as sent.
    pub user_id: Option<Json>,
    device: Device,
}

/// What is known of a member's device, in the bytes that its record has left.
#[derive(Clone, Copy, Debug, Default)]
struct Device {
    /// The topmost bit says that it is ready, the others are its round trip in tenths of a ms, 0 if that is not known.
    rtt_and_ready: u16,
    /// How far ahead of the room it was at its newest sync_check, whole ms and one more away from 0, so that 0 is not
    /// known.
    drift: i16,
}

/// Every member has one, so a room's memory is this for each.
const MEMBER_BYTES_MAX: usize = 32;

const _: () = assert!(size_of::<Member>() <= MEMBER_BYTES_MAX);

impl Device {
    const READY: u16 = 1 << 15;
    const RTT_MAX: u16 = Device::READY - 1;
    const RTT_UNIT_US: u32 = 100;

    fn is_ready(self) -> bool {
        self.rtt_and_ready & Device::READY != 0
    }

    fn set_ready(&mut self, is_ready: bool) {
        self.rtt_and_ready = self.rtt_and_ready & Device::RTT_MAX | u16::from(is_ready) << 15;
    }

    fn rtt_us(self) -> Option<u32> {
        let units = u32::from(self.rtt_and_ready & Device::RTT_MAX);
        (units > 0).then(|| units * Device::RTT_UNIT_US)
    }

    fn set_rtt(&mut self, rtt_us: u32) {
        let units = (rtt_us / Device::RTT_UNIT_US).clamp(1, u32::from(Device::RTT_MAX));
        self.rtt_and_ready = self.rtt_and_ready & Device::READY | units as u16;
    }

    fn drift_ms(self) -> Option<i16> {
        (self.drift != 0).then(|| self.drift - self.drift.signum())
    }

    fn set_drift(&mut self, drift_ms: f64) {
        // What is past the limit stays past it, and what is not does not.
        let is_past = drift_ms.abs() > DRIFT_MS_MAX;
        let whole = if is_past { drift_ms.signum() * drift_ms.abs().ceil() } else { drift_ms.trunc() };
        let whole = whole.clamp(-DRIFT_KEPT_MS_MAX, DRIFT_KEPT_MS_MAX) as i16;
        self.drift = whole + if drift_ms < 0.0 { -1 } else { 1 };
    }
}

#[derive(Debug)]
struct Track {
    audio_url: Box<str>,
    duration: Option<Json>,
}

/// What a readiness answer led to.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadyOutcome {
    /// Others are to hear of it; false in large rooms for most.
    pub tell_others: bool,
    /// It named another handshake than the pending one, so it did not count.
    pub stale: bool,
    /// The device is ready as it was not before: since PREPARE_TRACK, µs.
    pub ready_us: Option<i64>,
}

/// What a room is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomState {
    /// It has no track.
    Empty,
    /// It waits for its devices to be ready.
    Starting,
    /// It plays, or is about to.
    Playing,
    /// It has a track that does not play.
    Paused,
}

impl Member {
    /// Its answer to the pending handshake, or to the last one, has counted.
    pub fn is_ready(&self) -> bool {
        self.device.is_ready()
    }

    /// The newest round trip that TCP measured, µs, if any was.
    pub fn rtt_us(&self) -> Option<u32> {
        self.device.rtt_us()
    }

    /// How far ahead of the room it was at its newest sync_check, whole ms.
    pub fn drift_ms(&self) -> Option<i16> {
        self.device.drift_ms()
    }

    /// That was too far.
    fn is_out_of_sync(&self) -> bool {
        self.drift_ms().is_some_and(|drift_ms| f64::from(drift_ms).abs() > DRIFT_MS_MAX)
    }
}

impl Room {
    /// A room without members.
    pub fn new(id: RoomId, code: Box<str>, audience: usize, seed: Seed) -> Room {
        Room {
            id,
            code,
            audience,
            members: Vec::new(),
            remote: Vec::new(),
            timer_us: None,
            commands: Bucket::default(),
            out_of_sync: 0,
            seed,
            host: None,
            track: None,
            started_us: None,
            paused_us: None,
            readiness: None,
            pause_states_us: VecDeque::new(),
            device_ready_us: None,
            vacant_until_us: None,
            has_started: false,
        }
    }

    /// As it was kept, without members, for [`VACANT_US`].
    pub fn restore(&mut self, record: &Record<'_>, now: Now) {
        let json = |text: &Option<Cow<'_, str>>| text.as_deref().and_then(Json::parse);
        self.host = json(&record.host);
        self.track = Some(Track { audio_url: (*record.audio_url).into(), duration: json(&record.duration) });
        (self.started_us, self.paused_us) = (record.started_us, record.paused_us);
        self.wait_for_members(now);
    }

    /// What is to be kept of it; nothing if it has no track.
    pub fn record(&self) -> Option<Record<'_>> {
        let track = self.track.as_ref()?;
        Some(Record {
            code: Cow::Borrowed(&self.code),
            host: self.host.as_ref().map(|host| host.as_text().into()),
            audio_url: Cow::Borrowed(&track.audio_url),
            duration: track.duration.as_ref().map(|duration| duration.as_text().into()),
            started_us: self.started_us,
            paused_us: self.paused_us,
        })
    }

    /// It has no members and ends unless someone joins soon.
    pub fn wait_for_members(&mut self, now: Now) {
        self.vacant_until_us = Some(now.master_us + VACANT_US);
    }

    /// Nobody has come to it in time.
    pub fn is_over(&self, now: Now) -> bool {
        self.vacant_until_us.is_some_and(|until_us| until_us <= now.master_us)
    }

    /// Adds a member and returns its place.
    pub fn add(&mut self, id: MemberId, user_id: Option<Json>) -> usize {
        if id.core != self.id.home {
            match self.remote.iter_mut().find(|(core, _)| *core == id.core) {
                Some((_, members)) => *members += 1,
                None => self.remote.push((id.core, 1)),
            }
        }
        self.vacant_until_us = None;
        self.members.push(Member { id, user_id, device: Device::default() });
        self.members.len() - 1
    }

    /// Removes the member at `place`; the last member takes its place.
    pub fn remove(&mut self, place: usize) -> Member {
        let member = self.members.swap_remove(place);
        self.out_of_sync -= u32::from(member.is_out_of_sync());
        if member.device.is_ready()
            && let Some(readiness) = &mut self.readiness
        {
            readiness.ready -= 1;
        }
        if let Some(entry) = self.remote.iter().position(|(core, _)| *core == member.id.core) {
            self.remote[entry].1 -= 1;
            if self.remote[entry].1 == 0 {
                self.remote.swap_remove(entry);
            }
        }
        member
    }

    /// Names the host; the newest joiner's word wins.
    pub fn set_host(&mut self, host: Option<Json>) {
        self.host = host;
    }

    /// Names the host if nobody has; what a member says who only comes back is no newer than what was kept.
    pub fn set_host_again(&mut self, host: Option<Json>) {
        if self.host.is_none() {
            self.host = host;
        }
    }

    /// True if the member's user is the host.
    pub fn is_host(&self, place: usize) -> bool {
        self.members[place].user_id == self.host
    }

    /// True while a track is playing, its lead included.
    pub fn is_playing(&self) -> bool {
        self.track.is_some() && self.paused_us.is_none()
    }

    /// The position at `now`, µs.
    pub fn position_us(&self, now: Now) -> i64 {
        match (self.paused_us, self.started_us) {
            (Some(paused_us), _) => paused_us,
            (None, Some(started_us)) => now.master_us - started_us,
            (None, None) => 0,
        }
    }

    /// When the room wants to be woken next, µs of the master clock.
    pub fn next_deadline_us(&self) -> Option<i64> {
        let check_us = self.readiness.as_ref().map(Readiness::next_check_us);
        check_us.into_iter().chain(self.pause_states_us.front().copied()).chain(self.vacant_until_us).min()
    }

    /// What it waits for: a handshake's next check, and each PAUSE_STATE.
    pub fn timers(&self) -> usize {
        usize::from(self.readiness.is_some()) + self.pause_states_us.len()
    }

    /// Writes `joined` and the snapshot for the member at `place`.
    pub fn write_joined(&self, place: usize, now: Now, out: &mut Vec<u8>) {
        let joined = Answer::Joined {
            room_code: &self.code,
            ws_id: self.seed.ws_id(self.members[place].id),
            host_user_id: self.host.as_ref(),
            is_host: self.is_host(place),
            timestamp: Timestamp(now.unix_us),
        };
        joined.push_frame(out);
        self.write_snapshot(now, out);
    }

    /// Writes `user_joined` about the member at `place`, for the others.
    pub fn write_user_joined(&self, place: usize, now: Now, out: &mut Vec<u8>) {
        let member = &self.members[place];
        let user_joined = Answer::UserJoined {
            user_id: member.user_id.as_ref(),
            ws_id: self.seed.ws_id(member.id),
            total_clients: self.members.len(),
            timestamp: Timestamp(now.unix_us),
        };
        user_joined.push_frame(out);
    }

    /// Writes `user_left` about a member that was removed.
    pub fn write_user_left(&self, member: &Member, out: &mut Vec<u8>) {
        let user_left = Answer::UserLeft {
            user_id: member.user_id.as_ref(),
            ws_id: self.seed.ws_id(member.id),
            total_clients: self.members.len(),
        };
        user_left.push_frame(out);
    }

    /// Writes what a newcomer needs to be where the others are.
    pub fn write_snapshot(&self, now: Now, out: &mut Vec<u8>) {
        let timestamp = Timestamp(now.unix_us);
        let snapshot = match &self.track {
            None => Answer::PlaybackState { server_now: timestamp, timestamp },
            Some(track) if self.is_playing() => Answer::PlaySync {
                audio_url: &track.audio_url,
                duration: track.duration.as_ref(),
                playback_position: Ms(self.position_us(now) + SNAPSHOT_LEAD_US),
                master_clock_ms: Ms(now.master_us + SNAPSHOT_LEAD_US),
                master_clock_latency_ms: Number(0.0),
                is_playing: Some(true),
                timestamp: Some(timestamp),
            },
            Some(_) => self.pause_state(now, Some(Nullable(self.started_us.map(Ms)))),
        };
        snapshot.push_frame(out);
    }

    /// PLAY: asks all members to make the track ready. False, and nothing written, for a duplicate.
    pub fn prepare(&mut self, readiness: Readiness, now: Now, out: &mut Vec<u8>) -> bool {
        let playing = self.is_playing().then_some(&self.track).and_then(Option::as_ref);
        if playing.is_some_and(|track| track.audio_url == readiness.audio_url) {
            return false;
        }
        let pending = self.readiness.as_ref();
        if pending.is_some_and(|pending| pending.is_duplicate(&readiness.audio_url, now.master_us)) {
            return false;
        }
        self.members.iter_mut().for_each(|member| member.device.set_ready(false));
        let check_id = readiness.check_id;
        let timestamp = Timestamp(now.unix_us);
        let prepare = Answer::PrepareTrack {
            audio_url: &readiness.audio_url,
            duration: readiness.duration.as_ref(),
            check_id,
            timestamp,
        };
        prepare.push_frame(out);
        Answer::DeviceHealthCheck { check_id, timestamp }.push_frame(out);
        self.readiness = Some(readiness);
        true
    }

    /// A member's device is ready. Writes PLAY for all if that completes the room.
    pub fn ready(
        &mut self,
        place: usize,
        check_id: Option<&str>,
        rtt_ms: Option<f64>,
        now: Now,
        out: &mut Vec<u8>,
    ) -> ReadyOutcome {
        let mut stale = false;
        let mut ready_us = None;
        if let Some(readiness) = &mut self.readiness {
            stale = check_id != Some(readiness.check_id.write(&mut [0; 13]));
            let device = &mut self.members[place].device;
            if !stale && !device.is_ready() {
                device.set_ready(true);
                readiness.ready += 1;
                ready_us = Some(readiness.age_us(now.master_us));
            }
            if !stale && let Some(start) = readiness.completed(self.members.len(), rtt_ms) {
                self.start(start, now, out);
            }
        }
        ReadyOutcome { tell_others: self.may_tell_of_ready(now), stale, ready_us }
    }

    /// In large rooms each member hears of one device in [`DEVICE_READY_INTERVAL_MS`]: all of them would
    /// be the square of the room.
    fn may_tell_of_ready(&mut self, now: Now) -> bool {
        let soon = |last_us: i64| now.master_us - last_us < DEVICE_READY_INTERVAL_MS * MS;
        let large = self.members.len() > DEVICE_READY_EACH_MEMBERS_MAX;
        if large && self.device_ready_us.is_some_and(soon) {
            return false;
        }
        self.device_ready_us = Some(now.master_us);
        true
    }

    /// Writes `device_ready` about the member at `place`, for the others.
    pub fn write_device_ready(&self, place: usize, now: Now, out: &mut Vec<u8>) {
        let ws_id = self.seed.ws_id(self.members[place].id);
        Answer::DeviceReady { ws_id, timestamp: Timestamp(now.unix_us) }.push_frame(out);
    }

    /// Writes a catch-up for a device that became ready; nothing while a handshake is pending or nothing
    /// plays.
    pub fn write_catch_up(&self, now: Now, out: &mut Vec<u8>) {
        let Some(track) = self.track.as_ref().filter(|_| self.readiness.is_none() && self.is_playing())
        else {
            return;
        };
        let catch_up = Answer::PlaySync {
            audio_url: &track.audio_url,
            duration: track.duration.as_ref(),
            playback_position: Ms(self.position_us(now)),
            master_clock_ms: Ms(now.master_us),
            master_clock_latency_ms: Number(0.0),
            is_playing: None,
            timestamp: None,
        };
        catch_up.push_frame(out);
    }

    /// PAUSE: stops, and cancels a pending handshake. False if as many PAUSE_STATEs are due already, so that it has none.
    pub fn pause(&mut self, pause_states_max: usize, now: Now, out: &mut Vec<u8>) -> bool {
        let position_us = self.position_us(now);
        self.forget_out_of_sync();
        self.readiness = None;
        self.paused_us = Some(position_us);
        let has_state = self.pause_states_us.len() < pause_states_max;
        if has_state {
            self.pause_states_us.push_back(now.master_us + PAUSE_STATE_DELAY_US);
        }
        let pause = Answer::Pause {
            paused_at_ms: Ms(position_us),
            master_clock_ms: Ms(now.master_us),
            timestamp: Timestamp(now.unix_us),
        };
        pause.push_frame(out);
        has_state
    }

    /// RESUME: goes on after the delay from where it is, paused or not.
    pub fn resume(&mut self, delay_ms: Option<f64>, now: Now, out: &mut Vec<u8>) {
        // A delay of 0 means none named, as on the old server.
        let delay_ms = delay_ms.filter(|delay_ms| *delay_ms > 0.0).unwrap_or(RESUME_DELAY_MS);
        let position_us = self.position_us(now);
        self.forget_out_of_sync();
        let resume_us = now.master_us + us(delay_ms);
        self.pause_states_us.clear();
        self.paused_us = None;
        self.started_us = Some(resume_us - position_us);
        let resume = Answer::Resume {
            master_clock_ms: Ms(resume_us),
            resume_delay_ms: Number(delay_ms),
            playback_position_ms: Ms(position_us),
            timestamp: Timestamp(now.unix_us),
        };
        resume.push_frame(out);
    }

    /// SEEK: moves the position, of a paused room at once, of a playing one after its delay.
    pub fn seek(&mut self, position_ms: f64, now: Now, out: &mut Vec<u8>) {
        let seek_us = now.master_us + i64::from(SEEK_DELAY_MS) * MS;
        self.forget_out_of_sync();
        self.pause_states_us.clear();
        match &mut self.paused_us {
            Some(paused_us) => *paused_us = us(position_ms),
            None => self.started_us = Some(seek_us - us(position_ms)),
        }
        let seek = Answer::Seek {
            seek_position_ms: Number(position_ms),
            master_clock_ms: Ms(seek_us),
            seek_delay_ms: SEEK_DELAY_MS,
            timestamp: Timestamp(now.unix_us),
        };
        seek.push_frame(out);
    }

    /// TRACK_CHANGE: passes the track on as sent; one with an address is parked, paused at 0.
    pub fn change_track(&mut self, track: Value<'_, '_>, now: Now, out: &mut Vec<u8>) {
        self.readiness = None;
        self.pause_states_us.clear();
        let audio_url = track.field("audioUrl").and_then(|url| url.as_str()).filter(|url| !url.is_empty());
        if let Some(audio_url) = audio_url {
            // Whatever is no number, and 0, was null to the old server.
            let duration =
                track.field("duration").filter(|duration| duration.as_f64().is_some_and(|it| it != 0.0));
            let duration = duration.map_or_else(Json::null, |duration| duration.to_json());
            self.track = Some(Track { audio_url: audio_url.into(), duration: Some(duration) });
            self.forget_out_of_sync();
            self.started_us = None;
            self.paused_us = Some(0);
        }
        Answer::TrackChange { track_data: track, timestamp: Timestamp(now.unix_us) }.push_frame(out);
    }

    /// A client says where it is. Writes RESYNC if that is too far off, and notes it of the member at `place`, if it is
    /// one's. How far ahead of the room it is, µs.
    pub fn check_sync(
        &mut self,
        place: Option<usize>,
        client_position_ms: f64,
        now: Now,
        out: &mut Vec<u8>,
    ) -> i64 {
        let position_us = self.position_us(now);
        let drift_ms = client_position_ms - position_us as f64 / 1000.0;
        if let Some(member) = place.map(|place| &mut self.members[place]) {
            self.out_of_sync -= u32::from(member.is_out_of_sync());
            member.device.set_drift(drift_ms);
            self.out_of_sync += u32::from(member.is_out_of_sync());
        }
        if drift_ms.abs() > DRIFT_MS_MAX {
            let resync = Answer::Resync {
                correct_position_ms: Ms(position_us),
                master_clock_ms: Ms(now.master_us),
                timestamp: Timestamp(now.unix_us),
            };
            resync.push_frame(out);
        }
        us(drift_ms)
    }

    /// The room's time has moved: what clients said of the time before counts no more.
    fn forget_out_of_sync(&mut self) {
        if self.out_of_sync > 0 {
            self.out_of_sync = 0;
            let off = self.members.iter_mut().filter(|member| member.is_out_of_sync());
            off.for_each(|member| member.device.drift = 0);
        }
    }

    /// TCP has measured the round trip of the member at `place`.
    pub fn set_rtt(&mut self, place: usize, rtt_us: u32) {
        self.members[place].device.set_rtt(rtt_us);
    }

    /// If a PLAY was written since this was last asked: how far apart it reaches the members whose round trips are known,
    /// sent to all of them at once. Half the difference between the longest and the shortest, µs. Linear in the members.
    pub fn take_started(&mut self) -> Option<i64> {
        if !std::mem::take(&mut self.has_started) {
            return None;
        }
        let rtts = self.members.iter().filter_map(|member| member.device.rtt_us());
        let (least, most) = rtts.fold((u32::MAX, 0), |(least, most), rtt| (least.min(rtt), most.max(rtt)));
        Some(i64::from(most.saturating_sub(least)) / 2)
    }

    /// What it is doing.
    pub fn state(&self) -> RoomState {
        match (&self.readiness, &self.track) {
            (Some(_), _) => RoomState::Starting,
            (None, None) => RoomState::Empty,
            (None, Some(_)) if self.paused_us.is_some() => RoomState::Paused,
            (None, Some(_)) => RoomState::Playing,
        }
    }

    /// The address of its track.
    pub fn audio_url(&self) -> Option<&str> {
        self.track.as_ref().map(|track| &*track.audio_url)
    }

    /// How long its track is, ms, if that was said in a number.
    pub fn duration_ms(&self) -> Option<f64> {
        let number: f64 = self.track.as_ref()?.duration.as_ref()?.as_text().parse().ok()?;
        let ms = if number <= DURATION_SECONDS_MAX { number * 1000.0 } else { number };
        (ms > 0.0).then_some(ms)
    }

    /// Its host, as sent.
    pub fn host(&self) -> Option<&Json> {
        self.host.as_ref()
    }

    /// The pending handshake.
    pub fn readiness(&self) -> Option<&Readiness> {
        self.readiness.as_ref()
    }

    /// What is due by now, for all members.
    pub fn handle_deadline(&mut self, now: Now, out: &mut Vec<u8>) {
        while self.pause_states_us.front().is_some_and(|due_us| *due_us <= now.master_us) {
            self.pause_states_us.pop_front();
            self.pause_state(now, None).push_frame(out);
        }
        let members = self.members.len();
        let start = self.readiness.as_mut().and_then(|readiness| readiness.check(members, now.master_us));
        if let Some(start) = start {
            self.start(start, now, out);
        }
    }

    /// Ends the handshake: the room plays after the start's delay.
    fn start(&mut self, start: Start, now: Now, out: &mut Vec<u8>) {
        let Some(readiness) = self.readiness.take() else { return };
        let track = Track { audio_url: readiness.audio_url, duration: readiness.duration };
        let started_us = now.master_us + start.delay_us();
        self.forget_out_of_sync();
        self.has_started = true;
        self.pause_states_us.clear();
        self.paused_us = None;
        self.started_us = Some(started_us);
        let play = Answer::Play {
            audio_url: &track.audio_url,
            duration: track.duration.as_ref(),
            master_clock_ms: Ms(started_us),
            master_clock_latency_ms: Number(start.latency_ms),
            start_delay_ms: Number(start.delay_ms),
            timestamp: Timestamp(now.unix_us),
        };
        play.push_frame(out);
        self.track = Some(track);
    }

    fn pause_state(&self, now: Now, started_at_server: Option<Nullable<Ms>>) -> Answer<'_> {
        let track = self.track.as_ref();
        let duration = match track {
            Some(track) => track.duration.as_ref().map(|duration| Nullable(Some(duration))),
            None => Some(Nullable(None)),
        };
        Answer::PauseState {
            audio_url: Nullable(track.map(|track| &*track.audio_url)),
            duration,
            paused_position_ms: Ms(self.position_us(now)),
            is_playing: false,
            master_clock_ms: Ms(now.master_us),
            started_at_server,
            timestamp: Timestamp(now.unix_us),
        }
    }
}
