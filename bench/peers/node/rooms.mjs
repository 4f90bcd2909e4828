// The room protocol, once for all JavaScript peers, so that what differs between them is the WebSocket
// library alone. A peer brings `net`:
//   send(conn, text)                 to one connection
//   publish(room, text)              to all members
//   publishOthers(session, room, text)  to all members but the session's
//   enter(session, room), leave(session, room)   membership in the peer's own terms (topics), may do nothing
// A session is what createRooms().open(conn) returns; the peer hands it back with every message.

const LEAD_MS = 700;
const SEEK_DELAY_MS = 300;
const PAUSE_STATE_DELAY_MS = 300;
const DRIFT_MS = 450;
const DELAY_MS_MAX = 10_000;
const POSITION_MS_MAX = 86_400_000;
const ROOM_CODE_BYTES_MAX = 256;

const FIRST_CHECK_MS = 1200;
const CHECK_INTERVAL_MS = 500;
const SOFT_TIMEOUT_MS = 5500;
const HARD_TIMEOUT_MS = 9000;
const DUPLICATE_MS = 1500;

// Above this a device_ready for each member would be the square of the room.
const READY_EACH_MEMBERS_MAX = 64;
const READY_INTERVAL_MS = 250;

// Monotonic, and not Unix time: the contract wants the two told apart.
const MASTER_BASE = performance.timeOrigin - Date.UTC(2025, 0, 1);
const master = () => MASTER_BASE + performance.now();
const unix = () => performance.timeOrigin + performance.now();

let ids = 36 ** 6;
const newId = () => (ids++).toString(36);

const isNumber = (value) => typeof value === 'number';
const clamp = (value, max) => (value < 0 ? 0 : value > max ? max : value);

/** undefined for none, NaN for a value of the wrong type. */
function delay(value) {
  if (value === undefined || value === null) return undefined;
  return isNumber(value) ? clamp(value, DELAY_MS_MAX) : NaN;
}

const isRoomCode = (code) =>
  typeof code === 'string' && code.length > 0 && (code.length <= ROOM_CODE_BYTES_MAX / 3 || Buffer.byteLength(code) <= ROOM_CODE_BYTES_MAX);

/** The age of a handshake's next look at who is ready, after the one at `age`. */
function nextCheck(age) {
  const after = (first) => (age < first ? first : first + (Math.floor((age - first) / CHECK_INTERVAL_MS) + 1) * CHECK_INTERVAL_MS);
  return Math.min(after(FIRST_CHECK_MS), after(SOFT_TIMEOUT_MS), HARD_TIMEOUT_MS);
}

export function createRooms(net) {
  const rooms = new Map();

  const isPlaying = (room) => room.audioUrl !== null && room.paused === null;
  const position = (room, now) => (room.paused !== null ? room.paused : room.started !== null ? now - room.started : 0);

  function snapshot(room) {
    const timestamp = Date.now();
    const now = master();
    const { audioUrl, duration } = room;
    if (audioUrl === null) {
      return JSON.stringify({ type: 'playback_state', currentTrack: null, isPlaying: false, playbackPosition: 0, duration: null, serverNow: timestamp, timestamp });
    }
    if (room.paused === null) {
      return JSON.stringify({ type: 'PLAY_SYNC', audioUrl, duration, playbackPosition: position(room, now) + LEAD_MS, masterClockMs: now + LEAD_MS, masterClockLatencyMs: 0, isPlaying: true, timestamp });
    }
    return JSON.stringify({ type: 'PAUSE_STATE', audioUrl, duration, pausedPositionMs: room.paused, isPlaying: false, masterClockMs: now, startedAtServer: room.started, timestamp });
  }

  function cancelHandshake(room) {
    if (room.handshake === null) return;
    clearTimeout(room.handshake.timer);
    room.handshake = null;
  }

  function cancelPauseState(room) {
    clearTimeout(room.pauseTimer);
    room.pauseTimer = null;
  }

  function leave(session, isClosed) {
    const room = session.room;
    if (room === null) return;
    session.room = null;
    room.members.delete(session);
    if (!isClosed) net.leave(session, room);
    if (room.members.size === 0) {
      cancelHandshake(room);
      cancelPauseState(room);
      rooms.delete(room.code);
      return;
    }
    if (session.ready && room.handshake !== null) room.handshake.ready -= 1;
    net.publish(room, JSON.stringify({ type: 'user_left', userId: session.userId, wsId: session.wsId, totalClients: room.members.size }));
  }

  function join(session, { roomCode, userId, hostId }) {
    if (!isRoomCode(roomCode)) return;
    const isBack = session.room !== null && session.room.code === roomCode;
    if (!isBack) leave(session, false);
    let room = rooms.get(roomCode);
    if (room === undefined) {
      room = { code: roomCode, members: new Set(), host: undefined, audioUrl: null, duration: null, started: null, paused: null, handshake: null, pauseTimer: null, toldReady: -Infinity };
      rooms.set(roomCode, room);
    }
    room.host = hostId;
    session.userId = userId;
    const timestamp = Date.now();
    if (!isBack) {
      session.room = room;
      session.ready = false;
      room.members.add(session);
      net.enter(session, room);
      if (room.members.size > 1) {
        net.publishOthers(session, room, JSON.stringify({ type: 'user_joined', userId, wsId: session.wsId, totalClients: room.members.size, timestamp }));
      }
    }
    net.send(session.conn, JSON.stringify({ type: 'joined', roomCode, wsId: session.wsId, hostUserId: hostId, isHost: userId === hostId, timestamp }));
    net.send(session.conn, snapshot(room));
  }

  function timePing(session, { id, t0, roomCode }) {
    const room = session.room !== null && session.room.code === roomCode ? session.room : null;
    const now = master();
    const serverTimeUnix = unix();
    net.send(session.conn, JSON.stringify({
      type: 'time_pong',
      id,
      t0,
      serverTimeUnix,
      serverTimeMonotonic: now,
      timeOffset: isNumber(t0) ? serverTimeUnix - (t0 + serverTimeUnix) / 2 : null,
      playbackPosition: room === null ? 0 : position(room, now),
      isPlaying: room !== null && isPlaying(room),
      masterClock: now,
    }));
  }

  function start(room, startDelayMs, masterClockLatencyMs) {
    const { audioUrl, duration } = room.handshake;
    cancelHandshake(room);
    cancelPauseState(room);
    room.audioUrl = audioUrl;
    room.duration = duration;
    room.paused = null;
    room.started = master() + startDelayMs;
    net.publish(room, JSON.stringify({ type: 'PLAY', audioUrl, duration, masterClockMs: room.started, masterClockLatencyMs, startDelayMs, timestamp: Date.now() }));
  }

  function check(room, handshake, age) {
    const members = room.members.size;
    const { ready, base, rtt } = handshake;
    if (members <= 2 ? ready === members : ready / members >= 0.66) start(room, base + 600, rtt / 2);
    else if (age >= HARD_TIMEOUT_MS || (age >= SOFT_TIMEOUT_MS && ready > 0)) start(room, base + 1400, rtt / 2);
    else scheduleCheck(room, handshake, age);
  }

  function scheduleCheck(room, handshake, age) {
    const next = nextCheck(age);
    handshake.timer = setTimeout(check, handshake.since + next - master(), room, handshake, next);
  }

  function play(room, { audioUrl, duration, startDelayMs, rttMs }) {
    if (typeof audioUrl !== 'string' || audioUrl === '') return;
    if (duration !== undefined && duration !== null && !isNumber(duration)) return;
    const base = delay(startDelayMs) ?? 800;
    const rtt = delay(rttMs) ?? 0;
    if (Number.isNaN(base) || Number.isNaN(rtt)) return;
    if (isPlaying(room) && room.audioUrl === audioUrl) return;
    const since = master();
    const pending = room.handshake;
    if (pending !== null && pending.audioUrl === audioUrl && since - pending.since < DUPLICATE_MS) return;
    cancelHandshake(room);
    for (const member of room.members) member.ready = false;
    const checkId = newId();
    const handshake = { checkId, audioUrl, duration, base, rtt, since, ready: 0, timer: null };
    room.handshake = handshake;
    scheduleCheck(room, handshake, 0);
    const timestamp = Date.now();
    net.publish(room, JSON.stringify({ type: 'PREPARE_TRACK', audioUrl, duration, checkId, timestamp }));
    net.publish(room, JSON.stringify({ type: 'device_health_check', checkId, timestamp }));
  }

  function mayTellOfReady(room) {
    const now = master();
    if (room.members.size > READY_EACH_MEMBERS_MAX && now - room.toldReady < READY_INTERVAL_MS) return false;
    room.toldReady = now;
    return true;
  }

  function deviceReady(session, room, { checkId, audioLoaded, deviceReady, rttMs }) {
    if (audioLoaded !== true || deviceReady !== true) return;
    const rtt = delay(rttMs) ?? 0;
    if (Number.isNaN(rtt)) return;
    const handshake = room.handshake;
    if (handshake !== null && handshake.checkId === checkId) {
      if (!session.ready) {
        session.ready = true;
        handshake.ready += 1;
      }
      if (handshake.ready === room.members.size) start(room, (handshake.base || 800) + 800, rtt / 2);
    }
    if (room.members.size > 1 && mayTellOfReady(room)) {
      net.publishOthers(session, room, JSON.stringify({ type: 'device_ready', wsId: session.wsId, timestamp: Date.now() }));
    }
    if (room.handshake === null && isPlaying(room)) {
      const now = master();
      net.send(session.conn, JSON.stringify({ type: 'PLAY_SYNC', audioUrl: room.audioUrl, duration: room.duration, playbackPosition: position(room, now), masterClockMs: now, masterClockLatencyMs: 0 }));
    }
  }

  function sendPauseState(room) {
    room.pauseTimer = null;
    const { audioUrl, duration } = room;
    net.publish(room, JSON.stringify({ type: 'PAUSE_STATE', audioUrl, duration, pausedPositionMs: room.paused, isPlaying: false, masterClockMs: master(), timestamp: Date.now() }));
  }

  function pause(room) {
    const now = master();
    cancelHandshake(room);
    room.paused = position(room, now);
    // A second PAUSE within the delay changes nothing, so the PAUSE_STATE on its way still holds.
    if (room.pauseTimer === null) room.pauseTimer = setTimeout(sendPauseState, PAUSE_STATE_DELAY_MS, room);
    net.publish(room, JSON.stringify({ type: 'PAUSE', pausedAtMs: room.paused, masterClockMs: now, timestamp: Date.now() }));
  }

  function resume(room, { startDelayMs }) {
    const asked = delay(startDelayMs);
    if (Number.isNaN(asked)) return;
    const resumeDelayMs = asked || 400;
    const now = master();
    const playbackPositionMs = position(room, now);
    cancelPauseState(room);
    room.paused = null;
    room.started = now + resumeDelayMs - playbackPositionMs;
    net.publish(room, JSON.stringify({ type: 'RESUME', masterClockMs: now + resumeDelayMs, resumeDelayMs, playbackPositionMs, timestamp: Date.now() }));
  }

  function seek(room, { seekPositionMs = 0 }) {
    if (!isNumber(seekPositionMs)) return;
    const to = clamp(seekPositionMs, POSITION_MS_MAX);
    const masterClockMs = master() + SEEK_DELAY_MS;
    cancelPauseState(room);
    if (room.paused !== null) room.paused = to;
    else room.started = masterClockMs - to;
    net.publish(room, JSON.stringify({ type: 'SEEK', seekPositionMs: to, masterClockMs, seekDelayMs: SEEK_DELAY_MS, timestamp: Date.now() }));
  }

  function changeTrack(room, { trackData }) {
    if (typeof trackData !== 'object' || trackData === null || Array.isArray(trackData)) return;
    cancelHandshake(room);
    cancelPauseState(room);
    if (typeof trackData.audioUrl === 'string' && trackData.audioUrl !== '') {
      room.audioUrl = trackData.audioUrl;
      room.duration = trackData.duration || null;
      room.started = null;
      room.paused = 0;
    }
    net.publish(room, JSON.stringify({ type: 'TRACK_CHANGE', trackData, timestamp: Date.now() }));
  }

  function syncCheck(session, room, { clientPosition }) {
    if (!isNumber(clientPosition)) return;
    const now = master();
    const correctPositionMs = position(room, now);
    if (Math.abs(clientPosition - correctPositionMs) <= DRIFT_MS) return;
    net.send(session.conn, JSON.stringify({ type: 'RESYNC', correctPositionMs, masterClockMs: now, timestamp: Date.now() }));
  }

  return {
    open: (conn) => ({ conn, wsId: newId(), room: null, userId: undefined, ready: false }),

    message(session, text) {
      let message;
      try {
        message = JSON.parse(text);
      } catch {
        return;
      }
      if (typeof message !== 'object' || message === null) return;
      // By far the most frequent, and the only two that need no membership.
      if (message.type === 'time_ping') return timePing(session, message);
      if (message.type === 'join') return join(session, message);
      const room = session.room;
      if (room === null || room.code !== message.roomCode) return;
      switch (message.type) {
        case 'PLAY': return play(room, message);
        case 'device_health_check_response': return deviceReady(session, room, message);
        case 'PAUSE': return pause(room);
        case 'RESUME': return resume(room, message);
        case 'SEEK': return seek(room, message);
        case 'TRACK_CHANGE': return changeTrack(room, message);
        case 'get_playback_state': return net.send(session.conn, snapshot(room));
        case 'request_sync': return isPlaying(room) ? net.send(session.conn, snapshot(room)) : undefined;
        case 'sync_check': return syncCheck(session, room, message);
      }
    },

    close: (session) => leave(session, true),
  };
}
