// Sound: an AudioContext whose clock is tied to performance.now(), and the instruments.
//
// A note is given the time at which it is to be *heard*. What the context plays now is heard a little later (by the
// buffers of browser, system and loudspeaker); getOutputTimestamp() says which sample is heard when, and from that
// the two clocks are tied together. Its readings jitter by a buffer's length, their median over two seconds does not.

const OUTPUT_SAMPLES_MIN = 10;
const OUTPUT_SAMPLES_MAX = 50;
/** Further off than this for several readings in a row, the device was changed or slept. */
const OUTPUT_JUMP_MS = 20;

class OutputClock {
  constructor(context) {
    this.context = context;
    this.reset();
  }

  reset() {
    this.samples = [];
    this.strangers = [];
    this.offset = undefined;
  }

  /** Takes a reading; to be called some twenty times a second while the context runs. */
  read() {
    const sample = this.reading();
    if (sample === undefined) return;
    if (this.isReady && Math.abs(sample - this.offset) > OUTPUT_JUMP_MS) {
      this.strangers.push(sample);
      if (this.strangers.length < OUTPUT_SAMPLES_MIN) return;
      this.samples = this.strangers;
    } else {
      this.samples.push(sample);
    }
    this.strangers = [];
    this.samples = this.samples.slice(-OUTPUT_SAMPLES_MAX);
    this.offset = median(this.samples);
  }

  /** performance.now() at the moment when the context's time 0 was heard, by one reading. */
  reading() {
    const { contextTime, performanceTime } = this.context.getOutputTimestamp?.() ?? {};
    const isPlausible = contextTime > 0 && Math.abs(performanceTime - performance.now()) < 1000;
    if (isPlausible) return performanceTime - contextTime * 1000;
    const { currentTime, outputLatency, baseLatency } = this.context;
    if (currentTime === 0) return undefined;
    return performance.now() - (currentTime - (outputLatency || baseLatency || 0)) * 1000;
  }

  get isReady() {
    return this.samples.length >= OUTPUT_SAMPLES_MIN;
  }

  /** The context's time, in s, of what is heard at a time of performance.now(). */
  contextAt(performanceMs) {
    return (performanceMs - this.offset) / 1000;
  }

  performanceAt(contextS) {
    return contextS * 1000 + this.offset;
  }
}

const frequencyOf = (pitch) => 440 * 2 ** ((pitch - 69) / 12);

class Sound {
  constructor() {
    this.context = new AudioContext({ latencyHint: "interactive" });
    this.output = new OutputClock(this.context);
    this.volume = new GainNode(this.context, { gain: 0 });
    this.analyser = new AnalyserNode(this.context, { fftSize: 1024, smoothingTimeConstant: 0.5 });
    this.volume.connect(this.analyser).connect(this.context.destination);
    this.noise = this.makeNoise(1);
    this.hall = new ConvolverNode(this.context, { buffer: this.makeHall(1.6) });
    this.hall.connect(this.volume);
    this.wave = new Float32Array(this.analyser.fftSize);
  }

  /** Sound comes out. Until someone has touched the page, browsers keep a context suspended. */
  get isRunning() {
    return this.context.state === "running" && this.output.isReady;
  }

  get isSuspended() {
    return this.context.state !== "running";
  }

  /** To be called while a click or a key is handled. */
  unlock() {
    if (this.isSuspended) this.context.resume().catch(() => {});
  }

  setVolume(volume) {
    // Loudness is heard by ratios, so half of the way is a quarter of the amplitude.
    this.volume.gain.setTargetAtTime(volume ** 2, this.context.currentTime, 0.02);
  }

  /** What is heard just now, as a wave from -1 to 1. */
  readWave() {
    this.analyser.getFloatTimeDomainData(this.wave);
    return this.wave;
  }

  /** A bus of its own for what is to be silenced together. */
  makeBus() {
    const bus = new GainNode(this.context);
    const send = new GainNode(this.context, { gain: 0.22 });
    const warm = new BiquadFilterNode(this.context, { type: "lowpass", frequency: 1500, Q: 0.4 });
    bus.connect(this.volume);
    bus.connect(send).connect(this.hall);
    warm.connect(bus);
    return { bus, send, warm };
  }

  /** Fades a bus out at a time of the context, without a click, and lets go of it. */
  silence({ bus, send, warm }, at) {
    const now = this.context.currentTime;
    const from = Math.max(at, now);
    bus.gain.cancelScheduledValues(0);
    bus.gain.setValueAtTime(1, from);
    bus.gain.linearRampToValueAtTime(0, from + 0.012);
    setTimeout(() => [bus, send, warm].forEach((node) => node.disconnect()), (from - now) * 1000 + 200);
  }

  /** Plays a note of a track at a time of the context. */
  play(note, at, lengthS, bus) {
    INSTRUMENTS[note.voice](this, { at, lengthS, bus, strength: note.strength, frequency: frequencyOf(note.pitch) });
  }

  /** An oscillator that swells to `peak` within `attackS` and has faded `decayS` later. */
  tone({ type = "sine", frequency, at, attackS = 0.003, holdS = 0, decayS, peak, detune = 0, into }) {
    const oscillator = new OscillatorNode(this.context, { type, frequency, detune });
    oscillator.connect(this.envelope(at, attackS, holdS, decayS, peak, into));
    oscillator.start(at);
    oscillator.stop(at + attackS + holdS + decayS + 0.02);
    return oscillator;
  }

  /** A burst of filtered noise. */
  hiss({ at, frequency, q, decayS, peak, into }) {
    const source = new AudioBufferSourceNode(this.context, { buffer: this.noise });
    const filter = new BiquadFilterNode(this.context, { type: "bandpass", frequency, Q: q });
    source.connect(filter).connect(this.envelope(at, 0.002, 0, decayS, peak, into));
    source.start(at, (frequency % 97) / 100, decayS + 0.05);
  }

  envelope(at, attackS, holdS, decayS, peak, into) {
    const gain = new GainNode(this.context, { gain: 0 });
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(peak, at + attackS);
    gain.gain.setValueAtTime(peak, at + attackS + holdS);
    gain.gain.exponentialRampToValueAtTime(peak / 1000, at + attackS + holdS + decayS);
    gain.connect(into);
    return gain;
  }

  makeNoise(seconds) {
    const buffer = new AudioBuffer({ length: seconds * this.context.sampleRate, sampleRate: this.context.sampleRate });
    buffer.getChannelData(0).forEach((_, i, samples) => (samples[i] = Math.random() * 2 - 1));
    return buffer;
  }

  /** A hall: noise that dies away, other in each ear. */
  makeHall(seconds) {
    const { sampleRate } = this.context;
    const length = Math.floor(seconds * sampleRate);
    const buffer = new AudioBuffer({ length, sampleRate, numberOfChannels: 2 });
    for (const channel of [0, 1]) {
      const samples = buffer.getChannelData(channel);
      for (let i = 0; i < length; i++) samples[i] = (Math.random() * 2 - 1) * (1 - i / length) ** 3;
    }
    return buffer;
  }
}

/** How each voice sounds. `bus` is one of makeBus(). */
const INSTRUMENTS = {
  bell(sound, { at, lengthS, bus, strength, frequency }) {
    const into = bus.bus;
    const decayS = Math.max(lengthS, 0.5) * 1.5;
    sound.tone({ frequency, at, decayS, peak: 0.21 * strength, into });
    sound.tone({ frequency: frequency * 2.005, at, decayS: decayS * 0.6, peak: 0.06 * strength, into });
    sound.tone({ frequency: frequency * 5.4, at, decayS: 0.09, peak: 0.035 * strength, into });
  },
  harp(sound, { at, bus, strength, frequency }) {
    const into = bus.warm;
    sound.tone({ type: "triangle", frequency, at, decayS: 0.6, peak: 0.17 * strength, into });
    sound.tone({ frequency: frequency * 2, at, decayS: 0.25, peak: 0.05 * strength, into });
  },
  pad(sound, { at, lengthS, bus, strength, frequency }) {
    const shape = { type: "triangle", frequency, at, attackS: 0.35, peak: 0.045 * strength, into: bus.warm };
    const holdS = Math.max(lengthS - 0.55, 0.05);
    for (const detune of [-5, 5]) sound.tone({ ...shape, detune, holdS, decayS: 0.9 });
  },
  bass(sound, { at, lengthS, bus, strength, frequency }) {
    const decayS = Math.max(lengthS, 0.3) * 1.3;
    sound.tone({ frequency, at, attackS: 0.008, decayS, peak: 0.24 * strength, into: bus.bus });
    // The octave is what small loudspeakers have of it.
    const octave = frequency * 2;
    sound.tone({ type: "triangle", frequency: octave, at, attackS: 0.008, decayS, peak: 0.1 * strength, into: bus.warm });
  },
  kick(sound, { at, bus, strength }) {
    const drum = sound.tone({ frequency: 110, at, decayS: 0.28, peak: 0.42 * strength, into: bus.bus });
    drum.frequency.setValueAtTime(110, at);
    drum.frequency.exponentialRampToValueAtTime(44, at + 0.11);
  },
  rim(sound, { at, bus, strength }) {
    sound.hiss({ at, frequency: 1900, q: 3, decayS: 0.07, peak: 0.2 * strength, into: bus.bus });
    sound.tone({ type: "triangle", frequency: 410, at, decayS: 0.05, peak: 0.08 * strength, into: bus.bus });
  },
  shaker(sound, { at, bus, strength }) {
    sound.hiss({ at, frequency: 7200, q: 1.2, decayS: 0.06, peak: 0.08 * strength, into: bus.bus });
  },
  click(sound, { at, bus, strength, frequency }) {
    const into = bus.bus;
    sound.tone({ type: "triangle", frequency, at, attackS: 0.001, decayS: 0.07, peak: 0.5 * strength, into });
    sound.tone({ frequency: frequency * 2.7, at, attackS: 0.001, decayS: 0.03, peak: 0.18 * strength, into });
    sound.hiss({ at, frequency: 3200, q: 2, decayS: 0.02, peak: 0.2 * strength, into });
  },
};
