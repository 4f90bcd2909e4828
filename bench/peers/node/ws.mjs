// node ws.mjs echo|broadcast|rooms PORT
import { createRooms } from './rooms.mjs';

// A neighbour among the dependencies brings the optional natives along, and ws would pick them up. Its own
// README calls them opt-in, so the peer is ws as `npm install ws` gives it.
process.env.WS_NO_BUFFER_UTIL = '1';
process.env.WS_NO_UTF_8_VALIDATE = '1';
const { WebSocket, WebSocketServer } = await import('ws');

const [app, port] = process.argv.slice(2);
const { OPEN } = WebSocket;

const apps = {
  echo() {
    return (ws) => ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  },

  broadcast(wss) {
    return (ws) => ws.on('message', (data, isBinary) => {
      const options = { binary: isBinary };
      for (const client of wss.clients) {
        if (client.readyState === OPEN) client.send(data, options);
      }
    });
  },

  rooms() {
    const asText = { binary: false };
    const rooms = createRooms({
      send: (ws, text) => ws.send(text),
      publish(room, text) {
        // Encoded once: ws would turn a string into bytes anew for each receiver.
        const data = Buffer.from(text);
        for (const { conn } of room.members) {
          if (conn.readyState === OPEN) conn.send(data, asText);
        }
      },
      publishOthers(session, room, text) {
        const data = Buffer.from(text);
        for (const member of room.members) {
          if (member !== session && member.conn.readyState === OPEN) member.conn.send(data, asText);
        }
      },
      enter() {},
      leave() {},
    });
    return (ws) => {
      const session = rooms.open(ws);
      ws.on('message', (data) => rooms.message(session, data.toString()));
      ws.on('close', () => rooms.close(session));
    };
  },
};

const wss = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(port),
  // Thousands of clients arrive at once; Node's default backlog of 511 would cost some of them a retry.
  backlog: 4096,
  perMessageDeflate: false,
  maxPayload: 16 << 20,
});
const serve = apps[app](wss);
wss.on('connection', (ws) => {
  // A reset connection is an 'error', which unheard would end the process; its 'close' follows anyway.
  ws.on('error', () => {});
  serve(ws);
});
