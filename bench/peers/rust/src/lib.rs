//! What both peers share: their arguments, their runtime and their listening socket.

use std::io;
use tokio::net::{TcpListener, TcpStream};

/// What is served.
#[derive(Clone, Copy)]
pub enum App {
    Echo,
    Broadcast,
}

/// Reads `APP PORT` from the command line, then hands every connection to `serve`, on one thread.
pub fn run(serve: impl Fn(App, TcpStream)) -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "usage: PEER echo|broadcast PORT");
    let [app, port] = &arguments[..] else { return Err(invalid()) };
    let app = match app.as_str() {
        "echo" => App::Echo,
        "broadcast" => App::Broadcast,
        _ => return Err(invalid()),
    };
    let port: u16 = port.parse().map_err(|_| invalid())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            // A failed accept concerns one connection (or the limit of open files), not the server.
            let Ok((stream, _)) = listener.accept().await else {
                tokio::task::yield_now().await;
                continue;
            };
            if stream.set_nodelay(true).is_ok() {
                serve(app, stream);
            }
        }
    })
}
