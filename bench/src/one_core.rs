//! A whole core on the calling thread: ring, driver, engine, and its clients' ends over loopback.
//!
//! Its turns are counted without another thread's, as its clients write before a turn and read after it. Only
//! what depends on the kernel's timing, such as a completion that comes a turn late, differs between two runs.

use crate::scene;
use downbeat::admission::Admission;
use downbeat::clock::Clock;
use downbeat::config::{Config, Host};
use downbeat::driver::{self, Driver};
use downbeat::listener;
use downbeat::mesh::Mesh;
use downbeat::published::Published;
use downbeat::ring::Ring;
use downbeat::server::Notify;
use downbeat::turn::{Core, Station};
use engine::{App, CoreId, Seed, Settings, Shard};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

/// More than one message or answer of any operation here.
const BYTES_MAX: usize = 64 * 1024;

/// A core and the clients' ends of its connections.
pub struct OneCore {
    core: Core,
    port: u16,
    clients: Vec<TcpStream>,
    bytes: Vec<u8>,
}

impl OneCore {
    /// A core that listens on a free loopback port.
    pub fn new(app: App) -> io::Result<OneCore> {
        let mut config = Config { app, cores: 1, ..Config::default() };
        // Its messages come as fast as they are answered; what metering costs is counted in the engine's operations.
        config.limits.is_metered = false;
        let host = Host::Address(Ipv4Addr::LOCALHOST.into());
        let (listeners, port) = listener::listen(host, 0, 1, config.tcp)?;
        let (mut meshes, _) = Mesh::new(1, config.ring.batches_per_link)?;
        let mesh = meshes.remove(0);
        let settings = Settings {
            core: CoreId(0),
            cores: 1,
            app,
            authz: config.authz,
            limits: config.limits.clone(),
            seed: Seed(4, 12),
            page: None,
        };
        let ring = Ring::new(&config.ring, mesh.doorbell().listen()?, driver::doorbell_tag())?;
        let driver = Driver::new(
            Shard::new(settings),
            Clock::start(),
            listeners,
            Admission::new(10_000, None, Seed(4, 12)),
        );
        let published = Arc::new(Published::default());
        let commands = crossbeam_channel::never();
        let notify: Notify = Arc::new(|_| ());
        let station =
            Station { listeners: Vec::new(), mesh, commands, published, notify, kept: Arc::default() };
        let core = Core::new(ring, driver, station);
        Ok(OneCore { core, port, clients: Vec::new(), bytes: vec![0; BYTES_MAX] })
    }

    /// One more client, upgraded; its number.
    pub fn connect(&mut self) -> io::Result<usize> {
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        client.set_nodelay(true)?;
        client.set_nonblocking(true)?;
        self.clients.push(client);
        let number = self.clients.len() - 1;
        self.exchange(number, &scene::request())?;
        Ok(number)
    }

    /// A room of so many; the number of the first.
    pub fn room(&mut self, code: &str, members: usize) -> io::Result<usize> {
        let first = self.clients.len();
        for _ in 0..members {
            let number = self.connect()?;
            self.exchange(number, &scene::join(code))?;
            self.hear_all()?;
        }
        Ok(first)
    }

    /// The client says something and hears what follows.
    pub fn exchange(&mut self, number: usize, bytes: &[u8]) -> io::Result<()> {
        self.clients[number].write_all(bytes)?;
        loop {
            self.core.turn()?;
            if self.hear(number)? {
                return Ok(());
            }
        }
    }

    /// Everyone takes what has come for them.
    pub fn hear_all(&mut self) -> io::Result<()> {
        (0..self.clients.len()).try_for_each(|number| self.hear(number).map(|_| ()))
    }

    /// Takes what has come for a client; was there anything?
    fn hear(&mut self, number: usize) -> io::Result<bool> {
        match self.clients[number].read(&mut self.bytes) {
            Ok(0) => Err(io::Error::other("the server closed")),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
