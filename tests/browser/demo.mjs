// The demo player in several pages of a real browser: whatever is pressed in one, all of them start within 30 ms.
//
//   node --test tests/browser/demo.mjs     after `cargo build --release`; scripts/demo-test.sh does both
//
// Every page says by its own audio clock when its sound began and when its position 0 was, on the Unix clock that all
// pages of this machine share.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { freePort, openPage, report, reports, spreadOf, startBrowser, startServer, until } from "./world.mjs";

const APART_MAX_MS = 30;
/** After a kill the position must be what it would have been, as far as the server's clock is the same again. */
const SHIFT_MAX_MS = 100;

const port = await freePort();
const folder = mkdtempSync(join(tmpdir(), "downbeat-demo-"));
const flags = ["--admin", "off", "--backup-dir", folder, "--backup-interval-ms", "500"];
let server = await startServer(port, flags);
const browser = await startBrowser();
const room = `${server.url}?room=test-${port}`;
const pages = [];
const spreads = [];

after(async () => {
  await browser.close();
  await server.end("SIGTERM");
  rmSync(folder, { recursive: true });
  console.log(`apart, ms: ${spreads.map(([what, ms]) => `${what} ${ms.toFixed(2)}`).join(", ")}`);
});

const isSounding = (seen) => seen.heardMs > 300 && seen.peak > 0;

/** Asserts that what the pages report is so little apart. */
function assertTogether(what, values) {
  const apart = spreadOf(values);
  spreads.push([what, apart]);
  assert.ok(apart <= APART_MAX_MS, `${what}: ${apart.toFixed(2)} ms apart: ${values}`);
}

/** Waits until all pages have begun once more than they had, and asserts that they did so together. */
async function startsTogether(what, before, positionMs) {
  const hasBegun = (one, i) => one.takes > before[i].takes && one.heardMs > positionMs + 300 && one.peak > 0;
  const seen = await until(pages, what, hasBegun);
  const starts = seen.map((one) => one.starts.at(-1));
  assertTogether(what, starts.map((start) => start.unixMs));
  assertTogether(`${what}, position 0`, seen.map((one) => one.zeroUnixMs));
  starts.forEach((start) => assert.ok(Math.abs(start.positionMs - positionMs) < APART_MAX_MS, `at ${start.positionMs}`));
  return seen;
}

/** Clicks on the disc at a part of its turn, which seeks there. */
async function clickDisc(page, turn) {
  const { x, y, width } = await page.locator("#canvas").boundingBox();
  const angle = (turn - 0.25) * 2 * Math.PI;
  await page.mouse.click(x + width / 2 + Math.cos(angle) * width * 0.4, y + width / 2 + Math.sin(angle) * width * 0.4);
}

test("three devices meet in a room and measure the clock", async () => {
  for (let i = 0; i < 3; i++) pages.push(await openPage(browser, room));
  await until(pages, "measured", (one) => one.isMeasured && one.audio === "running" && one.devices >= 1);
  const [first] = await until([pages[0]], "three devices", (one) => one.devices === 3);
  assert.equal(first.phase, "idle");
});

test("play pressed in one starts all on the same beat", async () => {
  const before = await reports(pages);
  await pages[1].click("#play");
  const seen = await startsTogether("play", before, 0);
  seen.forEach((one) => assert.ok(one.leadMs > 500, `a lead of ${one.leadMs} ms`));
});

test("a late joiner falls in", async () => {
  pages.push(await openPage(browser, room));
  const seen = await until(pages, "late joiner", isSounding);
  assertTogether("late joiner", seen.map((one) => one.zeroUnixMs));
  assert.ok(seen[3].starts[0].positionMs > 0);
});

test("pause, by a key, stops all at the same place", async () => {
  await pages[2].keyboard.press(" ");
  const seen = await until(pages, "silence", (one) => one.phase === "paused" && one.peak < 1e-3);
  assert.equal(spreadOf(seen.map((one) => one.positionMs)), 0);
});

test("seek while paused moves all, and resume starts all from there", async () => {
  await clickDisc(pages[0], 0.25);
  const before = await until(pages, "sought", (one) => one.positionMs === 20_000);
  await pages[3].click("#play");
  await startsTogether("resume", before, 20_000);
});

test("seek while playing moves all at once", async () => {
  const before = await reports(pages);
  await clickDisc(pages[2], 0.75);
  await startsTogether("seek", before, 60_000);
});

test("another track is started for all", async () => {
  const before = await reports(pages);
  await pages[0].locator("label", { hasText: "120" }).click();
  const seen = await startsTogether("metronome", before, 0);
  seen.forEach((one) => assert.equal(one.track, "synth:metronome-120"));
});

test("after a kill -9 all come back and play on together", async () => {
  // Long enough for the server to have written down what it plays.
  const before = await until(pages, "a while", (one) => one.heardMs > 3000);
  await server.end("SIGKILL");
  await until(pages, "the loss is noticed", (one) => !one.isOpen);
  const during = await reports(pages);
  during.forEach((one, i) => assert.ok(one.heardMs > before[i].heardMs, "sound goes on without a server"));
  server = await startServer(port, flags);
  const back = await until(pages, "reconnected", (one) => one.isOpen && one.isMeasured && one.phase !== "preparing");
  assert.ok(back.every((one) => one.phase === "playing"), `they play by themselves: ${back.map((one) => one.phase)}`);
  const seen = await until(pages, "restored", isSounding);
  assertTogether("restored", seen.map((one) => one.zeroUnixMs));
  seen.forEach((one, i) => {
    const shift = one.zeroUnixMs - before[i].zeroUnixMs;
    assert.ok(Math.abs(shift) <= SHIFT_MAX_MS, `page ${i} is ${shift.toFixed(1)} ms off where it would have been`);
  });
});

test("a page that may not sound yet asks for a touch, and falls in", async () => {
  const strict = await startBrowser({ soundsAtOnce: false });
  try {
    const page = await openPage(strict, room);
    await page.locator("#play[data-icon=listen]").waitFor();
    assert.equal((await report(page)).audio, "suspended");
    // As long as a finger stays: the sound is unlocked before the click comes.
    await page.click("#play", { delay: 150 });
    const seen = await until([page, pages[0]], "the touched page", isSounding);
    assertTogether("after a touch", seen.map((one) => one.zeroUnixMs));
    assert.deepEqual(page.faults, []);
    assert.equal((await report(pages[0])).phase, "playing", "its touch stopped nobody");
  } finally {
    await strict.close();
  }
});

test("another window opens the same room", async () => {
  const [popup] = await Promise.all([pages[0].waitForEvent("popup"), pages[0].click("#window")]);
  await popup.waitForFunction(() => window.downbeat);
  const seen = await until([popup, pages[0]], "the window", isSounding);
  assert.equal(seen[0].room, seen[1].room);
  assertTogether("another window", seen.map((one) => one.zeroUnixMs));
  await popup.close();
});

test("another room is another room", async () => {
  const [page] = pages.slice(-1);
  await page.fill("#join-code", "elsewhere");
  await page.press("#join-code", "Enter");
  const [seen] = await until([page], "elsewhere", (one) => one.room === "elsewhere" && one.isOpen && one.isMeasured);
  assert.equal(seen.phase, "idle");
  assert.equal(new URL(page.url()).searchParams.get("room"), "elsewhere");
  await until([pages[0]], "one has left", (one) => one.devices === 3 && one.phase === "playing");
});

test("nothing went wrong in any page", () => {
  pages.forEach((page) => assert.deepEqual(page.faults, []));
});
