//! A client's WebSocket, which is tungstenite's, and the clock that it goes by.

use crate::model::Clock;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// Longer than any frame takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket of a client.
pub(super) type Socket = WebSocket<TcpStream>;

/// The time, as a server says it whose clocks lie this far apart.
pub(super) fn now(epoch_us: i64) -> Clock {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_us = unix.as_micros() as i64;
    Clock { master_us: unix_us - epoch_us, unix_us }
}

/// A connection, upgraded.
pub(super) fn open(port: u16, path: &str) -> Result<Socket, String> {
    let try_open = || -> Result<Socket, Box<dyn std::error::Error>> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request = format!("ws://127.0.0.1:{port}{path}").into_client_request()?;
        Ok(tungstenite::client(request, stream).map_err(|error| error.to_string())?.0)
    };
    try_open().map_err(|error| format!("cannot connect: {error}"))
}

/// The next text message; pings are answered on the way.
pub(super) fn read(socket: &mut Socket) -> Result<String, String> {
    loop {
        match socket.read().map_err(|error| error.to_string())? {
            Message::Text(text) => return Ok(text.as_str().to_owned()),
            Message::Ping(_) | Message::Pong(_) => {}
            other => return Err(format!("{other:?}")),
        }
    }
}
