//! fastwebsockets, after its own `echo_server` and `echo_server_split` examples: hyper serves the upgrade.

use bench_peers::{App, run};
use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, WebSocketWrite,
};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncWrite, BufWriter};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const WRITE_BUFFER_BYTES: usize = 64 << 10;

type Outgoing = (OpCode, Bytes);

#[derive(Default)]
struct Registry {
    next_id: u64,
    peers: HashMap<u64, UnboundedSender<Outgoing>>,
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut ws = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = ws.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => ws.write_frame(frame).await?,
            _ => {}
        }
    }
}

fn owned(payload: Payload<'_>) -> Bytes {
    match payload {
        Payload::Bytes(bytes) => bytes.freeze(),
        other => Vec::from(other).into(),
    }
}

async fn broadcast(upgraded: UpgradeFut, registry: Arc<Mutex<Registry>>) -> Result<(), WebSocketError> {
    let (read, write) = upgraded.await?.split(|stream| {
        let (read, write) = tokio::io::split(stream);
        // The library writes every frame at once; buffered, those that are waiting share a write.
        (read, BufWriter::with_capacity(WRITE_BUFFER_BYTES, write))
    });
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(write_all(write, receiver));
    let id = {
        let mut registry = registry.lock().unwrap();
        registry.next_id += 1;
        let id = registry.next_id;
        registry.peers.insert(id, sender.clone());
        id
    };
    let result = read_all(FragmentCollectorRead::new(read), sender, &registry).await;
    registry.lock().unwrap().peers.remove(&id);
    result
}

async fn read_all<R: tokio::io::AsyncRead + Unpin>(
    mut ws: FragmentCollectorRead<R>,
    own: UnboundedSender<Outgoing>,
    registry: &Mutex<Registry>,
) -> Result<(), WebSocketError> {
    // Pongs and the close reply go the same way as all else, so that only one task writes.
    let mut reply = |frame: Frame<'_>| {
        let _ = own.send((frame.opcode, owned(frame.payload)));
        ready(Ok::<(), Infallible>(()))
    };
    loop {
        let frame = ws.read_frame(&mut reply).await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => {
                let (opcode, payload) = (frame.opcode, owned(frame.payload));
                for peer in registry.lock().unwrap().peers.values() {
                    // Fails only for a peer that is about to be removed.
                    let _ = peer.send((opcode, payload.clone()));
                }
            }
            _ => {}
        }
    }
}

async fn write_all<W: AsyncWrite + Unpin>(
    mut ws: WebSocketWrite<W>,
    mut receiver: UnboundedReceiver<Outgoing>,
) -> Result<(), WebSocketError> {
    while let Some(first) = receiver.recv().await {
        let mut next = Some(first);
        while let Some((opcode, payload)) = next {
            ws.write_frame(Frame::new(true, opcode, None, Payload::Borrowed(&payload))).await?;
            if opcode == OpCode::Close {
                return ws.flush().await;
            }
            next = receiver.try_recv().ok();
        }
        ws.flush().await?;
    }
    Ok(())
}

async fn upgrade_and_serve(
    mut request: Request<Incoming>,
    app: App,
    registry: Arc<Mutex<Registry>>,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = upgrade(&mut request)?;
    match app {
        App::Echo => tokio::spawn(tokio::task::unconstrained(echo(upgraded))),
        App::Broadcast => tokio::spawn(broadcast(upgraded, registry)),
    };
    Ok(response)
}

async fn serve(app: App, stream: TcpStream, registry: Arc<Mutex<Registry>>) {
    let service = service_fn(move |request| upgrade_and_serve(request, app, registry.clone()));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = connection.with_upgrades().await;
}

fn main() -> std::io::Result<()> {
    let registry = Arc::<Mutex<Registry>>::default();
    run(move |app, stream| {
        tokio::spawn(serve(app, stream, registry.clone()));
    })
}
