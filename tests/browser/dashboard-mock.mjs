// A server of the admin port's contract with believable data that moves: what the dashboard is built and tested against.
//   node tests/browser/dashboard-mock.mjs [--port 9600] [--cores 4] [--rooms 3000] [--connections 40000] [--token WORD]
//     [--history 600] [--quiet] [--hostile] [--tick-ms 1000] [--drain-s 20]
// `--history` sends so many past seconds at once, `--quiet` has no rooms and nothing measured, `--hostile` plants strings
// that attackers would choose. It is no model of Downbeat: the figures only have to be possible.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const page = fileURLToPath(new URL('../../src/admin/dashboard.html', import.meta.url));

export const HOSTILE = {
  codes: [
    '<img src=x onerror="window.pwned=1">',
    '"><script>window.pwned=2</script>',
    "'; window.pwned=3; //",
    '\u202egnp.exe\u202c \u2066back\u2069',
    'a/b?c=d#e%2f..\\..',
    '<svg/onload=window.pwned=4>&lt;b&gt;',
    `LONG-${'W'.repeat(250)}`,
    '__proto__',
    '..',
  ],
  users: ['<b onmouseover="window.pwned=5">bold</b>', '{{constructor.constructor("window.pwned=6")()}}', '\u202eresu', 'constructor', `u${'M'.repeat(200)}`, 7, null, { toString: 1, valueOf: '<i>' }, ['<u>']],
  track: 'javascript:window.pwned=7//<img src=x onerror=window.pwned=8>',
  error: '</script><script>window.pwned=9</script> No space left on device',
};

function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 4294967296;
  };
}

function makeRooms(options, dice, hostId) {
  const letters = 'ABCDEFGHJKLMNPQRSTUVWXYZ23456789';
  const rooms = [];
  const codes = options.hostile ? HOSTILE.codes.slice() : [];
  const weights = Array.from({ length: options.rooms }, (_, index) => 1 / (index + 6) ** 0.55);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  for (let index = 0; index < options.rooms; index += 1) {
    let code = codes.shift();
    while (code === undefined || rooms.some(room => room.code === code)) code = Array.from({ length: 6 }, () => letters[Math.floor(dice() * letters.length)]).join('');
    const roll = dice();
    const state = roll < 0.7 ? 'playing' : roll < 0.88 ? 'paused' : 'empty';
    const duration_ms = 120_000 + Math.floor(dice() * 180_000);
    rooms.push({
      code, core: Math.floor(dice() ** 1.15 * options.cores), members: Math.max(1, Math.round(options.connections * weights[index] / sum)), state, duration_ms,
      offset_ms: dice() * duration_ms, audio_url: options.hostile && index < 3 ? HOSTILE.track : `https://media.example/tracks/${(1000 + index * 7919) % 9973}.mp3`, off: dice() < 0.01 ? 1 : 0, seed: Math.floor(dice() * 1e9), host: hostId,
    });
  }
  // One room in which a start is held up, always under the same code.
  if (rooms.length > 12) Object.assign(rooms[11], { code: 'HELD-UP', state: 'starting', members: 12, host: 'u1', off: 0 });
  return rooms;
}

export async function startMock(given = {}) {
  const options = { port: 0, cores: 4, rooms: 3000, connections: 40_000, token: '', history: 0, quiet: false, hostile: false, tick_ms: 1000, drain_s: 20, uptime_s: 187_400, ...given };
  if (options.quiet) Object.assign(options, { rooms: 0, connections: 0 });
  const dice = random(7);
  const rooms = makeRooms(options, dice, 'u1');
  const streams = new Set();
  // What a test changes while the page looks.
  const control = { silent: false, drain: null, snapshotError: options.hostile ? HOSTILE.error : null, ringTrouble: options.cores > 1 && !options.quiet, unanswering: null, refuseDrain: false, asked: [] };
  const started = Date.now() - options.uptime_s * 1000;
  let step = options.history;

  function summary(seed, p50, spread, events, isRtt = false) {
    if (options.quiet) return null;
    const wave = 1 + 0.08 * Math.sin(step / 23 + seed), at = factor => Math.round(p50 * wave * factor * (0.95 + 0.1 * dice()) * 100) / 100;
    const values = [at(1), at(spread), at(spread ** 2.1), at(spread ** 2.9), at(spread ** 3.6)].sort((one, other) => one - other);
    return { count: Math.round(events), p50: values[0], p90: values[1], p99: values[2], ...(isRtt ? {} : { p99_9: values[3] }), max: values[4] };
  }

  function statsAt(now) {
    step += 1;
    const gone = control.drain ? Math.min(1, (now - control.drain.since) / (options.drain_s * 1000)) : 0;
    const connections = Math.round(options.connections * (1 - gone) * (1 + 0.012 * Math.sin(step / 60)));
    // Every few minutes a burst: a large room presses play.
    const burst = Math.exp(-(((step % 170) - 40) ** 2) / 18) + 0.6 * Math.exp(-(((step % 233) - 150) ** 2) / 40);
    const share = Array.from({ length: options.cores }, (_, core) => 1 + 0.28 * Math.sin(core * 2.4 + 1)), sum = share.reduce((total, part) => total + part, 0);
    const cores = share.map((part, core) => {
      const own = connections * part / sum, busy = options.quiet ? 0 : own * (1 + 0.1 * Math.sin(step / 17 + core * 1.7)) * (0.94 + 0.12 * dice());
      const spike = burst * (core % 3 === 0 ? 1 : 0.35), messages = busy * 4.7, load = options.quiet ? 0.3 + dice() * 0.3 : Math.min(99, busy / (options.connections / options.cores) * 38 + spike * 34 + dice() * 3);
      return {
        core, cpu: core, respawns: control.ringTrouble && core === 2 ? 1 : 0, is_answering: control.unanswering !== core,
        connections: Math.round(own), rooms: rooms.filter(room => room.core === core).length, load_percent: load,
        messages_per_s: messages, deliveries_per_s: messages * (1.9 + spike), received_bytes_per_s: messages * 96, sent_bytes_per_s: messages * 410,
        turns_per_s: options.quiet ? 2.1 : 8_900 + 900 * dice(), enters_per_s: options.quiet ? 2.1 : 8_900 + 900 * dice(), completions_per_enter: options.quiet ? 1 : 5 + dice(), mesh_batches_per_s: options.cores > 1 && !options.quiet ? 800 + dice() * 90 : 0,
        turn_us: options.quiet ? null : { p50: 38 + 6 * dice(), p99: 290 + 90 * dice() + spike * 900, max: 800 + 400 * dice() + spike * 3000 },
        outbox_bytes_behind: options.quiet ? 0 : Math.floor(dice() * 90_000), ring: { armed: Math.round(own * 0.93), resting: Math.round(own * 0.07), buffers_exhausted: control.ringTrouble && core === 1 ? 3 : 0, overflows: 0 },
      };
    });
    const add = key => cores.reduce((total, core) => total + core[key], 0);
    return {
      version: '0.1.0', now_unix_ms: now, uptime_s: (now - started) / 1000, environment: 'production', app: 'rooms', port: 6001, pid: 1234, connections_max: Math.max(19_900, options.connections * 2), memory: { resident_bytes: 8_123_456 + connections * 1_180 },
      drain: drainAt(now), snapshot: options.quiet ? null : { generation: 17 + Math.floor(step / 10), age_s: step % 10 + 0.2, rooms: rooms.length, bytes: rooms.length * 81, took_ms: 1.5 + dice() * 0.4, failures: control.snapshotError ? 2 : 0, error: control.snapshotError },
      totals: { connections: add('connections'), rooms: rooms.length, messages_per_s: add('messages_per_s'), deliveries_per_s: add('deliveries_per_s'), received_bytes_per_s: add('received_bytes_per_s'), sent_bytes_per_s: add('sent_bytes_per_s') },
      cores, refusals: options.quiet ? {} : { heads: 41, origins: 1_208 + Math.floor(step / 9), commands_excess: 312 + Math.floor(step / 40), floods: 6, outboxes_stalled: 2 },
      latency_us: { dwell: summary(1, 58 * (1 + burst * 4), 1.9, add('messages_per_s')), handshake: step % 47 > 40 ? null : summary(2, 420 * (1 + burst), 1.8, 30 + dice() * 40) },
      sync: { start_skew_ms: summary(6, 21, 1.6, 180, true), drift_ms: summary(5, 13, 2.3, 20_000, true), ready_ms: summary(4, 410, 1.7, 4_200, true), rtt_ms: summary(3, 34, 1.75, 38_000, true), reported_rtt_ms: summary(8, 47, 1.8, 4_100, true), out_of_sync: options.quiet ? 0 : Math.max(0, Math.round(6 + 4 * Math.sin(step / 31) + burst * 18)) },
    };
  }
  function drainAt(now) {
    if (!control.drain) return null;
    const since_s = (now - control.drain.since) / 1000, of = control.drain.of;
    return { since_s, left: Math.max(0, Math.round(of * (1 - since_s / options.drain_s))), of, rate_per_s: 10_000 };
  }

  const playsAt = (room, now) => (room.offset_ms + (now - started)) % room.duration_ms;
  function line(room, now) {
    const hasTrack = room.state !== 'empty';
    return {
      code: room.code, core: room.core, members: room.members, state: room.state, position_ms: room.state === 'playing' ? playsAt(room, now) : room.state === 'paused' ? room.offset_ms : 0,
      duration_ms: hasTrack ? room.duration_ms : null, audio_url: hasTrack ? room.audio_url : null, out_of_sync: room.off,
    };
  }
  function whole(room, now) {
    const own = random(room.seed), held = room.code === 'HELD-UP', shown = Math.min(room.members, 1000);
    const members_list = Array.from({ length: shown }, (_, index) => {
      const name = options.hostile && room.code.startsWith('<img') && index < HOSTILE.users.length ? HOSTILE.users[index] : `u${index + 1}`;
      const still = held && (index === 2 || index === 8);
      const base = (own() + own() + own() - 1.5) * 60, offset = room.off && index === 1 ? 612 : base + 4 * Math.sin(now / 3000 + index);
      return { ws_id: `w${room.seed.toString(36)}${index.toString(36).padStart(3, '0')}`.slice(0, 12), user: name, core: Math.floor(own() * options.cores), ready: held ? !still : true, is_host: index === 0, rtt_ms: still ? null : 8 + own() * 90, drift_ms: room.state === 'playing' && !(index % 17 === 16) ? offset : null, owed_bytes: own() < 0.03 ? 18_400 : 0 };
    });
    return { ...line(room, now), host: room.host, starting: held ? { since_ms: now % 8_800, ready: 10, of: 12, check_id: 'c-1', waiting_for: ['u3', 'u9'] } : null, members_list, members_truncated: room.members > shown };
  }

  const event = (kind, data) => `event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`;
  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://mock');
    const answer = (status, body, headers = {}) => { response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', ...headers }); response.end(JSON.stringify(body)); };
    if (url.pathname === '/' && request.method === 'GET') {
      const nonce = randomBytes(16).toString('base64');
      response.writeHead(200, {
        'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer',
        'Content-Security-Policy': `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      });
      response.end(readFileSync(page, 'utf8').replaceAll('{nonce}', nonce));
      return;
    }
    if (url.pathname === '/healthz') { response.end('ok'); return; }
    if (options.token && request.headers.authorization !== `Bearer ${options.token}`) { answer(401, { error: 'a token is needed' }, { 'WWW-Authenticate': 'Bearer' }); return; }
    control.asked.push(`${request.method} ${request.url}`);
    const now = Date.now();
    if (url.pathname === '/api/events') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
      if (options.history) {
        const kept = step;
        step = 0;
        for (let second = options.history; second > 0; second -= 1) response.write(event('stats', statsAt(now - second * 1000)));
        step = kept;
      }
      if (!control.silent) response.write(event('stats', statsAt(now)));
      streams.add(response);
      response.on('close', () => streams.delete(response));
    } else if (url.pathname === '/api/stats') answer(200, statsAt(now));
    else if (url.pathname === '/api/rooms') {
      const search = (url.searchParams.get('search') ?? '').toLowerCase(), limit = Math.min(1000, Math.max(1, Number(url.searchParams.get('limit') ?? 100)));
      const found = rooms.filter(room => room.code.toLowerCase().includes(search)).sort((one, other) => other.members - one.members);
      answer(200, { rooms: found.slice(0, limit).map(room => line(room, now)), total: found.length, truncated: found.length > limit });
    } else if (url.pathname.startsWith('/api/rooms/')) {
      const code = decodeURIComponent(url.pathname.slice('/api/rooms/'.length)), room = rooms.find(candidate => candidate.code === code);
      if (room) answer(200, whole(room, now)); else answer(404, { error: 'no such room' });
    } else if (url.pathname === '/api/drain' && request.method === 'POST') {
      if (control.refuseDrain) { answer(409, { error: HOSTILE.error }); return; }
      control.drain ??= { since: now, of: options.connections };
      for (const stream of streams) stream.write(event('drain', drainAt(now)));
      answer(202, { draining: true });
    } else answer(404, { error: 'nothing here' });
  });
  const timer = setInterval(() => {
    if (control.silent || streams.size === 0) return;
    const text = event('stats', statsAt(Date.now()));
    for (const stream of streams) stream.write(text);
  }, options.tick_ms);
  await new Promise((resolve, reject) => { server.once('error', reject); server.listen(options.port, '127.0.0.1', resolve); });
  return {
    url: `http://127.0.0.1:${server.address().port}`, control, rooms, options, port: server.address().port,
    async close() { clearInterval(timer); for (const stream of streams) stream.destroy(); const closed = new Promise(resolve => server.close(resolve)); server.closeAllConnections(); await closed; },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const number = { type: 'string' };
  const { values } = parseArgs({ options: { port: number, cores: number, rooms: number, connections: number, history: number, token: number, 'tick-ms': number, 'drain-s': number, quiet: { type: 'boolean' }, hostile: { type: 'boolean' } } });
  const given = {};
  for (const [name, value] of Object.entries(values)) given[name.replaceAll('-', '_')] = typeof value === 'string' && name !== 'token' ? Number(value) : value;
  const mock = await startMock(given);
  console.log(mock.url);
}
