//! Listening sockets: SO_REUSEPORT, so that the kernel spreads connections over the cores.
//!
//! All of a server's listeners are bound before its first shard starts, so that a port that is taken is
//! said at once, and no connect is lost while shards come up: they wait in the accept queues.

use crate::config::{Host, TcpLimits};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Connects that may wait for an accept; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 65_535;

const FREE_TIME: Duration = Duration::from_millis(500);
const FREE_TRY_INTERVAL: Duration = Duration::from_millis(10);

/// Binds and listens `count` times on one port; `port` 0 takes any free one. Returns the port it has. A connection whose
/// peer acknowledges nothing for the timeout is ended by the kernel, which takes no more bytes than the limit for one whose
/// peer does not read.
pub fn listen(host: Host, port: u16, count: usize, limits: TcpLimits) -> io::Result<(Vec<OwnedFd>, u16)> {
    match host {
        Host::Address(address) => listen_at(SocketAddr::new(address, port), count, limits),
        // One socket for both families, or IPv4 alone where the kernel has no IPv6.
        Host::All => {
            match listen_at(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port), count, limits) {
                Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                    listen_at(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), count, limits)
                }
                result => result,
            }
        }
    }
}

fn listen_at(mut address: SocketAddr, count: usize, limits: TcpLimits) -> io::Result<(Vec<OwnedFd>, u16)> {
    if address.port() != 0 {
        // With SO_REUSEPORT alone, a second server of the same user would silently take half the connects.
        wait_until_free(address)?;
    }
    let mut listeners = Vec::new();
    for _ in 0..count {
        let (listener, port) = bind(address, limits)?;
        address.set_port(port);
        listeners.push(listener);
    }
    Ok((listeners, address.port()))
}

/// Fails if the port is taken, and stays so: the rings of a process that was killed just now hold its
/// listeners until the kernel has torn them down.
fn wait_until_free(address: SocketAddr) -> io::Result<()> {
    once_free(FREE_TIME, || socket(address)?.bind(&address.into()))
}

/// Binds, again and again for this time while the port is taken.
pub fn once_free<T>(patience: Duration, bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let until = Instant::now() + patience;
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                std::thread::sleep(FREE_TRY_INTERVAL);
            }
            result => return result,
        }
    }
}

/// The port that a listener has.
pub fn port(listener: &OwnedFd) -> io::Result<u16> {
    let address = SockRef::from(listener).local_addr()?.as_socket();
    address.map(|address| address.port()).ok_or_else(|| io::Error::other("no internet socket"))
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn bind(address: SocketAddr, limits: TcpLimits) -> io::Result<(OwnedFd, u16)> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit all three: no system call for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(Duration::from_millis(u64::from(limits.timeout_ms))))?;
    socket.set_tcp_notsent_lowat(limits.unsent_bytes_max)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = OwnedFd::from(socket);
    let port = port(&socket)?;
    Ok((socket, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TcpLimits = TcpLimits { timeout_ms: 12_345, unsent_bytes_max: 54_321 };

    #[test]
    fn one_port_is_shared_by_a_servers_own_listeners_and_by_nobody_elses() {
        let host = Host::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let (listeners, port) = listen(host, 0, 3, LIMITS).unwrap();
        assert!(listeners.len() == 3 && port > 0);
        let taken = listen(host, port, 1, LIMITS).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    /// Hazard: what a listener has set is the accepted sockets' only because Linux copies it.
    #[test]
    fn accepted_sockets_have_what_the_listener_has_set() {
        let host = Host::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let (listeners, port) = listen(host, 0, 1, LIMITS).unwrap();
        let _client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (accepted, _) = socket2::SockRef::from(&listeners[0]).accept().unwrap();
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(Duration::from_millis(12_345)));
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), 54_321);
        assert!(accepted.tcp_nodelay().unwrap());
    }
}
