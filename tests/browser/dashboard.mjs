// The dashboard in headless Chromium. Against the mock unless DASHBOARD_URL names a server's admin port (DASHBOARD_TOKEN
// its token); then the checks that only the mock can feed are left out, and a room is made through the server's own port.
// Any violation of the content security policy, any error on the console and any request to another origin fails it.
//   node tests/browser/dashboard.mjs                          CHROMIUM: the browser, /usr/bin/chromium if unset
//   node tests/browser/dashboard.mjs --screenshot FILE.png    a desktop's view of the mock, and no checks
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { HOSTILE, startMock } from './dashboard-mock.mjs';

const PAGE_BYTES_MAX = 100_000;
const server = process.env.DASHBOARD_URL?.replace(/\/$/, '');
const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: flags });

// A page that takes down whatever must not happen. `expected` are console errors that a check provokes: Chromium reports
// every answer of 400 and above.
async function open(url, { width = 1280, height = 900, dark = false, expected = [], hash = '/', touch = false, reducedMotion = 'no-preference' } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', hasTouch: touch, reducedMotion });
  const page = await context.newPage(), faults = [];
  await context.exposeBinding('reportViolation', (_, text) => faults.push(`policy: ${text}`));
  await context.addInitScript(token => {
    if (token) sessionStorage.setItem('downbeat-token', token);
    addEventListener('securitypolicyviolation', event => window.reportViolation(`${event.violatedDirective} ${event.blockedURI}`));
  }, server && url === server ? process.env.DASHBOARD_TOKEN : null);
  page.on('console', message => { if (['error', 'warning'].includes(message.type()) && !expected.some(pattern => pattern.test(message.text()))) faults.push(`console: ${message.text()}`); });
  page.on('pageerror', error => faults.push(`uncaught: ${error.stack}`));
  page.on('request', request => { const { protocol, origin } = new URL(request.url()); if (protocol !== 'data:' && origin !== url) faults.push(`request: ${request.url()}`); });
  page.on('dialog', async dialog => { faults.push(`dialog: ${dialog.message()}`); await dialog.dismiss(); });
  await page.goto(url + hash);
  return { page, context, faults, async close() { const pwned = await page.evaluate(() => window.pwned); await context.close(); assert.equal(pwned, undefined, 'a planted string was executed'); assert.deepEqual(faults, []); } };
}
const state = (page, word) => page.locator('#state-word').filter({ hasText: word }).waitFor();
const until = (page, condition, argument) => page.waitForFunction(condition, argument, { timeout: 10_000 });
const pixels = (page, selector) => page.evaluate(chosen => [...document.querySelectorAll(chosen)].map(canvas => canvas.toDataURL()), selector);
const isWithin = page => page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);

async function withMock(options, work) {
  const mock = await startMock({ tick_ms: 150, ...options });
  try { await work(mock); } finally { await mock.close(); }
}
// Both of them hold for the mock and for a server.
async function overviewIsAlive(url) {
  const view = await open(url), { page } = view;
  await state(page, 'Ready');
  const lanes = await page.locator('canvas.lane').count();
  assert.ok(lanes >= 1);
  const before = await pixels(page, 'canvas.lane');
  await until(page, images => [...document.querySelectorAll('canvas.lane')].every((canvas, lane) => canvas.toDataURL() !== images[lane]), before);
  assert.match(await page.locator('#version').innerText(), /^v\d/);
  assert.match(await page.locator('#figures').innerText(), /Connections\s+[\d,]+/);
  const unnamed = await page.evaluate(() => [...document.querySelectorAll('canvas[role=img]:not([aria-label]), button:not([aria-label]), a')].filter(node => node.offsetParent && !node.getAttribute('aria-label') && !node.textContent.trim()).map(node => node.outerHTML));
  assert.deepEqual(unnamed, []);
  const { headers } = await page.request.get(`${url}/`).then(answer => ({ headers: answer.headers() }));
  const policy = headers['content-security-policy'] ?? '';
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|\*/);
  await view.close();
  return lanes;
}
async function fitsEverywhere(url, hashes) {
  for (const dark of [false, true]) for (const width of [360, 820, 1280]) {
    const view = await open(url, { width, height: 740, dark, touch: width === 360 });
    await state(view.page, 'Ready');
    for (const hash of hashes) {
      await view.page.evaluate(next => { location.hash = next; }, hash);
      await view.page.locator(hash === '#/' ? '#overview' : '#room-body').waitFor();
      if (hash === '#/') await until(view.page, () => !document.querySelector('#rooms-table').hidden || !document.querySelector('#rooms-empty').hidden || document.querySelector('#rooms-section').hidden);
      assert.ok(await isWithin(view.page), `${hash} scrolls sideways at ${width} px`);
      assert.ok((await view.page.locator('#drain-open').boundingBox()).height >= (width === 360 ? 36 : 24));
    }
    await view.close();
  }
}

const checks = {
  'the page is one small file without a script or a style but its own': async () => {
    const text = readFileSync(new URL('../../src/admin/dashboard.html', import.meta.url), 'utf8');
    assert.ok(Buffer.byteLength(text) < PAGE_BYTES_MAX);
    assert.equal(text.match(/nonce="\{nonce\}"/g).length, 2);
    assert.equal(text.match(/\{nonce\}/g).length, 2);
    // The first is a namespace, which nothing is fetched from.
    assert.deepEqual([...new Set(text.match(/https?:\/\/[^\s'"]+/g))], ['http://www.w3.org/2000/svg']);
    assert.doesNotMatch(text.replace(/<(script|style)[^]*?<\/\1>/g, ''), /\s(on\w+|style)=/);
    assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function/);
  },
  'lanes move, for 1, 4 and 16 cores': async () => {
    for (const cores of [1, 4, 16]) await withMock({ cores }, async mock => assert.equal(await overviewIsAlive(mock.url), cores));
  },
  'ring health is told only where it is not well, and a core that does not answer makes the state': async () => withMock({ cores: 4 }, async mock => {
    const view = await open(mock.url), { page } = view;
    await page.locator('tr.flags:visible').first().waitFor();
    assert.deepEqual(await page.locator('tr.flags:visible').allInnerTexts().then(texts => texts.map(text => text.trim())), ['Core 1 ran out of receive buffers 3 times.', 'Core 2 respawned 1 time since the start.']);
    mock.control.unanswering = 3;
    await state(page, 'Core 3 does not answer');
    assert.match(await page.title(), /Core 3 does not answer/);
    await page.getByRole('button', { name: 'Core 0' }).press('Enter');
    await page.getByText('Completions an enter').waitFor();
    await view.close();
  }),
  'percentiles, sync, refusals and the snapshot are shown with their units': async () => withMock({ history: 600 }, async mock => {
    const view = await open(mock.url), { page } = view;
    await until(page, () => document.querySelectorAll('#refusals tr').length === 5);
    assert.equal(await page.locator('#heat td.now').count(), 10);
    for (const text of await page.locator('#heat td.now').allInnerTexts()) assert.match(text, /^(–|[\d.]+ (µs|ms|s))$/);
    for (const title of ['Start skew', 'Drift', 'Time to ready', 'Round trip, by the kernel', 'Round trip, by devices']) assert.match(await page.locator('#sync tr').filter({ hasText: title }).first().innerText(), /[\d.]+ m?s/);
    assert.match(await page.locator('#snapshot').innerText(), /Generation\s+\d+/);
    assert.equal(await page.locator('#spans [aria-pressed=true]').innerText(), '10 min');
    // The whole strip is painted: ten minutes came with the first read.
    assert.ok(await page.locator('.strip').first().evaluate(canvas => { const row = canvas.getContext('2d').getImageData(0, 4, canvas.width, 1).data; let painted = 0; for (let x = 3; x < row.length; x += 4) painted += row[x] > 0; return painted / canvas.width > 0.95; }));
    await page.locator('.strip').first().hover();
    await until(page, () => /ago\np50\s+\d/.test(document.querySelector('#tip').textContent));
    await view.close();
  }),
  'nothing is drawn while the page is hidden, and nothing is forgotten': async () => withMock({}, async mock => {
    const view = await open(mock.url), { page } = view;
    await state(page, 'Ready');
    await page.evaluate(() => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => window.isHidden }); window.isHidden = true; window.drawn = 0; const fill = CanvasRenderingContext2D.prototype.fillRect; CanvasRenderingContext2D.prototype.fillRect = function (...box) { window.drawn += 1; return fill.apply(this, box); }; });
    // What was queued before is drawn.
    await page.evaluate(() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve))));
    const kept = await page.evaluate(() => { window.drawn = 0; return past.length; }), asked = mock.control.asked.length;
    await until(page, length => past.length >= length + 4, kept);
    assert.equal(await page.evaluate(() => window.drawn), 0);
    assert.deepEqual(mock.control.asked.slice(asked).filter(line => line.includes('/api/rooms')), []);
    await page.evaluate(() => { window.isHidden = false; document.dispatchEvent(new Event('visibilitychange')); });
    await until(page, () => window.drawn > 0);
    await view.close();
  }),
  'rooms are searched after a pause in the typing, sorted and paged': async () => withMock({ hostile: true }, async mock => {
    const view = await open(mock.url), { page } = view;
    await page.locator('#rooms tr').nth(24).waitFor();
    assert.match(await page.locator('#rooms-text').innerText(), /3,000 rooms/);
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText('26 to 50 of 3,000').waitFor();
    await page.keyboard.press('/');
    const asked = mock.control.asked.length;
    await page.keyboard.type('held-', { delay: 15 });
    await page.getByText('1 room matches').waitFor();
    assert.equal(await page.locator('#rooms tr').count(), 1);
    assert.ok(mock.control.asked.slice(asked).filter(line => /search=[^&]/.test(line)).length <= 2);
    await page.locator('#search').fill('no such code');
    await page.getByText('No room’s code has that in it.').waitFor();
    await page.locator('#search').fill('');
    await page.locator('#rooms tr').nth(24).waitFor();
    await page.getByRole('button', { name: 'State' }).click();
    await until(page, () => document.querySelector('#rooms tr .badge')?.dataset.is === 'starting');
    assert.equal(await page.locator('#rooms-head [aria-sort]').getAttribute('aria-sort'), 'ascending');
    await page.getByRole('button', { name: 'Out of sync' }).click();
    await until(page, () => Number(document.querySelector('#rooms tr .off')?.textContent) > 0);
    await view.close();
  }),
  'a room shows who holds the start, and its position runs between two answers': async () => withMock({}, async mock => {
    const view = await open(mock.url, { expected: [/404/] }), { page } = view;
    await page.locator('#search').fill('HELD');
    await page.getByRole('link', { name: 'HELD-UP' }).click();
    await page.getByText('Waiting for u3, u9.').waitFor();
    assert.equal(await page.evaluate(() => location.hash), '#/rooms/HELD-UP');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'room-code');
    assert.deepEqual(await page.locator('#devices .ready-no').allInnerTexts(), ['awaited', 'awaited']);
    assert.match(await page.locator('#devices tr').first().innerText(), /^u3\s/);
    assert.match(await page.locator('#devices').innerText(), /u1 · host/);
    await page.getByRole('link', { name: 'All rooms' }).click();
    await page.locator('#overview').waitFor();
    const playing = mock.rooms.find(room => room.state === 'playing' && room.members > 20);
    await page.evaluate(code => { location.hash = `#/rooms/${code}`; }, playing.code);
    await until(page, code => document.querySelector('#room-code').textContent === code && /\d:\d\d/.test(document.querySelector('#room-position').textContent), playing.code);
    // Several widths for one answer.
    await until(page, () => {
      if (window.answer !== room.heard) { window.answer = room.heard; window.widths = new Set(); }
      return window.widths.add(document.querySelector('#room-meter span').style.width).size >= 4;
    });
    assert.ok((await page.locator('#devices tr').count()) > 20);
    // A room that ends says so, and what was known of it stays, greyed.
    mock.rooms.splice(mock.rooms.indexOf(playing), 1);
    await page.getByText('There is no such room now.').waitFor();
    await page.goto(`${mock.url}/#/rooms/%E0%A4%A`);
    await page.getByText('There is no such room now.').waitFor();
    await view.close();
  }),
  'what strangers wrote stays text': async () => withMock({ hostile: true }, async mock => {
    const view = await open(mock.url, { expected: [/404/, /400/] }), { page } = view;
    await page.locator('#rooms tr').nth(24).waitFor();
    const shown = await page.locator('#rooms a').evaluateAll(links => links.map(link => link.textContent));
    for (const code of HOSTILE.codes) assert.ok(shown.includes(code), code);
    assert.ok((await page.locator('#snapshot').innerText()).includes(HOSTILE.error));
    for (const code of HOSTILE.codes) {
      const link = await page.locator('#rooms a').evaluateAll((links, wanted) => links.find(candidate => candidate.textContent === wanted).getAttribute('href'), code);
      await page.evaluate(hash => { location.hash = hash; }, link);
      await until(page, wanted => document.querySelector('#room-code').textContent === wanted, code);
      if (code === '..') await page.getByText('A browser cannot ask for a room of this name.').waitFor(); else await page.locator('#devices tr').first().waitFor();
      assert.deepEqual(await page.evaluate(() => [...document.querySelectorAll('main img, main script, main iframe, main b b, main [onmouseover], main [onload], main [onerror]')].length), 0);
      if (code === HOSTILE.codes[0]) {
        const names = () => page.locator('#devices .user span.wild').evaluateAll(nodes => nodes.map(node => node.textContent));
        const users = await names();
        await page.locator('#devices-next').click();
        users.push(...await names());
        for (const user of HOSTILE.users) assert.ok(users.includes(typeof user === 'string' ? user : user === null ? 'nobody' : JSON.stringify(user)), `${JSON.stringify(user)} is missing`);
        await page.getByRole('button', { name: 'User' }).click();
        assert.ok((await page.locator('#room-facts').innerText()).includes('javascript:window.pwned=7'));
        assert.equal(await page.locator('a[href^=javascript]').count(), 0);
      }
      await page.evaluate(() => { location.hash = '#/'; });
      await page.locator('#rooms a').first().waitFor();
    }
    await view.close();
  }),
  'a drain takes a typed word, is refused aloud, and then shows its progress to the end': async () => withMock({ drain_s: 3 }, async mock => {
    const view = await open(mock.url, { expected: [/409/, /ERR_/] }), { page } = view;
    await state(page, 'Ready');
    mock.control.refuseDrain = true;
    await page.getByRole('button', { name: 'Drain…' }).click();
    const go = page.getByRole('button', { name: 'Drain', exact: true });
    assert.ok(await go.isDisabled());
    await page.keyboard.press('Enter');
    await page.keyboard.type('drai');
    assert.ok(await go.isDisabled());
    assert.ok(!mock.control.asked.includes('POST /api/drain'));
    await page.keyboard.type('n');
    await go.click();
    await page.locator('#drain-error').filter({ hasText: 'It was refused: </script>' }).waitFor();
    mock.control.refuseDrain = false;
    await go.click();
    await state(page, 'Draining');
    assert.ok(!(await page.locator('#drain-dialog').isVisible()));
    assert.ok(!(await page.locator('#drain-open').isVisible()));
    await until(page, () => Number(document.querySelector('#drain-meter').getAttribute('aria-valuenow')) > 20);
    assert.match(await page.locator('#drain').innerText(), /[\d,]+ of 40,000 connections left[^]*\/s of at most 10,000\/s[^]*about \d+ s to go, until \d\d:\d\d:\d\d/);
    await page.getByText('every connection has left').waitFor();
    await mock.close();
    await state(page, 'Drained and gone');
    await view.close();
  }),
  'a token is asked for, kept for the tab and sent with everything': async () => withMock({ token: 'sesame' }, async mock => {
    const view = await open(mock.url, { expected: [/401/] }), { page } = view;
    await page.getByLabel('Token', { exact: true }).fill('wrong');
    await page.getByRole('button', { name: 'Show the dashboard' }).click();
    await page.getByText('That token was refused.').waitFor();
    await page.getByLabel('Token', { exact: true }).fill('sesame');
    await page.keyboard.press('Enter');
    await state(page, 'Ready');
    await page.locator('#rooms tr').first().waitFor();
    assert.ok(!(await page.locator('#token-dialog').isVisible()));
    await page.reload();
    await state(page, 'Ready');
    assert.ok(!page.url().includes('sesame'));
    await view.close();
  }),
  'silence is told and greyed, and a server that comes back is found again': async () => {
    const mock = await startMock({ tick_ms: 150 });
    const view = await open(mock.url, { expected: [/ERR_/] }), { page } = view;
    await state(page, 'Ready');
    mock.control.silent = true;
    await state(page, 'No word');
    await until(page, () => /for \d+ s/.test(document.querySelector('#state-since').textContent) && document.body.classList.contains('stale'));
    mock.control.silent = false;
    await state(page, 'Ready');
    await until(page, () => !document.body.classList.contains('stale'));
    await mock.close();
    await state(page, 'Not answering');
    assert.ok(await page.evaluate(() => document.body.classList.contains('stale')));
    const next = await startMock({ tick_ms: 150, port: mock.port, cores: 2 });
    try {
      await page.evaluate(() => document.querySelector('#again').click());
      await state(page, 'Ready');
      await until(page, () => document.querySelectorAll('canvas.lane').length === 2);
      await view.close();
    } finally { await next.close(); }
  },
  'with nothing to show it says so': async () => withMock({ quiet: true }, async mock => {
    const view = await open(mock.url), { page } = view;
    for (const text of ['No rooms yet.', 'Nothing was refused', 'No snapshot:', 'nothing measured lately']) await page.getByText(text).waitFor();
    await view.close();
  }),
  'nothing scrolls sideways on a phone, a tablet or a desktop, light or dark': async () => {
    await withMock({ hostile: true, cores: 16, connections: 2_400_000 }, async mock => fitsEverywhere(mock.url, ['#/', '#/rooms/HELD-UP', `#/rooms/${encodeURIComponent(HOSTILE.codes[0])}`, `#/rooms/${encodeURIComponent(HOSTILE.codes[6])}`]));
  },
  'both palettes have the contrast of WCAG AA': async () => withMock({}, async mock => {
    const grounds = [];
    for (const dark of [false, true]) {
      const view = await open(mock.url, { dark, reducedMotion: 'reduce' });
      const found = await view.page.evaluate(() => {
        const style = getComputedStyle(document.documentElement), channels = name => { const context = document.createElement('canvas').getContext('2d'); context.fillStyle = style.getPropertyValue(name).trim(); context.fillRect(0, 0, 1, 1); return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)]; };
        const light = name => { const [red, green, blue] = channels(name).map(value => { const part = value / 255; return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; }); return 0.2126 * red + 0.7152 * green + 0.0722 * blue; };
        const ratio = (one, other) => { const [high, low] = [light(one), light(other)].sort((a, b) => b - a); return (high + 0.05) / (low + 0.05); };
        return { ground: channels('--paper').join(), ratios: [['--ink', '--paper'], ['--soft', '--paper'], ['--accent', '--paper'], ['--alert', '--paper'], ['--alert', '--alert-ground'], ['--soft', '--alert-ground'], ['--ink', '--fill'], ['--soft', '--sunk'], ['--on-alert', '--alert']].map(pair => [pair.join(' on '), ratio(...pair)]) };
      });
      for (const [pair, ratio] of found.ratios) assert.ok(ratio >= 4.5, `${pair} has ${ratio.toFixed(2)} in ${dark ? 'dark' : 'light'}`);
      grounds.push(found.ground);
      await view.close();
    }
    assert.notEqual(grounds[0], grounds[1]);
  }),
};

// Three devices join a room through the server's own port and one of them presses play; only it says that it is ready, so
// the start is held up for 5.5 s by the two others.
const serverChecks = {
  'the page is one small file without a script or a style but its own': checks['the page is one small file without a script or a style but its own'],
  'lanes move': async () => { await overviewIsAlive(server); },
  'nothing scrolls sideways on a phone, a tablet or a desktop, light or dark': async () => fitsEverywhere(server, ['#/']),
  'a room made through the server’s port is found, and shows who holds its start': async () => {
    const code = `<b onmouseover="window.pwned=1">${Date.now().toString(36)}</b>`;
    const view = await open(server, { expected: [/404/] }), { page } = view;
    await state(page, 'Ready');
    const headers = process.env.DASHBOARD_TOKEN ? { Authorization: `Bearer ${process.env.DASHBOARD_TOKEN}` } : {};
    const { port } = await page.request.get(`${server}/api/stats`, { headers }).then(answer => answer.json());
    const devices = await browser.newContext().then(context => context.newPage());
    await devices.evaluate(async ({ origin, code }) => {
      window.sockets = await Promise.all(['u1', 'u2', 'u3'].map(userId => new Promise((resolve, reject) => {
        const socket = new WebSocket(`ws://${origin}/ws/sync?roomCode=${encodeURIComponent(code)}&userId=${userId}`);
        socket.onerror = () => reject(new Error('no connection'));
        socket.onopen = () => socket.send(JSON.stringify({ type: 'join', roomCode: code, userId, hostId: 'u1' }));
        socket.onmessage = ({ data }) => {
          const message = JSON.parse(data);
          if (message.type === 'joined') resolve(socket);
          if (message.type === 'PREPARE_TRACK' && userId === 'u1') socket.send(JSON.stringify({ type: 'device_health_check_response', roomCode: code, checkId: message.checkId, audioLoaded: true, deviceReady: true, rttMs: 12 }));
        };
      })));
      window.play = () => window.sockets[0].send(JSON.stringify({ type: 'PLAY', roomCode: code, audioUrl: 'https://media.example/1.mp3', duration: 187.5 }));
    }, { origin: `${new URL(server).hostname}:${port}`, code });
    await page.locator('#search').fill(code.slice(-12));
    await page.getByRole('link', { name: code }).click();
    await until(page, () => document.querySelectorAll('#devices tr').length === 3);
    assert.match(await page.locator('#devices').innerText(), /u1 · host/);
    await devices.evaluate(() => window.play());
    await page.getByText('Waiting for u2, u3.').waitFor();
    assert.match(await page.locator('#hold-count').innerText(), /1 of 3 devices are ready/);
    await page.locator('#room-badge').filter({ hasText: 'playing' }).waitFor();
    await devices.context().close();
    await page.getByText('There is no such room now.').waitFor();
    await view.close();
  },
  'the drain dialog opens and goes without draining': async () => {
    const view = await open(server), { page } = view;
    await state(page, 'Ready');
    await page.getByRole('button', { name: 'Drain…' }).click();
    assert.ok(await page.getByRole('button', { name: 'Drain', exact: true }).isDisabled());
    await page.keyboard.press('Escape');
    await state(page, 'Ready');
    await view.close();
  },
};

// What ends the server is done only if asked for: DASHBOARD_DRAIN=1, and a server whose --drain-rate is 50.
if (process.env.DASHBOARD_DRAIN) serverChecks['a drain shows its progress to the end, and ends the server'] = async () => {
  const CLIENTS = 200;
  const view = await open(server, { expected: [/ERR_/] }), { page } = view;
  await state(page, 'Ready');
  const { port } = await page.request.get(`${server}/api/stats`).then(answer => answer.json());
  const devices = await browser.newContext().then(context => context.newPage());
  await devices.evaluate(async ({ origin, count }) => {
    window.closes = [];
    await Promise.all(Array.from({ length: count }, () => new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://${origin}/`);
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error('no connection'));
      socket.onclose = ({ code }) => window.closes.push(code);
    })));
  }, { origin: `${new URL(server).hostname}:${port}`, count: CLIENTS });
  await page.getByRole('button', { name: 'Drain…' }).click();
  await page.keyboard.type('drain');
  await page.getByRole('button', { name: 'Drain', exact: true }).click();
  await state(page, 'Draining');
  await until(page, () => { const gone = Number(document.querySelector('#drain-meter').getAttribute('aria-valuenow')); return gone > 20 && gone < 90; });
  assert.match(await page.locator('#drain').innerText(), new RegExp(`\\d+ of ${CLIENTS} connections left[^]*/s of at most 50/s`));
  await state(page, 'Drained and gone');
  await until(devices, count => window.closes.length === count, CLIENTS);
  assert.ok(await devices.evaluate(() => window.closes.every(code => code === 1001)));
  await devices.context().close();
  await view.close();
};

async function screenshot(file) {
  await withMock({ history: 600, cores: 4, tick_ms: 1000 }, async mock => {
    const view = await open(mock.url, { height: 1240 });
    await state(view.page, 'Ready');
    await view.page.locator('#rooms tr').first().waitFor();
    await view.page.evaluate(() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve))));
    await view.page.screenshot({ path: file });
    await view.close();
  });
}

let failed = 0;
if (process.argv[2] === '--screenshot') await screenshot(process.argv[3]);
else {
  for (const [name, check] of Object.entries(server ? serverChecks : checks)) {
    if (process.argv[2] && !name.includes(process.argv[2])) continue;
    const began = performance.now();
    try { await check(); console.log(`ok    ${name} (${((performance.now() - began) / 1000).toFixed(1)} s)`); } catch (error) { failed += 1; console.log(`FAIL  ${name}\n${error.stack}`); }
  }
}
await browser.close();
process.exitCode = failed ? 1 : 0;
