//! Dripping attackers: one byte at a time. One in two drips its head, too, all drip valid messages for ever.

use super::{KEY, Kind};
use wire::frame::{self, Opcode};

#[derive(Clone, Default)]
struct Dripper {
    /// What is left of its head.
    head: Vec<u8>,
    /// Bytes dripped.
    at: usize,
}

pub struct Drip {
    drippers: Vec<Dripper>,
    /// What comes behind the head, again and again.
    message: Vec<u8>,
}

impl Drip {
    pub fn new(connections: usize) -> Drip {
        let mut message = Vec::new();
        // An echo gives it back, a room answers it.
        let text = br#"{"type":"time_ping","id":"drip","t0":1700000000000}"#;
        frame::push_masked_frame(&mut message, Opcode::Text, text, KEY);
        Drip { drippers: vec![Dripper::default(); connections], message }
    }
}

impl Kind for Drip {
    fn head_bytes(&mut self, connection: u32, request: &[u8]) -> usize {
        if connection.is_multiple_of(2) {
            return request.len();
        }
        self.drippers[connection as usize].head = request.to_vec();
        0
    }

    fn speak(&mut self, connection: u32, out: &mut Vec<u8>) -> u64 {
        let Dripper { head, at } = &mut self.drippers[connection as usize];
        let byte = head.get(*at).copied();
        out.push(byte.unwrap_or_else(|| self.message[(*at - head.len()) % self.message.len()]));
        *at += 1;
        1
    }

    fn ended(&mut self, connection: u32) {
        self.drippers[connection as usize] = Dripper::default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn what_drips_is_a_whole_head_and_then_whole_messages() {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut drip = Drip::new(2);
        assert_eq!([0, 1].map(|it| drip.head_bytes(it, request)), [request.len(), 0]);
        let message_bytes = drip.message.len();
        for life in 0..2 {
            let mut out = Vec::new();
            let bytes = request.len() + 2 * message_bytes;
            assert_eq!((0..bytes).map(|_| drip.speak(1, &mut out)).sum::<u64>(), bytes as u64);
            assert_eq!(&out[..request.len()], request, "life {life}");
            let (events, end) = read(out.split_off(request.len()));
            assert_eq!((events.len(), end), (2, None));
            drip.ended(1);
            drip.head_bytes(1, request);
        }
        let mut out = Vec::new();
        assert_eq!((0..message_bytes).map(|_| drip.speak(0, &mut out)).sum::<u64>(), message_bytes as u64);
        assert_eq!(read(out).0.len(), 1, "a head that went at once is not said again");
    }
}
