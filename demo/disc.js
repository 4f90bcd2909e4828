// The disc: the track's loop as a ring of notes, like a music box's, with the hand where the master clock is.
//
// Plate, beats and notes are drawn once for a track, a size and a theme; a frame adds what moves: the hand, the notes
// that sound, the pulse of the beat, the wave of what is heard, a light for each device. With reduced motion the hand
// steps from beat to beat and nothing else moves.

const FULL_TURN = 2 * Math.PI;
const TOP = -FULL_TURN / 4;

/** Where each voice lies, as parts of the disc's radius, and how it is drawn: as an arc, or a spoke of some length. */
const LANES = {
  bass: { from: 0.36, to: 0.44, width: 0.014, color: "bass" },
  pad: { from: 0.46, to: 0.56, width: 0.008, color: "pad", rest: 0.45 },
  harp: { from: 0.58, to: 0.68, width: 0.009, color: "harp" },
  bell: { from: 0.69, to: 0.84, width: 0.017, color: "bell" },
  kick: { from: 0.872, to: 0.872, width: 0.012, color: "drum" },
  rim: { from: 0.892, to: 0.892, width: 0.009, color: "drum" },
  shaker: { from: 0.908, to: 0.908, width: 0.006, color: "drum" },
  click: { from: 0.6, to: 0.6, width: 0.022, color: "bell", spoke: 0.24 },
};
const COLORS = ["plate", "plate-edge", "groove", "ink", "faint", "accent", "bell", "harp", "pad", "bass", "drum", "page"];
const GLOW_MS = 650;
const DEVICES_MAX = 32;
const DEVICE_APART = 0.085;

class Disc {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.plate = document.createElement("canvas");
    this.isCalm = matchMedia("(prefers-reduced-motion: reduce)");
    new ResizeObserver(() => this.resize()).observe(canvas);
    for (const query of ["(prefers-color-scheme: dark)", "(prefers-reduced-motion: reduce)"]) {
      matchMedia(query).addEventListener("change", () => this.restyle());
    }
    this.restyle();
    this.resize();
  }

  restyle() {
    const style = getComputedStyle(document.documentElement);
    this.color = Object.fromEntries(COLORS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    this.isStale = true;
  }

  resize() {
    const { width } = this.canvas.getBoundingClientRect();
    const pixels = Math.max(Math.round(width * Math.min(devicePixelRatio, 2)), 1);
    this.canvas.width = this.canvas.height = this.plate.width = this.plate.height = pixels;
    this.size = pixels;
    this.isStale = true;
  }

  show(track) {
    if (track === this.track) return;
    this.track = track;
    this.isStale = true;
  }

  /** Where on the loop a point of the page lies, 0 to 1; undefined on the button and outside. */
  turnOf(clientX, clientY) {
    const { left, top, width } = this.canvas.getBoundingClientRect();
    const [x, y] = [clientX - left - width / 2, clientY - top - width / 2];
    const radius = Math.hypot(x, y) / (width / 2);
    if (radius < 0.3 || radius > 0.95) return undefined;
    return ((Math.atan2(y, x) - TOP + FULL_TURN) / FULL_TURN) % 1;
  }

  angleOf(ms) {
    return TOP + (ms / this.track.loopMs) * FULL_TURN;
  }

  /** `scene`: {positionMs, isMoving, lead: 1 to 0 before a start, wave, devices}. */
  draw(scene) {
    if (this.isStale) this.drawPlate();
    const { context, size } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, size, size);
    context.drawImage(this.plate, 0, 0);
    context.setTransform(size / 2, 0, 0, size / 2, size / 2, size / 2);
    const isCalm = this.isCalm.matches;
    const { beatMs, loopMs } = this.track;
    const beat = Math.floor(scene.positionMs / beatMs + 1e-6);
    const sinceBeatMs = scene.positionMs - beat * beatMs;
    const handMs = (isCalm ? beat * beatMs : scene.positionMs) % loopMs;
    const pulse = scene.isMoving ? Math.exp(-sinceBeatMs / 160) : 0;
    const isDownbeat = beat % this.track.beats === 0;
    if (scene.isMoving && !isCalm) {
      this.drawTail(handMs);
      this.drawPulse(sinceBeatMs / beatMs, isDownbeat);
    }
    if (scene.isMoving) this.drawSounding(scene.positionMs % loopMs);
    this.drawHand(handMs, pulse);
    if (scene.lead > 0) this.drawLead(scene.lead);
    else if (scene.wave && !isCalm) this.drawWave(scene.wave);
    this.drawDevices(scene.devices, isCalm ? 0 : pulse);
  }

  drawPlate() {
    this.isStale = false;
    const { size } = this;
    const context = this.plate.getContext("2d");
    context.setTransform(size / 2, 0, 0, size / 2, size / 2, size / 2);
    context.clearRect(-1, -1, 2, 2);
    const shade = context.createRadialGradient(0, 0, 0.2, 0, 0, 0.93);
    shade.addColorStop(0, this.color["plate-edge"]);
    shade.addColorStop(0.35, this.color.plate);
    shade.addColorStop(1, this.color["plate-edge"]);
    this.circle(context, 0, 0, 0.93, shade);
    context.strokeStyle = this.color.groove;
    for (const radius of [0.33, 0.45, 0.57, 0.685, 0.855, 0.93]) this.ring(context, radius, 0.003);
    this.drawBeats(context);
    context.lineCap = "round";
    for (const note of this.track.notes) {
      const { color, rest = 0.85 } = LANES[note.voice];
      this.drawNote(context, note, this.color[color], rest * (0.35 + 0.65 * note.strength), 1);
    }
    context.globalAlpha = 1;
  }

  /** A spoke for each bar, a tick at the rim for each beat. */
  drawBeats(context) {
    const { beatMs, loopMs, beats } = this.track;
    for (let beat = 0; beat * beatMs < loopMs - 1; beat++) {
      const isBar = beat % beats === 0;
      context.globalAlpha = isBar ? 0.9 : 0.6;
      this.spoke(context, this.angleOf(beat * beatMs), isBar ? 0.34 : 0.915, 0.928, isBar ? 0.003 : 0.004);
    }
    context.globalAlpha = 1;
  }

  spoke(context, angle, from, to, width) {
    const [x, y] = [Math.cos(angle), Math.sin(angle)];
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x * from, y * from);
    context.lineTo(x * to, y * to);
    context.stroke();
  }

  circle(context, x, y, radius, fill) {
    context.fillStyle = fill;
    context.beginPath();
    context.arc(x, y, radius, 0, FULL_TURN);
    context.fill();
  }

  ring(context, radius, width) {
    context.lineWidth = width;
    context.beginPath();
    context.arc(0, 0, radius, 0, FULL_TURN);
    context.stroke();
  }

  drawNote(context, note, color, alpha, scale) {
    const lane = LANES[note.voice];
    const radius = this.radiusOf(note, lane);
    const start = this.angleOf(note.at);
    context.globalAlpha = alpha;
    context.strokeStyle = color;
    if (lane.spoke) {
      this.spoke(context, start, radius, radius + lane.spoke * note.strength ** 2, lane.width * scale);
      return;
    }
    // Round caps reach beyond the arc, so that it ends early by as much.
    const end = Math.max(this.angleOf(note.at + note.length) - (1.6 * lane.width) / radius, start + 0.0005);
    context.lineWidth = lane.width * scale;
    context.beginPath();
    context.arc(0, 0, radius, start, end);
    context.stroke();
  }

  radiusOf(note, lane) {
    const [lowest, highest] = this.rangeOf(note.voice);
    const height = highest > lowest ? (note.pitch - lowest) / (highest - lowest) : 0.5;
    return lane.from + (lane.to - lane.from) * height;
  }

  /** The lowest and the highest pitch of a voice in this track. */
  rangeOf(voice) {
    if (this.rangesOf !== this.track) {
      this.rangesOf = this.track;
      this.ranges = {};
      for (const { voice, pitch } of this.track.notes) {
        const [lowest, highest] = this.ranges[voice] ?? [pitch, pitch];
        this.ranges[voice] = [Math.min(lowest, pitch), Math.max(highest, pitch)];
      }
    }
    return this.ranges[voice];
  }

  drawTail(handMs) {
    const { context } = this;
    if (!context.createConicGradient) return;
    const tail = context.createConicGradient(this.angleOf(handMs), 0, 0);
    // Not `transparent`, which is black on the way there.
    tail.addColorStop(0.86, `${this.color.accent}00`);
    tail.addColorStop(1, `${this.color.accent}38`);
    context.fillStyle = tail;
    context.beginPath();
    context.arc(0, 0, 0.93, 0, FULL_TURN);
    context.arc(0, 0, 0.33, 0, FULL_TURN, true);
    context.fill();
  }

  /** Notes that sound, and those that have just begun, with a glow that fades. */
  drawSounding(loopMs) {
    const { context, track } = this;
    context.lineCap = "round";
    for (let i = firstNoteFrom(track, loopMs + 0.001) - 1; i >= 0 && track.notes[i].at > loopMs - 6000; i--) {
      const note = track.notes[i];
      const age = loopMs - note.at;
      const isHeld = age < note.length;
      if (!isHeld && age > GLOW_MS) continue;
      const light = Math.max(isHeld ? 0.55 : 0, 1 - age / GLOW_MS);
      const color = this.color[LANES[note.voice].color];
      this.drawNote(context, note, color, 0.22 * light, 3.2);
      this.drawNote(context, note, color, light, 1.25);
    }
    context.globalAlpha = 1;
  }

  drawHand(handMs, pulse) {
    const { context, color } = this;
    const angle = this.angleOf(handMs);
    context.strokeStyle = color.ink;
    context.lineCap = "round";
    this.spoke(context, angle, 0.33, 0.93, 0.007);
    this.circle(context, Math.cos(angle) * 0.93, Math.sin(angle) * 0.93, 0.017 + 0.009 * pulse, color.accent);
  }

  /** A ring that leaves the button with each beat, further with each first. */
  drawPulse(part, isDownbeat) {
    const { context } = this;
    const way = 1 - (1 - part) ** 3;
    context.strokeStyle = this.color.accent;
    context.globalAlpha = (1 - part) ** 2 * (isDownbeat ? 0.75 : 0.35);
    this.ring(context, 0.24 + way * (isDownbeat ? 0.1 : 0.06), 0.02 * (1 - part) + 0.003);
    context.globalAlpha = 1;
  }

  /** What is left until the first beat. */
  drawLead(lead) {
    const { context } = this;
    context.strokeStyle = this.color.accent;
    context.lineWidth = 0.018;
    context.lineCap = "round";
    context.beginPath();
    context.arc(0, 0, 0.285, TOP, TOP + FULL_TURN * lead);
    context.stroke();
  }

  drawWave(wave) {
    const { context } = this;
    const points = 160;
    context.strokeStyle = this.color.accent;
    context.lineWidth = 0.005;
    context.beginPath();
    for (let i = 0; i < points; i++) {
      const angle = TOP + (i / points) * FULL_TURN;
      // Both ends fade to nothing, so that they meet.
      const window = Math.sin((i / points) * Math.PI);
      const radius = 0.285 + Math.max(-0.04, Math.min(0.04, wave[i * 4] * 0.35)) * window;
      context.lineTo(radius * Math.cos(angle), radius * Math.sin(angle));
    }
    context.closePath();
    context.stroke();
  }

  /** A light below the rim for each device, this one's first and in its own colour. */
  drawDevices(devices, pulse) {
    const { context } = this;
    const count = Math.min(devices, DEVICES_MAX);
    for (let i = 0; i < count; i++) {
      const angle = FULL_TURN / 4 - (i - (count - 1) / 2) * DEVICE_APART;
      const [x, y] = [Math.cos(angle) * 0.972, Math.sin(angle) * 0.972];
      this.circle(context, x, y, 0.0145 + 0.006 * pulse, i ? this.color.pad : this.color.accent);
    }
  }
}
