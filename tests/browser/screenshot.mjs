// Pictures of the demo player: the one of the README into docs/images, others into target/demo to look at.

import { mkdir, writeFile } from "node:fs/promises";
import { packed } from "./png.mjs";
import { freePort, openPage, startBrowser, startServer, until } from "./world.mjs";

const README_IMAGE = "docs/images/demo.png";
const README_IMAGE_BYTES_MAX = 200_000;
const OTHERS = "target/demo";
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };
/** Where on First Light the hand looks best, ms. */
const MOMENT_MS = 26_900;

const LOOKS = [
  { name: "light", options: { viewport: DESKTOP, colorScheme: "light" } },
  { name: "dark", options: { viewport: DESKTOP, colorScheme: "dark" } },
  { name: "phone-light", options: { viewport: PHONE, deviceScaleFactor: 2, colorScheme: "light" } },
  { name: "phone-dark", options: { viewport: PHONE, deviceScaleFactor: 2, colorScheme: "dark" } },
];

await mkdir("docs/images", { recursive: true });
await mkdir(OTHERS, { recursive: true });
const server = await startServer(await freePort());
const browser = await startBrowser();

async function shoot(page, name, state) {
  await page.screenshot({ path: `${OTHERS}/${name}-${state}.png`, fullPage: name.startsWith("phone") });
}

try {
  const pages = [];
  for (const { options } of LOOKS) pages.push(await openPage(browser, `${server.url}?room=lumo-tavi`, options));
  await until(pages, "measured", (one) => one.isMeasured);
  for (const [i, page] of pages.entries()) await shoot(page, LOOKS[i].name, "idle");
  await pages[0].click("#play");
  await pages[0].mouse.move(0, 0);
  await until([pages[0]], "the lead", (one) => one.phase === "playing");
  await shoot(pages[0], LOOKS[0].name, "lead");
  await until(pages, "the moment", (one) => one.heardMs > MOMENT_MS);
  const picture = await packed(await browser.newPage(), await pages[1].screenshot());
  if (picture.length > README_IMAGE_BYTES_MAX) throw new Error(`${README_IMAGE}: ${picture.length} bytes`);
  await writeFile(README_IMAGE, picture);
  for (const [i, page] of pages.entries()) await shoot(page, LOOKS[i].name, "playing");
  await pages[3].locator("label", { hasText: "90" }).click();
  await until(pages, "the metronome", (one) => one.track.endsWith("90") && one.heardMs > 9_000);
  await shoot(pages[0], LOOKS[0].name, "metronome");
  await pages[3].locator("label", { hasText: "Paper Boats" }).click();
  await until(pages, "the waltz", (one) => one.track.endsWith("boats") && one.heardMs > 14_000);
  await shoot(pages[1], LOOKS[1].name, "waltz");
  const faults = pages.flatMap((page) => page.faults);
  if (faults.length) throw new Error(faults.join("\n"));
} finally {
  await browser.close();
  await server.end("SIGTERM");
}
