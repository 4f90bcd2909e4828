// What can be played: metronomes and two tunes, written out as notes.
//
// A track is a loop of bars that goes round a fixed number of times. A note is {at, length} in ms from the loop's
// start, a voice of `audio.js`, a MIDI pitch and a strength from 0 to 1. Melodies are written in eighths: a name
// begins a note, `-` holds it, `.` is silence. Chords are written one a bar: the bass, then the tones above it.

const SEMITONES = { C: 0, D: 2, E: 4, F: 5, G: 7, A: 9, B: 11 };

/** `F#5` is 78. */
const pitchOf = (name) => {
  const [, letter, sharp, octave] = /^([A-G])(#?)(\d)$/.exec(name);
  return 12 * (Number(octave) + 1) + SEMITONES[letter] + (sharp ? 1 : 0);
};

const words = (text) => text.trim().split(/\s+/);
const barsOf = (text) => text.split("|").map(words);

/** A loop of `bars` bars, with `rounds` of which the track ends. */
function makeTrack({ id, title, detail, bpm, beats, bars, rounds, notes }) {
  const beatMs = 60000 / bpm;
  const loopMs = beatMs * beats * bars;
  return {
    title,
    detail,
    bpm,
    beats,
    beatMs,
    loopMs,
    audioUrl: `synth:${id}`,
    // As the real clients send it: seconds.
    durationS: (loopMs * rounds) / 1000,
    notes: notes(beatMs).sort((a, b) => a.at - b.at),
  };
}

function metronome(bpm) {
  const click = (beat, beatMs) => ({
    at: beat * beatMs,
    length: 60,
    voice: "click",
    pitch: beat % 4 ? 84 : 91,
    strength: beat % 4 ? 0.6 : 1,
  });
  return makeTrack({
    id: `metronome-${bpm}`,
    title: `Metronome ${bpm}`,
    detail: `${bpm} beats a minute, an accent on each fourth`,
    bpm,
    beats: 4,
    // Sixty beats, like the face of a clock.
    bars: 15,
    rounds: 120,
    notes: (beatMs) => Array.from({ length: 60 }, (_, beat) => click(beat, beatMs)),
  });
}

/** The notes of a melody, each bar in eighths. */
function melodyNotes(bars, eighthMs) {
  const notes = [];
  bars.flat().forEach((word, eighth) => {
    if (word === "-") notes.at(-1).length += eighthMs;
    else if (word !== ".") {
      const strength = eighth % 2 ? 0.66 : 0.82;
      notes.push({ at: eighth * eighthMs, length: eighthMs, voice: "bell", pitch: pitchOf(word), strength });
    }
  });
  return notes;
}

/** Bass, held chords, and a harp that goes up and down the tones in eighths. */
function chordNotes(bars, eighths, eighthMs, harpFrom) {
  return bars.flatMap(([bass, ...names], bar) => {
    const tones = names.map(pitchOf);
    const at = (eighth) => (bar * eighths + eighth) * eighthMs;
    const held = tones.map((pitch) => ({ at: at(0), length: eighths * eighthMs, voice: "pad", pitch, strength: 0.5 }));
    const low = [0, (eighths >> 1) + 1].map((eighth, second) => ({
      at: at(eighth),
      length: (second ? eighths - eighth : eighth + (eighths >> 1)) * eighthMs,
      voice: "bass",
      pitch: pitchOf(bass),
      strength: second ? 0.6 : 0.85,
    }));
    const wave = [0, 1, 2, 1];
    const harp = Array.from({ length: bar < harpFrom ? 0 : eighths }, (_, eighth) => ({
      at: at(eighth),
      length: eighthMs,
      voice: "harp",
      pitch: tones[wave[eighth % 4] % tones.length] + 12,
      strength: eighth % 4 ? 0.32 : 0.45,
    }));
    return [...held, ...low, ...harp];
  });
}

/** One bar's pattern over the bars from `from` to before `to`: a letter per eighth, small ones soft. */
function drumNotes(pattern, from, to, eighthMs) {
  const voices = { k: "kick", r: "rim", s: "shaker" };
  return pattern.flatMap((row) => {
    const hits = [...row.replaceAll(" ", "")];
    return Array.from({ length: to - from }, (_, bar) => hits.map((hit, eighth) => ({ hit, bar, eighth })))
      .flat()
      .filter(({ hit }) => hit !== ".")
      .map(({ hit, bar, eighth }) => ({
        at: ((from + bar) * hits.length + eighth) * eighthMs,
        length: 80,
        voice: voices[hit.toLowerCase()],
        pitch: 0,
        strength: hit === hit.toLowerCase() ? 0.4 : 0.8,
      }));
  });
}

const FIRST_LIGHT_CHORDS = `
  D2 F#3 A3 E4  | B1 A3 D4 F#4  | G1 F#3 B3 D4  | A1 A3 D4 E4  | F#1 A3 D4 E4 | E2 G3 B3 D4  | G1 B3 D4 F#4 | A1 A3 D4 G4 |
  D2 F#3 A3 E4  | B1 A3 D4 F#4  | G1 F#3 B3 D4  | A1 A3 C#4 E4 | F#1 A3 D4 E4 | E2 G3 B3 D4  | G1 B3 D4 F#4 | A1 A3 C#4 G4 |
  B1 F#3 B3 D4  | F#1 E3 A3 C#4 | G1 G3 B3 D4   | D2 F#3 A3 D4 | E2 G3 B3 D4  | B1 F#3 A3 D4 | G1 G3 B3 F#4 | A1 A3 C#4 E4 |
  D2 F#3 A3 E4  | B1 A3 D4 F#4  | G1 F#3 B3 D4  | A1 A3 D4 E4  | F#1 A3 D4 E4 | E2 G3 B3 D4  | A1 G3 B3 D4  | D2 F#3 A3 D4`;

const FIRST_LIGHT_MELODY = `
  F#5 - - E5 D5 - A4 -  | B4 - - - D5 - E5 -    | F#5 - - G5 F#5 - D5 - | E5 - - - . . A4 B4   |
  D5 - - E5 F#5 - A5 -  | G5 - F#5 - E5 - D5 -  | B4 - - D5 F#5 - E5 D5 | E5 - - - - - . .     |
  F#5 - - E5 D5 - A4 D5 | B4 - - - D5 - E5 F#5  | G5 - - A5 F#5 - D5 -  | E5 - - - . . A5 B5   |
  D6 - - B5 A5 - F#5 -  | G5 - A5 - F#5 - E5 -  | D5 - - E5 F#5 - A5 -  | E5 - D5 - E5 - - -   |
  B5 - - A5 F#5 - - -   | A5 - - F#5 E5 - - -   | D5 - E5 - F#5 - G5 -  | F#5 - - - A4 - - -   |
  B5 - - A5 G5 - - -    | F#5 - - E5 D5 - - -   | E5 - F#5 - G5 - B5 -  | A5 - - - - - - -     |
  F#5 - - E5 D5 - A4 -  | B4 - - - D5 - E5 -    | F#5 - - G5 F#5 - D5 - | E5 - - - . . A4 B4   |
  D5 - - E5 F#5 - A5 -  | B5 - A5 - F#5 - E5 -  | D5 - - B4 E5 - - D5   | D5 - - - - - . .`;

const PAPER_BOATS_CHORDS = `
  A1 C4 E4 G4 | A1 C4 E4 A4 | F1 A3 C4 E4 | F1 A3 C4 F4  | C2 G3 C4 E4 | C2 G3 B3 E4 | G1 G3 B3 D4 | G1 G3 B3 D4 |
  A1 C4 E4 G4 | A1 C4 E4 A4 | D2 A3 D4 F4 | D2 A3 C4 F4  | F1 A3 C4 E4 | G1 B3 D4 F4 | C2 G3 C4 E4 | E2 G#3 B3 D4 |
  F1 A3 C4 E4 | G1 B3 D4 G4 | C2 G3 C4 E4 | A1 A3 C4 E4  | D2 A3 C4 F4 | E2 G#3 B3 D4 | A1 A3 C4 E4 | A1 A3 C4 E4`;

const PAPER_BOATS_MELODY = `
  E5 - - - A4 -  | C5 - - - B4 -   | A4 - - - C5 -  | F5 - - - E5 -  | G5 - - - E5 -  | D5 - E5 - D5 - | B4 - - - - -   | . . G4 - B4 -  |
  E5 - - - A5 -  | G5 - E5 - C5 -  | D5 - - - F5 -  | A5 - G5 - F5 - | E5 - - - C5 -  | D5 - - - B4 -  | C5 - - - E5 -  | B4 - - - . .   |
  A5 - G5 - E5 - | B5 - - - D5 -   | G5 - - - E5 -  | C5 - - - E5 -  | F5 - - - D5 -  | E5 - D5 - B4 - | A4 - - - - -   | A4 - - - . .`;

const TRACKS = [
  makeTrack({
    id: "first-light",
    title: "First Light",
    detail: "bells, harp, a slow sunrise in D",
    bpm: 96,
    beats: 4,
    bars: 32,
    rounds: 24,
    notes: (beatMs) => [
      ...chordNotes(barsOf(FIRST_LIGHT_CHORDS), 8, beatMs / 2, 4),
      ...melodyNotes(barsOf(FIRST_LIGHT_MELODY), beatMs / 2),
      ...drumNotes(["S.s.S.s."], 4, 8, beatMs / 2),
      ...drumNotes(["K... k...", "..R. ..R.", "sSsS sSsS"], 8, 24, beatMs / 2),
      ...drumNotes(["k... ....", "s.S. s.S."], 24, 31, beatMs / 2),
    ],
  }),
  makeTrack({
    id: "paper-boats",
    title: "Paper Boats",
    detail: "a small waltz in A minor",
    bpm: 132,
    beats: 3,
    bars: 24,
    rounds: 48,
    notes: (beatMs) => [
      ...chordNotes(barsOf(PAPER_BOATS_CHORDS), 6, beatMs / 2, 8),
      ...melodyNotes(barsOf(PAPER_BOATS_MELODY), beatMs / 2),
      ...drumNotes(["K.....", "..r.r.", ".s.s.s"], 8, 24, beatMs / 2),
    ],
  }),
  ...[60, 90, 120, 160].map(metronome),
];

const trackOf = (audioUrl) => TRACKS.find((track) => track.audioUrl === audioUrl);

/** The index of the first note at or after `ms` in the loop, which is the number of notes if there is none. */
function firstNoteFrom(track, ms) {
  let [low, high] = [0, track.notes.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (track.notes[middle].at < ms) low = middle + 1;
    else high = middle;
  }
  return low;
}
