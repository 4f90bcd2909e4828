//! The admin port's connections: accepted, counted, each a task, ended when they take too long.

use super::Admin;
use super::routes;
use super::socket::{Socket, Watch};
use futures_lite::future::or;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::timer::Timer;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use std::cell::Cell;
use std::convert::Infallible;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::rc::Rc;
use std::time::Duration;

/// Connections at a time; past it they are answered 503 and closed.
pub const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head; past it 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// After an accept that failed, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// What one too many hears.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
/// Its time to take that.
const FULL_TIME: Duration = Duration::from_secs(1);
/// Who hears it at a time; past it they are closed without a word.
const REFUSING_MAX: usize = 16;

/// Accepts for ever.
pub async fn run(listener: std::net::TcpListener, admin: &Rc<Admin>) {
    // SAFETY: the descriptor is open, and `listener` gives up its ownership.
    let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
    let refusing = Rc::new(Cell::new(0));
    loop {
        let Ok(stream) = listener.accept().await else {
            Timer::new(ACCEPT_PAUSE).await;
            continue;
        };
        if admin.connections.get() == CONNECTIONS_MAX {
            if refusing.get() < REFUSING_MAX {
                glommio::spawn_local(refuse(stream, Rc::clone(&refusing))).detach();
            }
            continue;
        }
        // A delayed ACK would hold up every second answer on a connection that is kept.
        let _ = stream.set_nodelay(true);
        glommio::spawn_local(converse(stream, Rc::clone(admin))).detach();
    }
}

/// Tells one too many so, and waits for its end: closed over bytes that nobody read, it would hear a reset instead.
async fn refuse(mut stream: TcpStream, refusing: Rc<Cell<usize>>) {
    refusing.set(refusing.get() + 1);
    let say = async {
        stream.write_all(FULL).await?;
        stream.close().await?;
        while stream.read(&mut [0; 1024]).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    let late = async {
        Timer::new(FULL_TIME).await;
        Ok(())
    };
    // Whether it heard it or not, it is closed.
    let _ = or(say, late).await;
    refusing.set(refusing.get() - 1);
}

/// One connection to its end.
async fn converse(stream: TcpStream, admin: Rc<Admin>) {
    admin.connections.set(admin.connections.get() + 1);
    let watch = Rc::new(Watch::default());
    // It was asked to drain, which is done once it has the answer.
    let has_asked_to_drain = Rc::new(Cell::new(false));
    let socket = Socket::new(stream, Rc::clone(&watch));
    let answer = service_fn(|request| {
        let (admin, watch) = (Rc::clone(&admin), Rc::clone(&watch));
        let has_asked_to_drain = Rc::clone(&has_asked_to_drain);
        async move {
            watch.begin_answer();
            let answer = routes::answer(&admin, request, &watch).await;
            has_asked_to_drain.set(has_asked_to_drain.get() || answer.is_drain);
            if !answer.is_stream {
                watch.end_answer();
            }
            Ok::<_, Infallible>(answer.response)
        }
    });
    let connection = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .header_read_timeout(None)
        .serve_connection(socket, answer);
    // However it ends, there is nobody to tell.
    let _ = or(connection, async {
        watch.run_out().await;
        Ok(())
    })
    .await;
    admin.connections.set(admin.connections.get() - 1);
    if has_asked_to_drain.get() {
        (admin.drain)();
    }
}
