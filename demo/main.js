// The page: what the room says becomes what is played and shown, what is clicked becomes what the room is asked.
//
// Nothing is played because it was clicked: a click asks the room, and the room tells everyone, this page too.

const byId = (id) => document.getElementById(id);
const FIGURES_EACH_MS = 500;
const DRIFTS_SHOWN = 90;
/** Browsers that allow sound at once need a moment to begin it. */
const LISTEN_AFTER_MS = 700;

const clock = new MasterClock();
const sound = new Sound();
const player = new Player(clock, sound);
const disc = new Disc(byId("canvas"));

let room;
/** What the room is doing: idle (no track yet), preparing, playing, paused. */
let phase = "idle";
let leadMs;
/** The length of the lead that is being counted down. */
let leadTotalMs = 1;
let note = "";
const drifts = [];

// Devices: who is known by name, and how many the server has said there are.
const devices = { known: new Set(), total: undefined };

const deviceCount = () => Math.max(devices.total ?? 0, devices.known.size, 1);

// What the room says.

function setPhase(next, text = "") {
  phase = next;
  note = text;
}

/** The room plays a track with position 0 at `zero` of the master clock, heard from `from` on. */
function startTrack(audioUrl, zero, from) {
  const track = trackOf(audioUrl);
  if (!track) {
    player.pause(player.track, 0);
    setPhase("idle", `This room plays something that is not made here: ${audioUrl}`);
    return;
  }
  player.play(track, zero, from);
  setPhase("playing");
}

/** The time until `master`, as the lead that is shown. */
function countDown(master, now) {
  leadTotalMs = Math.max(clock.isKnown ? master - clock.masterAt(now) : 1, 1);
}

const HEARD = {
  joined({ wsId }) {
    devices.known = new Set([wsId]);
    devices.total = undefined;
  },
  user_joined({ wsId, totalClients }) {
    devices.known.add(wsId);
    devices.total = totalClients;
  },
  user_left({ wsId, totalClients }) {
    devices.known.delete(wsId);
    devices.total = totalClients;
  },
  device_ready({ wsId }) {
    devices.known.add(wsId);
  },
  PREPARE_TRACK({ audioUrl }) {
    const track = trackOf(audioUrl);
    if (track && !player.isPlaying) player.pause(track, 0);
    setPhase("preparing", "Asking every device whether it is ready");
  },
  PLAY({ audioUrl, masterClockMs }, now) {
    countDown(masterClockMs, now);
    leadMs = leadTotalMs;
    startTrack(audioUrl, masterClockMs, masterClockMs);
  },
  PLAY_SYNC({ audioUrl, playbackPosition, masterClockMs }, now) {
    const zero = masterClockMs - playbackPosition;
    const from = Math.max(zero, masterClockMs);
    if (!player.isPlaying) countDown(from, now);
    startTrack(audioUrl, zero, from);
  },
  RESYNC({ correctPositionMs, masterClockMs }) {
    if (player.isPlaying) player.play(player.track, masterClockMs - correctPositionMs, masterClockMs);
  },
  RESUME({ playbackPositionMs, masterClockMs }, now) {
    countDown(masterClockMs, now);
    leadMs = leadTotalMs;
    player.play(player.track, masterClockMs - playbackPositionMs, masterClockMs);
    setPhase("playing");
  },
  SEEK({ seekPositionMs, masterClockMs }) {
    if (player.isPlaying) player.play(player.track, masterClockMs - seekPositionMs, masterClockMs);
    else player.pause(player.track, seekPositionMs);
  },
  PAUSE({ pausedAtMs }) {
    player.pause(player.track, pausedAtMs);
    setPhase("paused");
  },
  PAUSE_STATE({ audioUrl, pausedPositionMs }) {
    player.pause(trackOf(audioUrl) ?? player.track, pausedPositionMs);
    setPhase("paused");
  },
  TRACK_CHANGE({ trackData }) {
    player.pause(trackOf(trackData.audioUrl) ?? player.track, 0);
    setPhase("paused");
  },
  playback_state() {
    if (phase === "idle" || phase === "preparing") return;
    player.pause(player.track, 0);
    setPhase("idle", "Meanwhile this room had ended. Press play to begin anew.");
  },
};

const listener = {
  heard(message, now) {
    HEARD[message.type]?.(message, now);
    renderState();
  },
  disconnected() {
    // What plays goes on by the clock that was measured; the state comes with the new connection.
    if (phase === "preparing") setPhase("idle");
    renderState();
  },
  wantsState: () => phase !== "playing",
  heardPosition() {
    const position = player.heardAt(performance.now());
    return position !== undefined && position >= 0 ? position : undefined;
  },
};

// What is asked of the room.

/** The touch that is on its way to its click began where the button said "listen". */
let wantedToListen = false;

function togglePlay() {
  const mustUnlock = wantedToListen || isWaitingForTouch();
  sound.unlock();
  // Who could not hear it yet wants to listen, not to stop everyone; the touch alone may have unlocked the sound by now.
  if (mustUnlock && phase === "playing") return;
  if (player.hasEndedAt(performance.now())) room.seek(0);
  else if (phase === "playing" || phase === "preparing") room.pause();
  else if (phase === "paused" && player.pausedMs > 0) room.resume();
  else room.play(player.track);
}

function chooseTrack(track) {
  const wasPlaying = phase === "playing" || phase === "preparing";
  room.change(track);
  if (wasPlaying) room.play(track);
}

/** To a beat of the round that is being played. */
function seekInLoop(ms) {
  const { track } = player;
  const round = Math.floor(player.positionAt(performance.now()) / track.loopMs);
  const beat = Math.round(ms / track.beatMs);
  if (phase === "idle") room.change(track);
  room.seek(Math.max(round * track.loopMs + beat * track.beatMs, 0));
}

function seekBars(bars) {
  const { loopMs, beatMs, beats } = player.track;
  const position = player.positionAt(performance.now()) % loopMs;
  const target = position + bars * beats * beatMs;
  seekInLoop(((target % loopMs) + loopMs) % loopMs);
}

// Which room.

/** Four syllables that can be read out to somebody. */
function inventCode() {
  const [consonants, vowels] = ["bdfgklmnprstvz", "aeiou"];
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  const letters = [...bytes].map((byte, i) => (i % 2 ? vowels : consonants)).map((set, i) => set[bytes[i] % set.length]);
  return `${letters.slice(0, 4).join("")}-${letters.slice(4).join("")}`;
}

const linkTo = (code) => `${location.origin}/?room=${encodeURIComponent(code)}`;

function enter(code) {
  room?.leave();
  clock.reset();
  player.pause(TRACKS[0], 0);
  setPhase("idle");
  history.replaceState(null, "", linkTo(code));
  document.title = `${code} · Downbeat`;
  byId("code").textContent = code;
  room = new Room(code, clock, listener);
  renderState();
}

async function copyLink() {
  const text = linkTo(room.code);
  try {
    await navigator.clipboard.writeText(text);
    flash(byId("copy"), "Copied");
  } catch {
    // Only pages of https and of this host itself may write there; anyone may show it to be copied.
    prompt("The room’s link:", text);
  }
}

function flash(button, text) {
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  button.textContent = text;
  setTimeout(() => (button.textContent = label), 1500);
}

function openWindow() {
  const features = `popup,width=${Math.min(outerWidth, 1160)},height=${Math.min(outerHeight, 860)}`;
  open(linkTo(room.code), "_blank", features);
}

// What is shown.

const isWaitingForTouch = () => sound.isSuspended && performance.now() > LISTEN_AFTER_MS;

const timeText = (ms) => `${Math.floor(ms / 60000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}`;
/** With its sign, which zero does not have. */
const signed = (ms) => `${ms <= -0.005 ? "−" : ms < 0.005 ? "" : "+"}${Math.abs(ms).toFixed(2)} ms`;
const span = (ms) => (ms < 10 ? ms.toFixed(2) : ms.toFixed(0));

/** Writes only what differs: screen readers speak what is written. */
function setText(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

/** What changes with the room, not with time. */
function renderState() {
  const { track } = player;
  disc.show(track);
  setText("title", track.title);
  const icon = phase !== "playing" && phase !== "preparing" ? "play" : isWaitingForTouch() ? "listen" : "pause";
  const label = { play: "Play", pause: "Pause", listen: "Listen" }[icon];
  byId("play").dataset.icon = icon;
  byId("play").setAttribute("aria-label", label);
  renderMembers();
  for (const choice of document.querySelectorAll("#tracks input")) choice.checked = choice.value === track.audioUrl;
  const beats = byId("beats");
  if (beats.children.length !== track.beats) {
    beats.replaceChildren(...Array.from({ length: track.beats }, () => document.createElement("i")));
  }
  byId("seek").max = track.loopMs;
  byId("seek").step = track.beatMs;
  setText("total", timeText(track.loopMs));
}

function renderMembers() {
  const count = deviceCount();
  const plural = count === 1 ? "device" : "devices";
  // A newcomer is not told who is there already; the next who comes or goes brings the number.
  const isCounted = devices.total !== undefined;
  setText("members", isCounted ? `${count} ${plural} here` : count === 1 ? "you are here" : `at least ${count} devices`);
}

function renderStatus(now) {
  const [state, text] = (() => {
    if (!room.isOpen && room.returnsAt > now) return ["lost", `reconnecting in ${Math.ceil((room.returnsAt - now) / 1000)} s`];
    if (!room.isOpen) return ["connecting", room.returnsAt ? "reconnecting" : "connecting"];
    if (!clock.isReady) return ["connecting", "measuring the clock"];
    return ["synced", `in step, ±${span(Math.max(clock.uncertaintyMs, 0.01))} ms`];
  })();
  byId("status").dataset.state = state;
  setText("status-text", text);
}

function noticeText(now) {
  if (note) return note;
  if (phase === "playing" && !room.isOpen) return "The server is away. The music goes on by the clock that was measured.";
  if (isWaitingForTouch() && phase === "playing") return "The room is playing. Touch anything to hear it.";
  if (phase === "playing" && player.hasEndedAt(now)) return "The track is over. Press play for another time.";
  if (phase === "playing") {
    const lead = player.leadAt(now);
    return lead > 0 ? `Everyone starts in ${(lead / 1000).toFixed(1)} s` : player.track.detail;
  }
  return phase === "paused" && player.pausedMs > 0 ? "Paused for everyone" : player.track.detail;
}

/** What changes with each beat, or with time. */
function renderTime(now) {
  const { track } = player;
  const position = player.positionAt(now);
  const inLoop = position % track.loopMs;
  const round = Math.floor(position / track.loopMs) + 1;
  const lead = player.leadAt(now);
  setText("elapsed", timeText(inLoop));
  setText("round", round > 1 ? `round ${round}` : "");
  setText("notice", noticeText(now));
  setText("play-text", isListening() ? "Tap to listen" : lead > 60 ? (lead / 1000).toFixed(1) : "");
  const isBeating = phase === "playing" && lead === 0;
  const beat = isBeating ? Math.floor(inLoop / track.beatMs + 1e-6) % track.beats : -1;
  [...byId("beats").children].forEach((dot, i) => dot.classList.toggle("lit", i === beat));
  if (!isDragging) {
    const seek = byId("seek");
    seek.value = inLoop;
    const text = `${timeText(inLoop)} of ${timeText(track.loopMs)}`;
    if (seek.getAttribute("aria-valuetext") !== text) seek.setAttribute("aria-valuetext", text);
    setFill(seek, inLoop / track.loopMs);
  }
}

const isListening = () => byId("play").dataset.icon === "listen";
const setFill = (range, part) => range.style.setProperty("--fill", `${(part * 100).toFixed(2)}%`);

function renderFigures() {
  const now = performance.now();
  const { outputLatency, baseLatency } = sound.context;
  const isMeasured = clock.isReady;
  const isHeard = player.driftMs !== undefined && player.leadAt(now) === 0;
  setText("drift", isHeard ? signed(player.driftMs) : "–");
  setText("offset", isMeasured ? signed(clock.unixOffset) : "–");
  setText("quality", isMeasured ? `${clock.quality}, ±${span(clock.uncertaintyMs)} ms` : "–");
  setText("rtt", isMeasured ? `${span(clock.rttMin)} / ${span(clock.rttMedian)} ms` : "–");
  setText("latency", sound.isRunning ? `${((outputLatency || baseLatency || 0) * 1000).toFixed(0)} ms` : "–");
  setText("lead", leadMs === undefined ? "–" : `${leadMs.toFixed(0)} ms`);
  drifts.push(isHeard ? player.driftMs : undefined);
  if (drifts.length > DRIFTS_SHOWN) drifts.shift();
  drawSpark(byId("spark"), drifts);
  renderStatus(now);
  renderState();
}

/** The drift of the last 45 s; the band is one millisecond either way, or more if it has to be. */
function drawSpark(canvas, values) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = Math.min(devicePixelRatio, 2);
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const reach = Math.max(1, ...values.filter(Number.isFinite).map(Math.abs)) * 1.15;
  const y = (value) => height / 2 + (value / reach) * (height / 2);
  context.fillStyle = disc.color.groove;
  context.fillRect(0, height / 2 - 0.5, width, 1);
  context.strokeStyle = disc.color.accent;
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  context.beginPath();
  values.forEach((value, i) => {
    if (value === undefined) return;
    const x = width - ((values.length - 1 - i) / (DRIFTS_SHOWN - 1)) * width;
    if (values[i - 1] === undefined) context.moveTo(x, y(value));
    context.lineTo(x, y(value));
  });
  context.stroke();
}

/** What the last frame showed: one that would look the same is not drawn. */
let lastScene = "";

function frame(now) {
  requestAnimationFrame(frame);
  const lead = player.leadAt(now);
  const position = player.positionAt(now);
  const isMoving = phase === "playing" && lead === 0 && !player.hasEndedAt(now);
  renderTime(now);
  const scene = [position, lead, isMoving, deviceCount(), disc.isStale].join();
  if (scene === lastScene && !disc.isStale) return;
  lastScene = scene;
  disc.draw({
    positionMs: position,
    isMoving,
    lead: phase === "playing" ? Math.min(lead / leadTotalMs, 1) : 0,
    wave: isMoving && sound.isRunning ? sound.readWave() : undefined,
    devices: deviceCount(),
  });
}

function buildTracks() {
  const choices = TRACKS.map((track) => {
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "track", value: track.audioUrl });
    const isTune = !track.audioUrl.includes("metronome");
    const title = Object.assign(document.createElement("b"), { textContent: isTune ? track.title : track.title.split(" ")[1] });
    const detail = Object.assign(document.createElement("small"), { textContent: isTune ? `${track.beats === 3 ? "a waltz" : "a tune"} at ${track.bpm}` : "bpm" });
    const label = document.createElement("label");
    label.classList.toggle("tune", isTune);
    label.title = track.detail;
    label.append(input, title, detail);
    input.addEventListener("change", () => chooseTrack(track));
    return label;
  });
  byId("tracks").replaceChildren(...choices);
}

// Volume.

let isMuted = false;

function applyVolume() {
  const volume = byId("volume").value / 100;
  sound.setVolume(isMuted ? 0 : volume);
  setFill(byId("volume"), volume);
  byId("mute").setAttribute("aria-pressed", String(isMuted));
  byId("mute").setAttribute("aria-label", isMuted ? "Unmute" : "Mute");
}

function toggleMute() {
  isMuted = !isMuted;
  applyVolume();
}

// Hands.

let isDragging = false;

/** Keys of the whole page, but where they belong to what has the focus. */
const KEYS = {
  " ": { press: togglePlay, belongsTo: "button, #join-code" },
  ArrowLeft: { press: () => seekBars(-1), belongsTo: "input" },
  ArrowRight: { press: () => seekBars(1), belongsTo: "input" },
  m: { press: toggleMute, belongsTo: "#join-code" },
};

function listen() {
  const touched = () => {
    wantedToListen = isListening();
    sound.unlock();
  };
  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, touched, { capture: true });
  sound.context.addEventListener("statechange", renderState);
  byId("play").addEventListener("click", togglePlay);
  byId("canvas").addEventListener("click", (event) => {
    const turn = disc.turnOf(event.clientX, event.clientY);
    if (turn !== undefined) seekInLoop(turn * player.track.loopMs);
  });
  byId("seek").addEventListener("input", (event) => {
    isDragging = true;
    setFill(event.target, event.target.value / event.target.max);
  });
  byId("seek").addEventListener("change", (event) => {
    isDragging = false;
    seekInLoop(Number(event.target.value));
  });
  byId("volume").addEventListener("input", () => {
    isMuted = false;
    applyVolume();
  });
  byId("mute").addEventListener("click", toggleMute);
  byId("copy").addEventListener("click", copyLink);
  byId("window").addEventListener("click", openWindow);
  byId("join").addEventListener("submit", (event) => {
    event.preventDefault();
    const code = byId("join-code").value.trim();
    event.target.reset();
    if (code) enter(code);
  });
  addEventListener("keydown", (event) => {
    const key = KEYS[event.key];
    const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
    if (!key || hasModifier || event.target.closest(key.belongsTo)) return;
    event.preventDefault();
    // A key that is held would make more commands than the server carries out, and the last of them would be lost.
    if (!event.repeat) key.press();
  });
  addEventListener("online", () => room.returnNow());
}

/** For tests, and for whoever wants to know: what this page hears, on the Unix clock of its machine. Read only. */
function report() {
  const now = performance.now();
  const unixAt = (contextS) => performance.timeOrigin + sound.output.performanceAt(contextS);
  const peak = sound.readWave().reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
  return {
    room: room.code,
    isOpen: room.isOpen === true,
    isMeasured: clock.isReady,
    phase,
    audio: sound.context.state,
    track: player.track.audioUrl,
    positionMs: player.positionAt(now),
    heardMs: player.heardAt(now),
    peak,
    /** When position 0 was heard, or would have been. */
    zeroUnixMs: player.take && unixAt(player.take.zeroS),
    takes: player.takes,
    /** When the newest takes began to be heard, and at which position. */
    starts: player.starts.map(({ positionMs, contextS }) => ({ positionMs, unixMs: unixAt(contextS) })),
    driftMs: player.driftMs,
    offsetMs: clock.unixOffset,
    rttMinMs: clock.rttMin,
    rttMedianMs: clock.rttMedian,
    leadMs,
    devices: deviceCount(),
  };
}

buildTracks();
listen();
applyVolume();
enter(new URLSearchParams(location.search).get("room")?.trim().slice(0, 64) || inventCode());
setInterval(renderFigures, FIGURES_EACH_MS);
requestAnimationFrame(frame);
Object.defineProperty(window, "downbeat", { value: Object.freeze({ report }) });
