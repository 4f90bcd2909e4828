//! Sockets with a source address, and where they connect to.

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{IntoRawFd, RawFd};

/// Connections from one source address to one port: half of the 28,232 ephemeral ports of Linux's default range.
/// All could be had, but connect(2) takes the even ones first, and once they are gone each connect looks at all
/// of them in vain: 200 connects a second instead of 20,000.
pub const CONNECTIONS_PER_SOURCE: usize = 14_000;

/// One server to connect to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub address: SockAddr,
    /// For the Host header.
    pub host: String,
    /// Path and query.
    pub path: String,
    is_loopback: bool,
    sources: Vec<IpAddr>,
    /// Where this process's part of the connections begins, so that processes do not share ports.
    first_connection: usize,
}

impl Endpoint {
    /// From a `ws://` URL. `first_connection`: how many connections other processes make to it before us.
    pub fn parse(url: &str, sources: &[IpAddr], first_connection: usize) -> Result<Endpoint, String> {
        let wrong = |what: &str| format!("{url}: {what}");
        let uri: tungstenite::http::Uri =
            url.parse().map_err(|_| wrong("not a URL such as ws://127.0.0.1:6001"))?;
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") => return Err(wrong("TLS is not spoken here, use ws:// behind the proxy")),
            _ => return Err(wrong("a URL begins with ws://")),
        }
        let host = uri.authority().ok_or_else(|| wrong("no host"))?;
        let port = uri.port_u16().unwrap_or(80);
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        let address: SocketAddr = (name, port)
            .to_socket_addrs()
            .map_err(|error| wrong(&error.to_string()))?
            .next()
            .ok_or_else(|| wrong("the host has no address"))?;
        Ok(Endpoint {
            address: address.into(),
            host: host.to_string(),
            path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            is_loopback: address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST),
            sources: sources.to_vec(),
            first_connection,
        })
    }

    /// True if it is this machine by its IPv4 name, of which other source addresses can be had.
    pub fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    /// A socket for this endpoint's connection `index`, bound to its source address.
    pub fn socket(&self, index: usize) -> io::Result<RawFd> {
        let domain = if self.address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = self.source(self.first_connection + index) {
            // The port is chosen at connect, when the whole four-tuple is known.
            let one: libc::c_int = 1;
            // SAFETY: `one` outlives the call and its size is given. If refused, ports run out sooner.
            unsafe {
                libc::setsockopt(
                    std::os::fd::AsRawFd::as_raw_fd(&socket),
                    libc::IPPROTO_IP,
                    libc::IP_BIND_ADDRESS_NO_PORT,
                    (&raw const one).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                );
            }
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(socket.into_raw_fd())
    }

    /// Given addresses in turn; otherwise 127.0.0.1, .2, .3 and on as ports run out.
    fn source(&self, index: usize) -> Option<IpAddr> {
        if !self.sources.is_empty() {
            return Some(self.sources[index % self.sources.len()]);
        }
        let nth = index / CONNECTIONS_PER_SOURCE;
        (self.is_loopback && nth > 0).then(|| {
            let base = u32::from(Ipv4Addr::LOCALHOST);
            IpAddr::V4(Ipv4Addr::from(base + nth as u32))
        })
    }
}

/// Shuts a socket both ways; whatever is in flight on it completes.
pub fn shut(fd: RawFd) {
    // SAFETY: no memory is involved; a socket that is gone refuses, which changes nothing.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Closes a descriptor on which nothing is in flight.
pub fn close(fd: RawFd) {
    // SAFETY: the caller owns the descriptor and forgets it.
    unsafe { libc::close(fd) };
}

/// True if the other side has ended a connection, seen without reading.
pub fn is_ended(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one entry, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    poll.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_or_refused_in_one_line() {
        let endpoint = Endpoint::parse("ws://127.0.0.1:6001/ws/sync?roomCode=R", &[], 0).unwrap();
        assert_eq!(
            (endpoint.host.as_str(), endpoint.path.as_str()),
            ("127.0.0.1:6001", "/ws/sync?roomCode=R")
        );
        for (url, line) in [
            ("127.0.0.1", "127.0.0.1: a URL begins with ws://"),
            ("wss://a", "wss://a: TLS is not spoken here, use ws:// behind the proxy"),
            ("ws://", "ws://: not a URL such as ws://127.0.0.1:6001"),
        ] {
            assert_eq!(Endpoint::parse(url, &[], 0).unwrap_err(), line);
        }
    }

    #[test]
    fn source_addresses_follow_from_the_number_of_a_connection() {
        let endpoint = Endpoint::parse("ws://127.0.0.1:6001", &[], 0).unwrap();
        assert_eq!(endpoint.source(13_999), None);
        assert_eq!(endpoint.source(14_000), Some("127.0.0.2".parse().unwrap()));
        assert_eq!(endpoint.source(999_999), Some("127.0.0.72".parse().unwrap()));
        let given = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let endpoint = Endpoint::parse("ws://127.0.0.1:6001", &given, 0).unwrap();
        assert_eq!(endpoint.source(3), Some(given[1]));
    }
}
