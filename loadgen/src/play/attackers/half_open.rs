//! Half-open attackers: one in two sends nothing at all, the other half a head.

use super::Kind;

pub struct HalfOpen;

impl Kind for HalfOpen {
    fn head_bytes(&mut self, connection: u32, request: &[u8]) -> usize {
        if connection.is_multiple_of(2) { 0 } else { request.len() / 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_head_is_ever_whole() {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!([0, 1, 2, 3].map(|it| HalfOpen.head_bytes(it, request)), [0, 13, 0, 13]);
    }
}
