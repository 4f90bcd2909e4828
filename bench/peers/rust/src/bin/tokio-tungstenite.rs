//! tokio-tungstenite, after its own `echo-server` and `server` examples.

use bench_peers::{App, run};
use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::{StreamExt, TryStreamExt, future};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

#[derive(Default)]
struct Registry {
    next_id: u64,
    peers: HashMap<u64, UnboundedSender<Message>>,
}

fn is_data(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}

async fn echo(stream: TcpStream) {
    let Ok(ws) = accept_async(stream).await else { return };
    let (write, read) = ws.split();
    // `forward` flushes when no more messages are at hand, so pipelined ones share a write.
    let _ = read.try_filter(|message| future::ready(is_data(message))).forward(write).await;
}

async fn broadcast(stream: TcpStream, registry: Arc<Mutex<Registry>>) {
    let Ok(ws) = accept_async(stream).await else { return };
    let (outgoing, incoming) = ws.split();
    let (sender, receiver) = unbounded();
    let id = {
        let mut registry = registry.lock().unwrap();
        registry.next_id += 1;
        let id = registry.next_id;
        registry.peers.insert(id, sender);
        id
    };
    let to_all = incoming.try_for_each(|message| {
        if is_data(&message) {
            for peer in registry.lock().unwrap().peers.values() {
                // Fails only for a peer that is about to be removed.
                let _ = peer.unbounded_send(message.clone());
            }
        }
        future::ok(())
    });
    future::select(pin!(to_all), pin!(receiver.map(Ok).forward(outgoing))).await;
    registry.lock().unwrap().peers.remove(&id);
}

fn main() -> std::io::Result<()> {
    let registry = Arc::<Mutex<Registry>>::default();
    run(move |app, stream| {
        match app {
            App::Echo => tokio::spawn(echo(stream)),
            App::Broadcast => tokio::spawn(broadcast(stream, registry.clone())),
        };
    })
}
