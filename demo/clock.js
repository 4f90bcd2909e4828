// The master clock, as this page knows it.
//
// The server's monotonic time is the only clock that all devices share. A pong says what it read between two readings
// of ours, so each round trip bounds the offset by half its length: the shortest ones say most. Nothing here waits or
// sends; `room.js` brings the samples.

const CLOCK_WINDOW_MS = 7000;
/** It is good enough to play by once it is that certain, or once two bursts of pings have brought no better. */
const CLOCK_CERTAIN_MS = 8;
const CLOCK_SAMPLES_MIN = 5;
const CLOCK_SAMPLES_ENOUGH = 14;
/** A sample may contradict the others by so much: what clocks may drift apart within the window. */
const CLOCK_SLACK_MS = 2;

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

class MasterClock {
  constructor() {
    this.reset();
  }

  /** Forgets all samples: another connection may lead to another server. The offset stays until new ones are in. */
  reset() {
    this.samples = [];
  }

  /** One round trip: our readings of performance.now() around it, the server's of both its clocks. */
  add(sentAt, receivedAt, masterMs, unixMs) {
    const middle = (sentAt + receivedAt) / 2;
    const rtt = receivedAt - sentAt;
    const offset = masterMs - middle;
    // Both this one and the estimate are sure within half their round trips: here one of the clocks has jumped.
    if (this.isReady && Math.abs(offset - this.offset) > rtt / 2 + this.uncertaintyMs + CLOCK_SLACK_MS) this.reset();
    this.samples.push({
      receivedAt,
      rtt,
      offset,
      unixOffset: unixMs - (performance.timeOrigin + middle),
    });
    // Old samples leave, since the clocks drift apart by some 50 µs a second.
    this.samples = this.samples.filter((sample) => receivedAt - sample.receivedAt < CLOCK_WINDOW_MS);
    this.estimate();
  }

  estimate() {
    const rtts = this.samples.map((sample) => sample.rtt);
    this.rttMin = Math.min(...rtts);
    this.rttMedian = median(rtts);
    const best = this.samples.filter((sample) => sample.rtt <= this.rttMin * 1.25 + 0.2);
    this.offset = median(best.map((sample) => sample.offset));
    this.unixOffset = median(best.map((sample) => sample.unixOffset));
  }

  /** A page that is still loading answers late, and would measure that as distance. */
  get isReady() {
    const { length } = this.samples;
    return length >= CLOCK_SAMPLES_ENOUGH || (length >= CLOCK_SAMPLES_MIN && this.uncertaintyMs <= CLOCK_CERTAIN_MS);
  }

  /** There has been an offset, though the connection that it came from may be gone. */
  get isKnown() {
    return this.offset !== undefined;
  }

  masterAt(performanceMs) {
    return performanceMs + this.offset;
  }

  performanceAt(masterMs) {
    return masterMs - this.offset;
  }

  /** How far the offset may be from the truth: nobody knows when within the round trip the server looked. */
  get uncertaintyMs() {
    return this.rttMin / 2;
  }

  get quality() {
    if (!this.isReady) return "measuring";
    if (this.uncertaintyMs < 2) return "excellent";
    if (this.uncertaintyMs < 8) return "good";
    return this.uncertaintyMs < 25 ? "fair" : "poor";
  }
}
