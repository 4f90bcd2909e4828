//! The clients of the soak, and what they have in common.

pub mod client;
pub mod watch;

use client::Client;
use std::os::fd::AsRawFd;
use std::time::Instant;

/// Sleeps until a client has something to read or `until`; marks who has.
pub fn wait_readable(clients: &mut [Client], until: Instant) {
    let mut polled: Vec<libc::pollfd> = clients
        .iter()
        .map(|client| libc::pollfd {
            // A negative descriptor is passed over.
            fd: client.socket().map_or(-1, AsRawFd::as_raw_fd),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let left = until.saturating_duration_since(Instant::now());
    // SAFETY: `polled` is as long as said and outlives the call.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, left.as_millis() as i32) };
    for (client, polled) in clients.iter_mut().zip(polled) {
        client.is_readable = polled.revents != 0;
    }
}
