// node uws.mjs echo|broadcast|rooms PORT
import { createRequire } from 'node:module';
import uWS from '@trufflesuite/uws-js-unofficial';
import { createRooms } from './rooms.mjs';

// Without a binary for this Node the package falls back to an imitation on top of ws with a mere warning,
// which would be measured under the wrong name.
if (!Object.keys(createRequire(import.meta.url).cache).some((file) => /binaries.*\.node$/.test(file))) {
  throw new Error('no native uWebSockets.js for this Node');
}

const [app, port] = process.argv.slice(2);
const server = uWS.App();

const apps = {
  echo: {
    message: (ws, message, isBinary) => ws.send(message, isBinary),
  },

  broadcast: {
    open: (ws) => ws.subscribe('all'),
    message: (ws, message, isBinary) => server.publish('all', message, isBinary),
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
        ws.getUserData().session = rooms.open(ws);
      },
      message: (ws, message) => rooms.message(ws.getUserData().session, Buffer.from(message).toString()),
      close: (ws) => rooms.close(ws.getUserData().session),
    };
  },
};

server.ws('/*', {
  compression: uWS.DISABLED,
  maxPayloadLength: 16 << 20,
  maxBackpressure: 64 << 20,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  ...apps[app],
});
server.listen('127.0.0.1', Number(port), (socket) => {
  if (!socket) throw new Error(`cannot listen on ${port}`);
});
