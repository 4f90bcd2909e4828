// Plays a track so that its position follows the master clock.
//
// What the room says is only where the track's zero lies on the master clock. A *take* is one unbroken run from there:
// it knows where that zero lies on the audio clock, and books notes a little ahead of their time. The two clocks drift
// apart; the take follows in small steps, which reach the notes not yet booked, so nobody hears them. Only when it is
// far off (the device slept, the room jumped) does a new take begin.

const TICK_MS = 40;
/** How far ahead notes are booked: over a seek's delay; a hidden page's timers fire once a second. */
const AHEAD_S = 0.45;
const AHEAD_HIDDEN_S = 1.6;
/** The soonest a take can begin. */
const BEGIN_S = 0.06;
/** How much of its drift a take makes up for at each tick: a tenth, and all of what is less than this. */
const DRIFT_PART = 0.1;
const DRIFT_STEP_S = 0.00025;
const DRIFT_JUMP_S = 0.02;
const STARTS_KEPT = 20;

class Take {
  constructor(sound, track, zeroS, fromS) {
    this.sound = sound;
    this.track = track;
    /** The audio clock at position 0. */
    this.zeroS = zeroS;
    this.bus = sound.makeBus();
    this.fromMs = Math.max((fromS - zeroS) * 1000, 0);
    this.startS = zeroS + this.fromMs / 1000;
    this.round = Math.floor(this.fromMs / track.loopMs);
    this.next = firstNoteFrom(track, (this.fromMs % track.loopMs) - 0.001);
    this.bookHeld();
  }

  /** Long notes that began before this take did are taken up midway. */
  bookHeld() {
    const at = this.fromMs % this.track.loopMs;
    for (const note of this.track.notes.slice(0, this.next)) {
      const leftMs = note.at + note.length - at;
      if (note.length > 900 && leftMs > 300) this.sound.play(note, this.startS, leftMs / 1000, this.bus);
    }
  }

  /** Books all notes up to a time of the audio clock. */
  book(untilS) {
    for (;;) {
      const { notes, loopMs } = this.track;
      const note = notes[this.next];
      if (note === undefined) {
        this.round += 1;
        this.next = 0;
        continue;
      }
      const positionMs = this.round * loopMs + note.at;
      const atS = this.zeroS + positionMs / 1000;
      if (atS > untilS || positionMs >= this.track.durationS * 1000) return;
      // After a stall of the page some are late by now: a note too late is worse than none.
      if (atS > this.sound.context.currentTime - 0.02) {
        this.sound.play(note, Math.max(atS, this.sound.context.currentTime), note.length / 1000, this.bus);
      }
      this.next += 1;
    }
  }

  stop(atS) {
    this.endsS = atS;
    this.sound.silence(this.bus, atS);
  }
}

class Player {
  constructor(clock, sound) {
    this.clock = clock;
    this.sound = sound;
    this.track = TRACKS[0];
    this.isPlaying = false;
    this.pausedMs = 0;
    /** The master clock at position 0. */
    this.zeroMaster = 0;
    /** Nothing is heard before this time of the master clock. */
    this.fromMaster = 0;
    /** How far the sound is from where it should be, ms; positive is late. */
    this.driftMs = undefined;
    /** When the newest takes began to be heard, and how many there were: for whoever compares devices. */
    this.starts = [];
    this.takes = 0;
    setInterval(() => this.tick(), TICK_MS);
  }

  /** Plays with position 0 at `zeroMaster`, audible from `fromMaster` on. */
  play(track, zeroMaster, fromMaster) {
    const isAnother = !this.isPlaying || track !== this.track;
    const isMoved = isAnother || Math.abs(zeroMaster - this.zeroMaster) > DRIFT_JUMP_S * 1000;
    this.isPlaying = true;
    this.track = track;
    this.zeroMaster = zeroMaster;
    if (!isMoved) return;
    this.fromMaster = fromMaster;
    this.endTake(this.canAim ? this.audioAt(fromMaster) : 0);
    this.tick();
  }

  pause(track, positionMs) {
    this.isPlaying = false;
    this.track = track;
    this.pausedMs = Math.max(positionMs, 0);
    this.driftMs = undefined;
    this.endTake(0);
    // What was to sound until a seek took effect.
    if (this.ending?.endsS > this.sound.context.currentTime) this.ending.stop(0);
  }

  /** Ends what is played now at a time of the audio clock, 0 being at once. */
  endTake(atS) {
    if (!this.take) return;
    this.take.book(atS);
    this.take.stop(atS);
    this.ending = this.take;
    this.take = undefined;
  }

  /** Both clocks are known, so a time of the master clock is one of the audio clock. */
  get canAim() {
    return this.sound.isRunning && this.clock.isKnown;
  }

  audioAt(masterMs) {
    return this.sound.output.contextAt(this.clock.performanceAt(masterMs));
  }

  tick() {
    if (!this.sound.isSuspended) this.sound.output.read();
    if (!this.isPlaying || !this.canAim) return;
    // While the clock is being measured anew, as after a reconnect, a take goes on as it was.
    if (this.clock.isReady) this.follow();
    const aheadS = document.hidden ? AHEAD_HIDDEN_S : AHEAD_S;
    this.take?.book(this.sound.context.currentTime + aheadS);
  }

  /** Begins a take, or keeps the one there is to the master clock. */
  follow() {
    const zeroS = this.audioAt(this.zeroMaster);
    const earlyS = zeroS - (this.take?.zeroS ?? Infinity);
    if (Math.abs(earlyS) > DRIFT_JUMP_S) {
      this.endTake(0);
      this.beginTake(zeroS);
      this.driftMs = 0;
    } else {
      this.driftMs = -earlyS * 1000;
      const stepS = Math.max(Math.abs(earlyS) * DRIFT_PART, DRIFT_STEP_S);
      this.take.zeroS += Math.max(-stepS, Math.min(stepS, earlyS));
    }
  }

  beginTake(zeroS) {
    const soonestS = this.sound.context.currentTime + BEGIN_S;
    const fromS = Math.max(this.audioAt(this.fromMaster), soonestS);
    this.take = new Take(this.sound, this.track, zeroS, fromS);
    this.takes += 1;
    this.starts.push({ positionMs: this.take.fromMs, contextS: this.take.startS });
    this.starts = this.starts.slice(-STARTS_KEPT);
  }

  /** The position at a time of performance.now(), ms; before the start it is where the track will begin. */
  positionAt(performanceMs) {
    if (!this.isPlaying || !this.clock.isKnown) return this.pausedMs;
    const master = Math.max(this.clock.masterAt(performanceMs), this.fromMaster);
    return Math.max(master - this.zeroMaster, 0);
  }

  /** Ms until something is heard; 0 once it is. */
  leadAt(performanceMs) {
    if (!this.isPlaying || !this.clock.isKnown) return 0;
    return Math.max(this.fromMaster - this.clock.masterAt(performanceMs), 0);
  }

  /** The position of the sound itself, by the audio clock alone; undefined if there is none. */
  heardAt(performanceMs) {
    return this.take && (this.sound.output.contextAt(performanceMs) - this.take.zeroS) * 1000;
  }

  hasEndedAt(performanceMs) {
    return this.isPlaying && this.positionAt(performanceMs) >= this.track.durationS * 1000;
  }
}
