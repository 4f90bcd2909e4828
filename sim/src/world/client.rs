//! A client's end of a connection: it writes in pieces, reads when it likes, and holds what it hears against what it
//! must hear.

use super::frames::{self, BINARY, CLOSE, CONTINUE, Heard, PING, PONG, TEXT};
use super::hearing::Segment;
use super::said::{Kind, Text, What};
use super::socket::{End, Piece, Side, Socket};
use super::{Completion, Event, Kept, World, broken, note};
use crate::model::Client;
use serde_json::Value;

const PREFIX: &str = "each member sees a gap-free prefix of its room in its home's order";

impl World<'_> {
    /// A new connection of a person, to the core that the kernel picks.
    pub(super) fn open(&mut self, person: usize) -> Client {
        let client = self.sockets.len() as Client;
        let core = self.dice.below(self.cores.len()) as u16;
        self.sockets.push(Socket::new(client, person, core));
        self.cores[usize::from(core)].completions.push_back(Completion::Accept(client));
        self.turn_soon(core);
        client
    }

    /// The client writes bytes, which come in pieces.
    pub(super) fn write(&mut self, client: Client, bytes: &[u8], what: What) {
        let network = self.setup.network.clone();
        let is_split = self.dice.one_in(network.split_one_in);
        let drips = is_split && self.dice.one_in(network.drip_one_in);
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = match (drips, is_split) {
                (true, _) => 1,
                (false, true) => 1 + self.dice.below(rest.len()),
                (false, false) => rest.len(),
            };
            let (piece, after) = rest.split_at(count);
            let delay_us = self.dice.within(10..=(if drips { 100 } else { network.delay_us_max }));
            self.send_piece(client, Piece::Bytes(piece.to_vec()), delay_us);
            rest = after;
        }
        let socket = self.socket(client);
        socket.written += bytes.len() as u64;
        let end = socket.written;
        socket.said.push_back((end, what));
    }

    fn send_piece(&mut self, client: Client, piece: Piece, delay_us: i64) {
        let now_us = self.now.master_us;
        let socket = self.socket(client);
        let last_us = socket.pieces.back().map_or(now_us, |(at_us, _)| *at_us);
        let at_us = last_us.max(now_us) + delay_us;
        let is_first = socket.pieces.is_empty();
        socket.pieces.push_back((at_us, piece));
        if is_first {
            self.schedule(at_us, Event::Arrive(client));
        }
    }

    /// A text message, perhaps in fragments, perhaps as a binary frame, as the old server read them too.
    pub(super) fn say(&mut self, client: Client, text: String, kind: Kind, room_code: Option<&str>) {
        self.tally.messages += 1;
        note!(self, "{client} says {text}");
        let opcode = if self.dice.one_in(12) { BINARY } else { TEXT };
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        if self.dice.one_in(8) && rest.len() > 4 {
            self.tally.messages_fragmented += 1;
            let mut first = opcode;
            for _ in 0..1 + self.dice.below(3) {
                let (piece, after) = rest.split_at(self.dice.below(rest.len() + 1));
                frames::push_frame(&mut bytes, first, piece, Some(self.mask()));
                (first, rest) = (CONTINUE, after);
            }
            frames::push_frame(&mut bytes, 0x80 | CONTINUE, rest, Some(self.mask()));
        } else {
            frames::push_frame(&mut bytes, 0x80 | opcode, rest, Some(self.mask()));
        }
        let room_code = room_code.map(str::to_owned);
        self.write(client, &bytes, What::Text(Text { text, kind, room_code }));
    }

    /// A control frame.
    pub(super) fn control(&mut self, client: Client, opcode: u8, payload: &[u8], what: What) {
        let mut bytes = Vec::new();
        frames::push_frame(&mut bytes, 0x80 | opcode, payload, Some(self.mask()));
        self.write(client, &bytes, what);
    }

    pub(super) fn mask(&mut self) -> [u8; 4] {
        (self.dice.number() as u32).to_be_bytes()
    }

    /// The client ends its side, or all of it.
    pub(super) fn end_up(&mut self, client: Client, end: End) {
        let delay_us = self.dice.within(10..=self.setup.network.delay_us_max);
        let socket = self.socket(client);
        if socket.pieces.iter().any(|(_, piece)| matches!(piece, Piece::End(_)))
            || socket.arrived_end.is_some()
        {
            return;
        }
        note!(self, "{client} ends: {end:?}");
        self.send_piece(client, Piece::End(end), delay_us);
        let socket = self.socket(client);
        socket.side = if end == End::Reset { Side::Gone } else { Side::HalfClosed };
    }

    pub(super) fn read_on(&mut self, client: Client) {
        self.socket(client).is_stalled = false;
        self.read_soon(client);
    }

    /// The client reads some of what the kernel has for it.
    pub(super) fn read(&mut self, client: Client) -> Kept {
        let takes_all = !self.dice.one_in(3);
        let socket = &mut self.sockets[client as usize];
        socket.is_read_due = false;
        if socket.side == Side::Gone || socket.is_stalled {
            return Ok(());
        }
        if socket.sent_end == Some(End::Reset) && (socket.sent.is_empty() || self.dice.one_in(2)) {
            self.lose(client);
            return Ok(());
        }
        let all = socket.sent.len();
        let count = if takes_all || all == 0 { all } else { 1 + self.dice.below(all) };
        socket.read.extend(socket.sent.drain(..count));
        let is_more = !socket.sent.is_empty() || socket.sent_end.is_some() && count > 0;
        if socket.in_flight.as_ref().is_some_and(|in_flight| in_flight.is_waiting) {
            self.schedule_in(1, self.setup.network.send_us_max, Event::Sent(client));
        }
        self.hear(client)?;
        if is_more {
            self.read_soon(client);
        } else if self.sockets[client as usize].sent_end == Some(End::Fin) {
            self.see_end(client)?;
        }
        Ok(())
    }

    /// The server has ended its side, and all it sent was read.
    fn see_end(&mut self, client: Client) -> Kept {
        let socket = &self.sockets[client as usize];
        let is_whole = socket.read.is_empty() || !socket.is_answered || !socket.is_upgraded;
        if !is_whole && socket.excuse.is_none() {
            return broken("an orderly end cuts no frame", format!("{client}: {} bytes", socket.read.len()));
        }
        if socket.side == Side::Open {
            if self.people[socket.person].is_rude() && self.dice.one_in(2) {
                // It never ends its own side: the server's close timeout is for it.
                self.socket(client).side = Side::Gone;
                self.part(client);
                return Ok(());
            }
            self.end_up(client, End::Fin);
        }
        self.lose(client);
        Ok(())
    }

    /// The connection is no more, as far as the client can tell.
    fn lose(&mut self, client: Client) {
        self.socket(client).side = Side::Gone;
        self.part(client);
    }

    fn hear(&mut self, client: Client) -> Kept {
        if !self.sockets[client as usize].is_answered {
            self.hear_answer(client)?;
        }
        while self.sockets[client as usize].is_answered {
            let taken = frames::take_frame(&mut self.socket(client).read);
            let frame = match taken {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                Err(why) => return broken("frames are as RFC 6455 wants them", format!("{client}: {why}")),
            };
            if self.sockets[client as usize].hearing.is_closed {
                return broken("nothing comes after a close frame", format!("{client}: {frame:?}"));
            }
            self.hear_frame(client, &frame)?;
        }
        Ok(())
    }

    /// The status of the request's answer.
    fn hear_answer(&mut self, client: Client) -> Kept {
        let socket = &mut self.sockets[client as usize];
        let Some(end) = socket.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(()) };
        let head: Vec<u8> = socket.read.drain(..end + 4).collect();
        let status = std::str::from_utf8(&head).ok().and_then(|head| head.get(9..12)?.parse().ok());
        note!(self, "{client} is answered {status:?}");
        let socket = &mut self.sockets[client as usize];
        if !status.is_some_and(|status| socket.hearing.statuses.contains(&status)) {
            return broken("a request is answered with its status", format!("{client}: {status:?}"));
        }
        socket.is_answered = status == Some(101);
        if !socket.is_answered {
            // What follows is the refusal's body.
            socket.read.clear();
            socket.hearing.statuses.clear();
        }
        self.greet(client);
        Ok(())
    }

    fn hear_frame(&mut self, client: Client, frame: &Heard) -> Kept {
        match frame.opcode {
            PING => {
                if self.sockets[client as usize].is_writable() {
                    self.control(client, PONG, &frame.payload, What::Pong);
                }
                Ok(())
            }
            PONG => {
                let expected = self.socket(client).hearing.pongs.pop_front();
                if expected.as_ref() != Some(&frame.payload) {
                    return broken("a ping is answered with its payload", format!("{client}: {expected:?}"));
                }
                Ok(())
            }
            CLOSE => self.hear_close(client, &frame.payload),
            TEXT => match std::str::from_utf8(&frame.payload) {
                Ok(text) => self.hear_text(client, text),
                Err(_) => broken("text is UTF-8", format!("{client}")),
            },
            opcode => broken("rooms speak in text", format!("{client}: opcode {opcode}")),
        }
    }

    fn hear_close(&mut self, client: Client, payload: &[u8]) -> Kept {
        let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
        note!(self, "{client} is closed with {code}");
        let socket = &mut self.sockets[client as usize];
        if !socket.hearing.closes.contains(&code) {
            return broken(
                "a close has its cause",
                format!("{client}: {code}, not {:?}", socket.hearing.closes),
            );
        }
        socket.hearing.is_closed = true;
        self.tally.close_frames += 1;
        match code {
            1001 => self.tally.close_frames_going_away += 1,
            1002 | 1007..=1009 => self.tally.close_frames_for_faults += 1,
            1013 => self.tally.close_frames_try_again += 1,
            _ => {}
        }
        // What was owed from this core was owed before the close; what comes from elsewhere may have been late.
        let core = self.sockets[client as usize].core;
        let Socket { hearing, is_lost, .. } = &self.sockets[client as usize];
        let own = hearing.own.front().map(Value::to_string);
        // Of one that is lost the room may have another home by now.
        let is_of_here = |segment: &&Segment| !is_lost && self.judge.home(&segment.room_code) == core;
        let of_room = hearing.segments.iter().filter(is_of_here);
        let of_room = of_room.flat_map(|segment| &segment.items).next().map(|item| format!("{item:?}"));
        if code != 1013
            && let Some(missing) = own.or(of_room)
        {
            return broken(PREFIX, format!("{client} is closed with {code} without {missing}"));
        }
        if self.sockets[client as usize].side == Side::Open && self.dice.one_in(2) {
            self.control(client, CLOSE, payload, What::Last);
        }
        Ok(())
    }

    fn hear_text(&mut self, client: Client, text: &str) -> Kept {
        note!(self, "{client} hears {text}");
        let socket = &mut self.sockets[client as usize];
        let is_member = !socket.hearing.segments.is_empty();
        match socket.hearing.hear(text, &mut self.judge) {
            Ok(cut) => self.tally.frames_cut += cut,
            Err(why) if is_member => return broken(PREFIX, format!("{client}: {why}")),
            Err(why) => return broken("a frame goes only to members", format!("{client}: {why}\n  {text}")),
        }
        self.tally.frames_compared += 1;
        let Ok(frame) = serde_json::from_str::<Value>(text) else { return Ok(()) };
        // Of one that is lost the next may have it already.
        if frame["type"] == "joined"
            && !self.sockets[client as usize].is_lost
            && let Some(ws_id) = frame["wsId"].as_str()
        {
            let other = self.ws_ids.insert(ws_id.to_owned(), client);
            let is_taken = other
                .is_some_and(|other| other != client && self.sockets[other as usize].connection.is_some());
            if is_taken {
                return broken("a wsId is never two connections'", format!("{client}: {ws_id}"));
            }
        }
        self.react(client, &frame);
        Ok(())
    }
}
