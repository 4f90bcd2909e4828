//! RFC 6455: what every server must do, and what an echo and a broadcast promise.

use super::{Check, Checked, Client, Server, hear, say};
use std::io::{Read, Write};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Message};
use wire::frame::{self, Opcode};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Both sides of each form of the length.
const LENGTHS: [usize; 6] = [0, 1, 125, 126, 65_535, 65_536];

pub const EVERY_SERVER: [Check; 11] = [
    Check { name: "the upgrade is answered with the right accept key (4.2.2)", run: upgrade },
    Check { name: "a plain GET is not upgraded", run: plain_get },
    Check { name: "a ping is answered with its payload (5.5.3)", run: ping },
    Check { name: "a ping in single bytes is answered", run: single_bytes },
    Check { name: "a close is answered with its code, then the connection ends (5.5.1)", run: close },
    Check { name: "an unmasked frame is refused (5.1)", run: |server| refused(server, &[0x82, 1, b'x']) },
    Check { name: "a reserved opcode is refused (5.2)", run: |server| refused(server, &masked(0x83, b"x")) },
    Check { name: "a reserved bit is refused (5.2)", run: |server| refused(server, &masked(0xF2, b"x")) },
    Check { name: "a ping of 126 bytes is refused (5.5)", run: long_ping },
    Check {
        name: "a ping in fragments is refused (5.5)",
        run: |server| refused(server, &masked(0x09, b"x")),
    },
    Check {
        name: "text that is not UTF-8 is refused (8.1)",
        run: |server| refused(server, &masked(0x81, b"\xff\xfe")),
    },
];

pub const ECHO: [Check; 5] = [
    Check { name: "binary of every form of length comes back", run: binary_lengths },
    Check { name: "text of every form of length comes back as text", run: text_lengths },
    Check {
        name: "a message in fragments comes back whole, a ping between them is answered (5.4)",
        run: fragments,
    },
    Check { name: "a thousand messages in one piece come back in order", run: in_one_piece },
    Check { name: "connections do not mix", run: two_connections },
];

pub const BROADCAST: [Check; 1] =
    [Check { name: "everyone hears every message once, in order, the sender too", run: everyone_hears }];

/// A short masked frame with any first byte.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::push_masked_frame(&mut frame, Opcode::Binary, payload, KEY);
    frame[0] = first;
    frame
}

fn raw(client: &mut Client, bytes: &[u8]) -> Checked {
    client.get_mut().write_all(bytes).map_err(|error| format!("could not send: {error}"))
}

fn upgrade(server: &Server) -> Checked {
    server.connect().map(drop)
}

fn plain_get(server: &Server) -> Checked {
    let mut stream = server.tcp()?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: check\r\nConnection: close\r\n\r\n")
        .map_err(|it| it.to_string())?;
    let mut answer = [0; 12];
    match stream.read_exact(&mut answer) {
        Ok(()) if answer == *b"HTTP/1.1 101" => Err("it was".to_owned()),
        // An answer of another kind, or none at all.
        _ => Ok(()),
    }
}

fn ping(server: &Server) -> Checked {
    let mut client = server.connect()?;
    for length in [0, 1, 125] {
        let payload = Bytes::from(vec![b'p'; length]);
        say(&mut client, Message::Ping(payload.clone()))?;
        await_pong(&mut client, &payload)?;
    }
    Ok(())
}

fn await_pong(client: &mut Client, payload: &[u8]) -> Checked {
    loop {
        match client.read() {
            Ok(Message::Pong(answer)) if answer == payload => return Ok(()),
            Ok(Message::Ping(_) | Message::Text(_) | Message::Binary(_)) => {}
            Ok(other) => return Err(format!("{other:?} instead of the pong")),
            Err(error) => return Err(format!("no pong: {error}")),
        }
    }
}

fn single_bytes(server: &Server) -> Checked {
    let mut client = server.connect()?;
    for byte in masked(0x89, b"slow") {
        raw(&mut client, &[byte])?;
        // Lets most servers see each byte alone.
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    await_pong(&mut client, b"slow")
}

fn close(server: &Server) -> Checked {
    for code in [1000_u16, 4321] {
        let mut client = server.connect()?;
        let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
        client.close(Some(frame)).map_err(|it| it.to_string())?;
        loop {
            match client.read() {
                Ok(Message::Close(Some(answer))) if u16::from(answer.code) == code => break,
                Ok(Message::Close(answer)) => return Err(format!("{answer:?} in answer to {code}")),
                Ok(_) => {}
                Err(error) => return Err(format!("no close in answer to {code}: {error}")),
            }
        }
        match client.read() {
            Err(tungstenite::Error::ConnectionClosed) => {}
            other => return Err(format!("the connection did not end: {other:?}")),
        }
    }
    Ok(())
}

/// The server must end a connection on which these bytes came.
fn refused(server: &Server, bytes: &[u8]) -> Checked {
    let mut client = server.connect()?;
    raw(&mut client, bytes)?;
    loop {
        match client.read() {
            Ok(Message::Close(_)) => return Ok(()),
            Ok(Message::Text(_) | Message::Binary(_)) => {
                return Err("it was answered as a message".to_owned());
            }
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) if is_timeout(&error) => {
                return Err("the connection stayed open".to_owned());
            }
            Err(_) => return Ok(()),
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

fn long_ping(server: &Server) -> Checked {
    let mut frame = masked(0x82, &[0; 126]);
    frame[0] = 0x89;
    refused(server, &frame)
}

fn comes_back(client: &mut Client, message: &Message) -> Checked {
    say(client, message.clone())?;
    let answer = hear(client)?;
    if answer == *message {
        return Ok(());
    }
    Err(format!("{} bytes came back changed, as {} bytes", message.len(), answer.len()))
}

fn binary_lengths(server: &Server) -> Checked {
    let mut client = server.connect()?;
    LENGTHS.iter().try_for_each(|length| {
        let payload: Vec<u8> = (0..*length).map(|i| (i % 251) as u8).collect();
        comes_back(&mut client, &Message::binary(payload))
    })
}

fn text_lengths(server: &Server) -> Checked {
    let mut client = server.connect()?;
    LENGTHS.iter().try_for_each(|length| {
        let text: String = "aé€😀"
            .chars()
            .cycle()
            .scan(0, |bytes, it| {
                *bytes += it.len_utf8();
                (*bytes <= *length).then_some(it)
            })
            .collect();
        comes_back(&mut client, &Message::text(text))
    })
}

fn fragments(server: &Server) -> Checked {
    let mut client = server.connect()?;
    // The character is cut in two.
    let (first, second) = "f\u{e9}in".as_bytes().split_at(2);
    raw(&mut client, &masked(0x01, first))?;
    raw(&mut client, &masked(0x89, b"between"))?;
    await_pong(&mut client, b"between")?;
    raw(&mut client, &masked(0x00, second))?;
    raw(&mut client, &masked(0x80, b""))?;
    let answer = hear(&mut client)?;
    if answer == Message::text("f\u{e9}in") { Ok(()) } else { Err(format!("{answer:?} came back")) }
}

fn in_one_piece(server: &Server) -> Checked {
    const MESSAGES: u32 = 1_000;
    let mut client = server.connect()?;
    let bytes: Vec<u8> = (0..MESSAGES).flat_map(|i| masked(0x82, &i.to_be_bytes())).collect();
    raw(&mut client, &bytes)?;
    for i in 0..MESSAGES {
        let answer = hear(&mut client)?;
        if answer.into_data() != i.to_be_bytes()[..] {
            return Err(format!("message {i} is not where it belongs"));
        }
    }
    Ok(())
}

fn two_connections(server: &Server) -> Checked {
    let (mut one, mut other) = (server.connect()?, server.connect()?);
    for i in 0..100 {
        for client in [&mut one, &mut other] {
            say(client, Message::text(format!("{i}")))?;
        }
    }
    // In a broadcast each hears both, so only the count of wrong ones can tell.
    for client in [&mut one, &mut other] {
        let first = hear(client)?;
        if first != Message::text("0") {
            return Err(format!("{first:?} came first"));
        }
    }
    Ok(())
}

fn everyone_hears(server: &Server) -> Checked {
    const ROUNDS: usize = 50;
    let mut clients = (0..4).map(|_| server.connect()).collect::<Result<Vec<_>, _>>()?;
    for round in 0..ROUNDS {
        for (i, client) in clients.iter_mut().enumerate() {
            say(client, Message::text(format!("{i}:{round}")))?;
        }
    }
    let count = clients.len();
    for (listener, client) in clients.iter_mut().enumerate() {
        let mut next = vec![0; count];
        let mut heard = 0;
        while heard < ROUNDS * count {
            // An earlier check's messages may still be on their way; they look different.
            let Message::Text(text) = hear(client)? else { continue };
            let Some((speaker, round)) = text.split_once(':') else { continue };
            let (speaker, round) = (speaker.parse::<usize>(), round.parse::<usize>());
            let (Ok(speaker), Ok(round)) = (speaker, round) else { return Err(format!("{text} came")) };
            if next.get(speaker) != Some(&round) {
                return Err(format!(
                    "client {listener}: message {round} of client {speaker} is not its next"
                ));
            }
            next[speaker] += 1;
            heard += 1;
        }
    }
    Ok(())
}
