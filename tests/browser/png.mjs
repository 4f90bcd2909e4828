// A picture as a small PNG: without the noise that browsers draw gradients with, which nobody sees, and packed as
// tightly as zlib can, which browsers do not.

import { crc32, deflateSync } from "node:zlib";

/** Colours are rounded to multiples of this. */
const STEP = 3;

/** A PNG (RFC 2083) of a PNG, both as bytes. `page` is any page: a browser reads pictures. */
export async function packed(page, png) {
  const { width, height, colors } = await page.evaluate(read, png.toString("base64"));
  const pixels = Buffer.from(colors, "base64");
  const rows = Buffer.alloc(height * (1 + 3 * width));
  let to = 0;
  for (let from = 0; from < pixels.length; from += 4) {
    // Each row begins with its filter, 0 for none: flat colours pack best as they are.
    if ((from / 4) % width === 0) to++;
    for (let channel = 0; channel < 3; channel++) {
      rows[to++] = Math.min(Math.round(pixels[from + channel] / STEP) * STEP, 255);
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // 8 bits for each of red, green and blue.
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const data = deflateSync(rows, { level: 9 });
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", data), chunk("IEND", Buffer.alloc(0))]);
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "ascii"), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}

/** In the page: a picture's pixels. */
async function read(base64) {
  const image = Object.assign(new Image(), { src: `data:image/png;base64,${base64}` });
  await image.decode();
  const { width, height } = image;
  const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  let text = "";
  for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
  return { width, height, colors: btoa(text) };
}
