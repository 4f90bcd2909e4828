// bun bun.mjs echo|broadcast|rooms PORT
import { createRooms } from './rooms.mjs';

const [app, port] = process.argv.slice(2);
let server;

const apps = {
  echo: {
    message: (ws, message) => void ws.send(message),
  },

  broadcast: {
    open: (ws) => ws.subscribe('all'),
    message: (ws, message) => void server.publish('all', message),
  },

  get rooms() {
    const rooms = createRooms({
      send: (ws, text) => ws.send(text),
      publish: (room, text) => server.publish(room.code, text),
      publishOthers: (session, room, text) => session.conn.publish(room.code, text),
      enter: (session, room) => session.conn.subscribe(room.code),
      leave: (session, room) => session.conn.unsubscribe(room.code),
    });
    return {
      open(ws) {
        ws.data.session = rooms.open(ws);
      },
      message: (ws, message) => rooms.message(ws.data.session, typeof message === 'string' ? message : message.toString()),
      close: (ws) => rooms.close(ws.data.session),
    };
  },
};

server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(port),
  fetch(request, server) {
    if (server.upgrade(request, { data: { session: null } })) return;
    return new Response(null, { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 16 << 20,
    backpressureLimit: 64 << 20,
    idleTimeout: 0,
    sendPings: false,
    ...apps[app],
  },
});
