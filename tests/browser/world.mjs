// What the browser's tests stand on: the release binary as a process, Chromium, pages of the demo player and waiting
// for what they report. Everything on loopback; whatever is started here is ended here.

import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { once } from "node:events";
import { chromium } from "playwright-core";

const SERVER = process.env.DOWNBEAT ?? new URL("../../target/release/downbeat", import.meta.url).pathname;
/** Longer than anything takes on a busy machine. */
const PATIENCE_MS = 30_000;
const LOOK_EACH_MS = 50;

const CHROMIUM_FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** Pages may sound at once, as where someone has used them before. */
const SOUND_AT_ONCE = "--autoplay-policy=no-user-gesture-required";

/** A port that nobody listens on just now: the server must get the same one back after it was killed. */
export async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}

/** The server on a port, once it listens. */
export async function startServer(port, flags = []) {
  const child = spawn(SERVER, ["--host", "127.0.0.1", "--port", String(port), ...flags], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  // However the test ends, the server ends with it.
  process.once("exit", () => child.kill("SIGKILL"));
  let banner = "";
  for await (const chunk of child.stdout) {
    banner += chunk;
    if (/^ {2}host /m.test(banner)) break;
  }
  if (child.exitCode !== null || !banner) throw new Error(`the server did not start: ${banner}`);
  return {
    banner,
    url: `http://127.0.0.1:${port}/`,
    async end(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill(signal);
      await once(child, "exit");
    },
  };
}

export async function startBrowser({ soundsAtOnce = true } = {}) {
  // Chromium refuses its sandbox to root, which is what CI runs as.
  const isRoot = process.getuid() === 0;
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    chromiumSandbox: !isRoot,
    args: [...CHROMIUM_FLAGS, ...(soundsAtOnce ? [SOUND_AT_ONCE] : [])],
  });
}

/** A page of the demo, as on a device of its own. Whatever goes wrong in it fails the test. */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 760 }, ...options });
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.stack ?? String(error)));
  page.on("console", (message) => {
    // A server that is being killed is part of the test.
    const isFault = message.type() === "error" && !/WebSocket connection|favicon/.test(message.text());
    if (isFault) faults.push(message.text());
  });
  await page.goto(url);
  return Object.assign(page, { faults });
}

export const report = (page) => page.evaluate(() => window.downbeat.report());
export const reports = (pages) => Promise.all(pages.map(report));

/** Looks until the reports of all pages are as they should be, and returns them. */
export async function until(pages, what, isRight) {
  const start = Date.now();
  for (;;) {
    const seen = await reports(pages);
    if (seen.every(isRight)) return seen;
    if (Date.now() - start > PATIENCE_MS) {
      throw new Error(`${what}: still ${JSON.stringify(seen.find((one, i) => !isRight(one, i)))}`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EACH_MS));
  }
}

/** How far apart the earliest and the latest are. */
export const spreadOf = (values) => Math.max(...values) - Math.min(...values);
