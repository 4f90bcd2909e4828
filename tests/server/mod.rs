//! A server in this process, on a free loopback port, and tungstenite clients for it.
//!
//! tungstenite is the independent judge of our codec. Whoever waits here waits for a condition, with a
//! deadline that only a failure reaches.

#![allow(dead_code, reason = "each test crate uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use downbeat::clock::Clock;
use downbeat::config::{Config, Host};
use downbeat::published::Figures;
use downbeat::server::{self, Listeners, Notify, Running};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket, client::IntoClientRequest};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub type Client = WebSocket<TcpStream>;

/// A running server; it must stop cleanly.
pub struct Server {
    running: Option<Running>,
}

/// A configuration for tests: loopback, any port.
pub fn config(cores: usize) -> Config {
    Config { port: 0, cores, host: Host::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)), ..Config::default() }
}

impl Server {
    pub fn start(config: &Config) -> Server {
        let connections_max = config.connections_max.unwrap_or(10_000);
        let notify: Notify = Arc::new(|_| ());
        let listeners = Listeners::bind(config).unwrap();
        let running = server::start(config, listeners, connections_max, None, Clock::start(), &notify);
        Server { running: Some(running.unwrap()) }
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub fn port(&self) -> u16 {
        self.running().port()
    }

    /// The ports on which each core alone is reached, if the configuration has them; but the first is the common port.
    pub fn core_ports(&self) -> &[u16] {
        self.running().core_ports()
    }

    pub fn tcp(&self) -> TcpStream {
        tcp(self.port())
    }

    pub fn connect(&self, path: &str) -> Client {
        connect(self.port(), path)
    }

    /// The figures of all shards added up. A shard publishes when it parks, so a figure may be a moment old:
    /// await what has to come, with [`Server::await_total`].
    pub fn total(&self, figure: impl Fn(&Figures) -> u64) -> u64 {
        self.running().figures().iter().map(figure).sum()
    }

    /// Waits until the published figures are as they should be.
    pub fn await_total(&self, what: &str, figure: impl Fn(&Figures) -> u64, is_right: impl Fn(u64) -> bool) {
        let start = Instant::now();
        while !is_right(self.total(&figure)) {
            assert!(start.elapsed() < PATIENCE, "{what}: still {}", self.total(&figure));
            std::thread::yield_now();
        }
    }

    /// Every open connection has its receive armed.
    pub fn await_all_armed(&self, connections: u64) {
        self.await_total("sockets", |it| it.driver.sockets, |sockets| sockets == connections);
        self.await_total(
            "armed receives",
            |it| it.driver.armed + it.driver.queued,
            |armed| armed == connections,
        );
    }

    /// Writes, and waits until the server has received: what is written next is in another of its receives. For one
    /// connection at a time, since any completion counts.
    pub fn deliver(&self, stream: &mut TcpStream, bytes: &[u8]) {
        let before = self.total(|it| it.ring.completions);
        stream.write_all(bytes).unwrap();
        self.await_total("completions", |it| it.ring.completions, |completions| completions > before);
    }

    pub fn stop(mut self) {
        let faults = self.running.take().unwrap().stop();
        assert_eq!(faults, Vec::<String>::new());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let faults = running.stop();
            assert!(faults.is_empty() || std::thread::panicking(), "{faults:?}");
        }
    }
}

pub fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn connect(port: u16, path: &str) -> Client {
    let request = format!("ws://127.0.0.1:{port}{path}").into_client_request().unwrap();
    tungstenite::client(request, tcp(port)).unwrap().0
}

pub fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text)).unwrap();
}

pub fn join(client: &mut Client, room: &str, user: &str) {
    say(client, &format!(r#"{{"type":"join","roomCode":"{room}","userId":"{user}","hostId":"host"}}"#));
}

/// The next text message; pings are answered on the way.
pub fn hear(client: &mut Client) -> serde_json::Value {
    loop {
        match client.read().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// The next text message of a type; others are skipped.
pub fn hear_type(client: &mut Client, kind: &str) -> serde_json::Value {
    loop {
        let message = hear(client);
        if message["type"] == kind {
            return message;
        }
    }
}
