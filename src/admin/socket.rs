//! A connection of the admin port as hyper wants it, and how long it may take over what.
//!
//! hyper's own timers would have to be of another thread's kind; here each connection has a [`Watch`] that is looked at
//! once a second.

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use glommio::timer::Timer;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A request has to be there, whole, after this; a connection that has none to make is closed.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// A client that takes nothing of its answer for this is gone.
const WRITE_TIME: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes read at once.
const READ_BYTES: usize = 4096;

/// Since when a connection waits for its client.
pub struct Watch {
    /// For a request; `None` while one is being answered.
    request_since: Cell<Option<Instant>>,
    /// To take bytes; `None` while it does.
    write_since: Cell<Option<Instant>>,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch { request_since: Cell::new(Some(Instant::now())), write_since: Cell::new(None) }
    }
}

impl Watch {
    /// A request is here: the client waits for us.
    pub fn begin_answer(&self) {
        self.request_since.set(None);
    }

    /// It has, or is about to get, its answer: the next request is its business.
    pub fn end_answer(&self) {
        self.request_since.set(Some(Instant::now()));
    }

    /// Returns once the client has taken too long over something.
    pub async fn run_out(&self) {
        while !self.is_over(Instant::now()) {
            Timer::new(LOOK_INTERVAL).await;
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        let is_older =
            |since: Option<Instant>, time| since.is_some_and(|since| now.duration_since(since) >= time);
        is_older(self.request_since.get(), REQUEST_TIME) || is_older(self.write_since.get(), WRITE_TIME)
    }

    fn wrote<T>(&self, result: Poll<T>) -> Poll<T> {
        if result.is_ready() {
            self.write_since.set(None);
            // A long answer that goes out slowly is not yet time for the next request.
            if self.request_since.get().is_some() {
                self.end_answer();
            }
        } else if self.write_since.get().is_none() {
            self.write_since.set(Some(Instant::now()));
        }
        result
    }
}

/// The connection itself.
pub struct Socket {
    stream: TcpStream,
    watch: Rc<Watch>,
}

impl Socket {
    pub fn new(stream: TcpStream, watch: Rc<Watch>) -> Socket {
        Socket { stream, watch }
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; READ_BYTES];
        let room = to.remaining().min(READ_BYTES);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut bytes[..room]);
        read.map_ok(|length| to.put_slice(&bytes[..length]))
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch.wrote(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_time_for_a_request_and_for_each_part_of_an_answer_it_takes() {
        let watch = Watch::default();
        let later = || Instant::now() + REQUEST_TIME;
        assert!(!watch.is_over(Instant::now()) && watch.is_over(later()), "no request");
        watch.begin_answer();
        assert!(!watch.is_over(later()), "we take our time");
        let _ = watch.wrote(Poll::<()>::Pending);
        assert!(watch.is_over(later()), "it takes nothing");
        let _ = watch.wrote(Poll::Ready(()));
        assert!(!watch.is_over(later()));
        watch.end_answer();
        let since = watch.request_since.get();
        let _ = watch.wrote(Poll::Ready(()));
        assert!(watch.request_since.get() > since, "a long answer still goes out");
        assert!(watch.is_over(later()), "no other request");
    }
}
