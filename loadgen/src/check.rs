//! `check`: is it a correct server? A quick conformance set, with tungstenite as the independent client.
//!
//! Each check opens connections of its own, so that one failure hides no other. What is asked of every server
//! is what RFC 6455 says it must do; how it answers what it must refuse is left to it, but it must refuse.

mod frames;
mod rooms;

use crate::args::{CheckArgs, Profile};
use crate::exit::{Exit, Failure};
use crate::target::Target;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// Longer than any right answer takes; a handshake of rooms takes a second.
const PATIENCE: Duration = Duration::from_secs(5);

pub type Client = WebSocket<TcpStream>;
pub type Checked = Result<(), String>;

/// One property of a server.
pub struct Check {
    pub name: &'static str,
    pub run: fn(&Server) -> Checked,
}

/// The server under check.
pub struct Server {
    url: String,
    address: SocketAddr,
}

impl Server {
    fn parse(url: &str) -> Result<Server, Failure> {
        let endpoint = crate::socket::Endpoint::parse(url, &[], 0).map_err(Failure::usage)?;
        let address = endpoint
            .address
            .as_socket()
            .or_else(|| endpoint.host.to_socket_addrs().ok()?.next())
            .ok_or_else(|| Failure::usage(format!("{url}: no address")))?;
        Ok(Server { url: url.to_owned(), address })
    }

    /// A plain connection with a deadline on everything.
    pub fn tcp(&self) -> Result<TcpStream, String> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).map_err(|it| it.to_string())?;
        stream.set_nodelay(true).map_err(|it| it.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|it| it.to_string())?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(|it| it.to_string())?;
        Ok(stream)
    }

    /// An open WebSocket; tungstenite holds the answer against RFC 6455.
    pub fn connect(&self) -> Result<Client, String> {
        self.connect_to(&self.url)
    }

    /// With another path and query, as the rooms' clients have.
    pub fn connect_at(&self, path: &str) -> Result<Client, String> {
        self.connect_to(&format!("ws://{}{path}", self.address))
    }

    fn connect_to(&self, url: &str) -> Result<Client, String> {
        let request = url.into_client_request().map_err(|it| it.to_string())?;
        let opened = tungstenite::client(request, self.tcp()?);
        opened.map(|(client, _)| client).map_err(|it| format!("the upgrade failed: {it}"))
    }
}

/// Reads the next message that is not a ping or pong.
pub fn hear(client: &mut Client) -> Result<Message, String> {
    loop {
        match client.read() {
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(message) => return Ok(message),
            Err(error) => return Err(format!("nothing came: {error}")),
        }
    }
}

pub fn say(client: &mut Client, message: Message) -> Checked {
    client.send(message).map_err(|error| format!("could not send: {error}"))
}

/// Runs all checks of the profile and prints each.
pub fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    let target = Target::parse(&args.target, args.profile)?;
    let started = target.start(&[])?;
    let server = Server::parse(&started.url)?;
    if let Err(error) = server.tcp() {
        return Err(Failure { exit: Exit::Refused, line: format!("{}: {error}", started.url) });
    }
    let mut checks: Vec<&Check> = frames::EVERY_SERVER.iter().collect();
    match args.profile {
        Profile::Echo => checks.extend(&frames::ECHO),
        Profile::Broadcast => checks.extend(frames::ECHO.iter().chain(&frames::BROADCAST)),
        Profile::Rooms => checks.extend(&rooms::ROOMS),
    }
    let (mut failed, mut known) = (0, 0);
    for check in &checks {
        match (check.run)(&server) {
            Ok(()) => println!("ok    {}", check.name),
            Err(_) if target.known(check.name).is_some() => {
                known += 1;
                println!("known {}: {}", check.name, target.known(check.name).unwrap_or_default());
            }
            Err(reason) => {
                failed += 1;
                println!("FAIL  {}: {reason}", check.name);
            }
        }
    }
    let passed = checks.len() - failed - known;
    let known = if known > 0 { format!(", {known} known to fail") } else { String::new() };
    println!("{}: {passed} of {} checks passed{known}", target.title(), checks.len());
    Ok(if failed == 0 { Exit::Fine } else { Exit::No })
}
