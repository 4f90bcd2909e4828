// A room on the server: the connection, the clients' protocol and its cadence. What it hears goes to `listener`.
//
// It does what the real clients do: `join`, seven pings within half a second, the state asked for; such a burst again
// each 1.5 s; while playing a `sync_check` each 5 s; after a disconnect it returns in a second and a bit, then later
// each time. It never gives up.

const BURST_PINGS = 7;
const BURST_MS = 500;
const BURST_EACH_MS = 1500;
const SYNC_CHECK_EACH_MS = 5000;
const STATE_REQUESTS_MAX = 7;
const STATE_RETRY_MS = 600;
const RETURN_MS = 1000;
const RETURN_JITTER_MS = 400;
const RETURN_GROWTH = 1.6;
const RETURN_MAX_MS = 30000;
/** A ping that waits for so long waits on a dead line, whatever the browser thinks. */
const SILENCE_MAX_MS = 6000;
/** The wished delay of a start; the server adds what its handshake needs. */
const START_DELAY_MS = 300;

const randomId = () => [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(36)).join("");

class Room {
  constructor(code, clock, listener) {
    this.code = code;
    this.clock = clock;
    this.listener = listener;
    this.userId = randomId();
    this.failures = 0;
    this.timers = [];
    this.open();
  }

  open() {
    const { protocol, host } = location;
    const query = new URLSearchParams({ roomCode: this.code, userId: this.userId });
    this.pings = new Map();
    this.stateRequests = 0;
    this.socket = new WebSocket(`${protocol === "https:" ? "wss" : "ws"}://${host}/ws/sync?${query}`);
    this.socket.onopen = () => this.opened();
    this.socket.onmessage = (event) => this.heard(event.data, performance.now());
    this.socket.onclose = () => this.closed();
  }

  opened() {
    this.clock.reset();
    this.isOpen = true;
    this.send({ type: "join", userId: this.userId, hostId: this.userId });
    this.burst();
    this.askState();
    const again = setTimeout(() => this.listener.wantsState() && this.askState(), STATE_RETRY_MS);
    this.timers = [
      again,
      setInterval(() => this.burst(), BURST_EACH_MS),
      setInterval(() => this.checkSync(), SYNC_CHECK_EACH_MS),
    ];
  }

  closed() {
    this.stopTimers();
    this.isOpen = false;
    if (this.isLeft) return;
    const growth = RETURN_GROWTH ** this.failures++;
    const waitMs = Math.min((RETURN_MS + Math.random() * RETURN_JITTER_MS) * growth, RETURN_MAX_MS);
    this.returnsAt = performance.now() + waitMs;
    this.returnTimer = setTimeout(() => this.open(), waitMs);
    this.listener.disconnected();
  }

  stopTimers() {
    this.timers.forEach(clearTimeout);
    this.timers = [];
  }

  leave() {
    this.isLeft = true;
    this.stopTimers();
    clearTimeout(this.returnTimer);
    this.socket.close();
  }

  /** The network has come back: there is no reason to wait any longer. */
  returnNow() {
    if (this.socket.readyState !== WebSocket.CLOSED || this.isLeft) return;
    clearTimeout(this.returnTimer);
    this.open();
  }

  send(message) {
    if (this.isOpen) this.socket.send(JSON.stringify({ roomCode: this.code, ...message }));
  }

  // What a member asks of the room.
  play(track) {
    const { audioUrl, durationS: duration } = track;
    this.send({ type: "PLAY", audioUrl, duration, startDelayMs: START_DELAY_MS, rttMs: this.clock.rttMedian });
  }

  pause() {
    this.send({ type: "PAUSE" });
  }

  resume() {
    this.send({ type: "RESUME" });
  }

  seek(seekPositionMs) {
    this.send({ type: "SEEK", seekPositionMs });
  }

  change({ audioUrl, title, durationS: duration }) {
    this.send({ type: "TRACK_CHANGE", trackData: { id: audioUrl, title, artist: "Downbeat", duration, audioUrl } });
  }

  askState() {
    if (this.stateRequests++ < STATE_REQUESTS_MAX) this.send({ type: "get_playback_state" });
  }

  checkSync() {
    const clientPosition = this.listener.heardPosition();
    if (clientPosition !== undefined) this.send({ type: "sync_check", clientPosition });
  }

  burst() {
    const [oldest = Infinity] = this.pings.values();
    if (performance.now() - oldest > SILENCE_MAX_MS) {
      this.socket.close();
      this.socket.onclose = null;
      this.closed();
      return;
    }
    for (let i = 0; i < BURST_PINGS; i++) {
      this.timers[3 + i] = setTimeout(() => this.ping(), (i * BURST_MS) / (BURST_PINGS - 1));
    }
  }

  /** Without the room's code, as the real clients ping: it is the clock that is asked for, not the room. */
  ping() {
    const id = randomId();
    const sentAt = performance.now();
    this.pings.set(id, sentAt);
    this.send({ type: "time_ping", id, t0: performance.timeOrigin + sentAt, roomCode: undefined });
  }

  heard(text, now) {
    const message = JSON.parse(text);
    if (message.type === "time_pong") this.heardPong(message, now);
    else if (message.type === "PREPARE_TRACK") this.prepare(message);
    else if (message.type === "device_health_check") this.answerCheck(message.checkId, { roomCode: undefined });
    else if (message.type === "playback_state") this.askState();
    else if (message.type === "joined") this.failures = 0;
    this.listener.heard(message, now);
  }

  heardPong({ id, serverTimeMonotonic, serverTimeUnix }, now) {
    const sentAt = this.pings.get(id);
    if (sentAt === undefined) return;
    // Pongs come in order: what is older and still waits was dropped.
    for (const [id, at] of this.pings) if (at <= sentAt) this.pings.delete(id);
    this.clock.add(sentAt, now, serverTimeMonotonic, serverTimeUnix);
  }

  /** Notes need no loading: this device is ready at once, even one that still waits for a touch to sound. */
  prepare({ checkId, audioUrl }) {
    this.answerCheck(checkId);
    this.send({ type: "track_prepared", audioUrl });
  }

  /** Real clients answer the bare check as well, without the room's code, so that it never counts. */
  answerCheck(checkId, more = {}) {
    const rttMs = this.clock.rttMedian;
    this.send({ type: "device_health_check_response", checkId, audioLoaded: true, deviceReady: true, rttMs, ...more });
  }
}
