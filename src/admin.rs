//! The admin port: health, metrics, figures and rooms over HTTP/1.1, on the control core.
//!
//! [`listen`] binds before the shards start, so that whatever is wrong is one line; [`serve`] runs as a task of the
//! control executor. Shards are asked over their command channels (`ask`) and are never waited for longer than a
//! moment. Nothing here is on a message's way, and while nobody asks nothing happens. The pieces: `listener` and `socket`
//! (connections and their limits), `routes`, `access` (who may), `ask`, `samples` (readings over time), `stats` and
//! `rooms` (JSON), `events` (the stream), `metrics` (Prometheus).

mod access;
mod ask;
mod events;
mod listener;
mod metrics;
mod rooms;
mod routes;
mod samples;
mod socket;
mod stats;
mod status;

pub use listener::CONNECTIONS_MAX;
pub use metrics::documented;
pub use stats::Facts;
pub use status::{Drain, Snapshot, Status};

use crate::config::{AdminAddress, AdminSettings, Secret};
use crate::listener::once_free;
use crate::server::ShardHandle;
use crate::start_error::StartError;
use ask::Shards;
use events::Hub;
use samples::Sampler;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Where it listens unless told otherwise.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9600));

/// What the last word of a drain has to reach those who listen.
const LAST_WORD_TIME: Duration = Duration::from_millis(50);

/// Whether there is an admin port.
#[derive(Debug)]
pub enum Port {
    /// There is none, and why.
    Off(String),
    /// There is.
    On(Listening),
}

/// A bound admin port that nobody serves yet.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<Secret>,
}

/// An admin port at work.
pub struct Serving(Rc<Admin>);

impl Listening {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::Off(why) => write!(f, "off: {why}"),
            Port::On(Listening { address, token: Some(_), .. }) => {
                write!(f, "http://{address} (with a token)")
            }
            Port::On(Listening { address, token: None, .. }) => write!(f, "http://{address}"),
        }
    }
}

/// Binds the admin port. Where nobody has set one, a taken port is no reason not to start. `patience` is the time that a
/// process which was killed just now may still hold it: the kernel tears its rings down a little later.
pub fn listen(settings: &AdminSettings, patience: Duration) -> Result<Port, StartError> {
    let (address, is_set) = match settings.address {
        AdminAddress::Off => return Ok(Port::Off("--admin ADDRESS turns it on".to_owned())),
        AdminAddress::Auto => (DEFAULT_ADDRESS, false),
        AdminAddress::At(address) => (address, true),
    };
    let token = settings.token().map_err(StartError::new)?;
    if token.is_none() && !address.ip().to_canonical().is_loopback() {
        return Err(StartError::new(format!(
            "--admin {address} can be reached from other hosts and has no token; set ADMIN_TOKEN or \
             --admin-token-file, or listen on 127.0.0.1"
        )));
    }
    let bound = once_free(patience, || TcpListener::bind(address));
    match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
        Ok((address, listener)) => Ok(Port::On(Listening { listener, address, token })),
        Err(error) if is_set => {
            let remedy = match error.kind() {
                io::ErrorKind::AddrInUse => "stop who listens there, choose another address, or --admin off",
                io::ErrorKind::AddrNotAvailable => "this host does not have that address",
                io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
                _ => "choose another address, or --admin off",
            };
            Err(StartError::new(format!("the admin port cannot listen on {address}: {error}; {remedy}")))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Ok(Port::Off(format!("{address} is taken; --admin ADDRESS chooses another")))
        }
        Err(error) => Ok(Port::Off(format!("{address}: {error}; --admin ADDRESS chooses another"))),
    }
}

/// What everything here shares, on one thread.
struct Admin {
    token: Option<Secret>,
    facts: Facts,
    status: Rc<RefCell<Status>>,
    sampler: Sampler,
    hub: Hub,
    /// Asks the process to drain, as a signal does.
    drain: Box<dyn Fn()>,
    /// Connections open.
    connections: Cell<usize>,
    /// Readings are taken once a second until then, and while anyone listens.
    interest_until: Cell<Instant>,
    is_ticking: Cell<bool>,
}

/// Serves the port for ever. `status` is what the control core knows and the shards do not; `drain` has the process end
/// as SIGTERM does.
pub fn serve(
    listening: Listening,
    facts: Facts,
    shards: Vec<ShardHandle>,
    status: Rc<RefCell<Status>>,
    drain: impl Fn() + 'static,
) -> Serving {
    let admin = Rc::new(Admin {
        token: listening.token,
        facts,
        status,
        sampler: Sampler::new(Shards::new(shards)),
        hub: Hub::default(),
        drain: Box::new(drain),
        connections: Cell::new(0),
        interest_until: Cell::new(Instant::now()),
        is_ticking: Cell::new(false),
    });
    let served = Rc::clone(&admin);
    glommio::spawn_local(async move { listener::run(listening.listener, &served).await }).detach();
    Serving(admin)
}

impl Serving {
    /// Tells those who listen that all have left whom a drain closes, and lets the word go out.
    pub async fn say_drained(&self) {
        let drain = self.0.status.borrow().drain_json(0);
        if self.0.hub.listeners() > 0
            && let Ok(json) = serde_json::to_string(&drain)
        {
            self.0.hub.publish_drain(&json);
            glommio::timer::Timer::new(LAST_WORD_TIME).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(address: &str, token: Option<&str>) -> AdminSettings {
        let address = match address {
            "auto" => AdminAddress::Auto,
            "off" => AdminAddress::Off,
            address => AdminAddress::At(address.parse().unwrap()),
        };
        AdminSettings { address, token: token.map(|token| Secret::new(token.to_owned())), token_file: None }
    }

    #[test]
    fn beyond_loopback_there_is_no_port_without_a_token() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9600"] {
            let refused = listen(&settings(address, None), Duration::ZERO).unwrap_err().to_string();
            assert!(refused.contains("ADMIN_TOKEN") && refused.lines().count() == 1, "{refused}");
        }
        for (address, token) in [("0.0.0.0:0", Some("a token of some length")), ("127.0.0.9:0", None)] {
            let port = listen(&settings(address, token), Duration::ZERO).unwrap();
            assert!(matches!(port, Port::On(_)), "{address}");
            assert!(!format!("{port} {port:?}").contains("some length"), "a token is never shown");
        }
        assert_eq!(
            listen(&settings("off", None), Duration::ZERO).unwrap().to_string(),
            "off: --admin ADDRESS turns it on"
        );
    }

    #[test]
    fn a_port_that_was_set_and_is_taken_is_an_error_with_a_remedy() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap().to_string();
        let refused = listen(&settings(&address, None), Duration::ZERO).unwrap_err().to_string();
        assert!(refused.contains(&address) && refused.contains("--admin off"), "{refused}");
    }
}
