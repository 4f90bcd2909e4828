//! A client's own reading and writing of RFC 6455 frames, so that the server's is not its own judge.

/// Opcodes of RFC 6455 §5.2.
pub(super) const CONTINUE: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// What a client heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) opcode: u8,
    pub(super) payload: Vec<u8>,
}

/// Takes the first frame off what was received; `None` until it is whole. The error says which rule a server's
/// frame broke.
pub(super) fn take_frame(received: &mut Vec<u8>) -> Result<Option<Heard>, String> {
    let [first, second, rest @ ..] = &received[..] else { return Ok(None) };
    if first & 0xf0 != 0x80 {
        return Err(format!("a frame begins with {first:#04x}: reserved bits, or a fragment"));
    }
    if second & 0x80 != 0 {
        return Err("a server's frame is masked".to_owned());
    }
    let opcode = first & 0x0f;
    if ![TEXT, BINARY, CLOSE, PING, PONG].contains(&opcode) {
        return Err(format!("opcode {opcode}"));
    }
    let (payload_bytes, header_bytes) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        (126, _) => return Ok(None),
        (127, _) => return Err("a frame of over 64 KiB".to_owned()),
        (short, _) => (usize::from(short), 2),
    };
    if received.len() < header_bytes + payload_bytes {
        return Ok(None);
    }
    let payload = received[header_bytes..header_bytes + payload_bytes].to_vec();
    received.drain(..header_bytes + payload_bytes);
    Ok(Some(Heard { opcode, payload }))
}

/// Appends a frame as a client sends it; without a key it is the unmasked one that a server must refuse.
pub(super) fn push_frame(out: &mut Vec<u8>, first: u8, payload: &[u8], key: Option<[u8; 4]>) {
    let mask = if key.is_some() { 0x80 } else { 0 };
    out.push(first);
    match payload.len() {
        short @ 0..126 => out.push(mask | short as u8),
        long @ 126..0x1_0000 => {
            out.push(mask | 126);
            out.extend_from_slice(&(long as u16).to_be_bytes());
        }
        longest => {
            out.push(mask | 127);
            out.extend_from_slice(&(longest as u64).to_be_bytes());
        }
    }
    match key {
        Some(key) => {
            out.extend_from_slice(&key);
            out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        }
        None => out.extend_from_slice(payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_once_it_is_whole() {
        let mut received = vec![0x81, 2, b'h'];
        assert_eq!(take_frame(&mut received), Ok(None));
        received.extend_from_slice(b"i\x88\x00");
        assert_eq!(take_frame(&mut received), Ok(Some(Heard { opcode: TEXT, payload: b"hi".to_vec() })));
        assert_eq!(take_frame(&mut received), Ok(Some(Heard { opcode: CLOSE, payload: vec![] })));
        assert!(take_frame(&mut vec![0x01, 0]).is_err());
        assert!(take_frame(&mut vec![0x81, 0x80]).is_err());
    }

    #[test]
    fn what_a_client_sends_is_masked() {
        let mut out = vec![];
        push_frame(&mut out, 0x80 | TEXT, b"hi", Some([1, 2, 3, 4]));
        assert_eq!(out, [0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]);
    }
}
