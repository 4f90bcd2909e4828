//! Masking of RFC 6455 §5.3, in place.
//!
//! Eight bytes at a time, which the compiler widens to vector registers. No `unsafe`: slices of eight are
//! cut by `as_chunks`. Masking twice with the same key gives the first bytes back.

/// Masks or unmasks `payload`, whose first byte is byte 0 of the frame's payload.
pub fn apply(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, tail) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    // 8 and 4 are multiples of 4, so what is left starts at byte 0 of the key again.
    let (half, tail) = tail.as_chunks_mut::<4>();
    for half in half {
        *half = (u32::from_ne_bytes(*half) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_byte_by_byte_definition_at_every_length() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in 0..100_usize {
            let plain: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let expected: Vec<u8> = plain.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
            let mut masked = plain.clone();
            apply(&mut masked, key);
            assert_eq!(masked, expected);
            apply(&mut masked, key);
            assert_eq!(masked, plain);
        }
    }
}
