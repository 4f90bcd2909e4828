//! What a SEEK's position says: who spoke in the room, and the number of the message.
//!
//! A position is all that comes back as it was sent, an integer of at most 86,400,000: 26 bits, of which the
//! speaker takes as many as the room needs. The rest are the low bits of the number; a listener knows which
//! number it waits for and takes the nearest. A number further off than half of what the bits hold would be
//! taken for another one, and counted as wrong in any case.

/// The most that 86,400,000 holds whole.
const POSITION_BITS: u32 = 26;
/// What is left for numbers at least: 2,048 of a speaker's messages can be on their way.
const SEQUENCE_BITS_MIN: u32 = 12;
/// Speakers of a room that a position can tell apart.
pub const SPEAKERS_MAX: usize = 1 << (POSITION_BITS - SEQUENCE_BITS_MIN);

const HEAD: &[u8] = br#"{"type":"SEEK","seekPositionMs":"#;
const NEXT: &[u8] = br#","masterClockMs":"#;

/// Writes and reads the positions of rooms of one size.
#[derive(Clone, Copy, Debug)]
pub struct Positions {
    speaker_bits: u32,
}

impl Positions {
    /// For at most [`SPEAKERS_MAX`] speakers in a room.
    pub fn new(speakers: usize) -> Positions {
        Positions { speaker_bits: speakers.next_power_of_two().trailing_zeros() }
    }

    fn sequence_bits(self) -> u32 {
        POSITION_BITS - self.speaker_bits
    }

    pub fn write(self, speaker: u32, sequence: u32) -> u32 {
        (sequence & ((1 << self.sequence_bits()) - 1)) << self.speaker_bits | speaker
    }

    pub fn speaker(self, position: u32) -> u32 {
        position & ((1 << self.speaker_bits) - 1)
    }

    /// Of all numbers that end as the position says, the nearest to `next`; below 0 is above all others.
    pub fn sequence(self, position: u32, next: u32) -> u32 {
        let unused_bits = u32::BITS - self.sequence_bits();
        let distance =
            ((position >> self.speaker_bits).wrapping_sub(next) << unused_bits) as i32 >> unused_bits;
        next.wrapping_add_signed(distance)
    }
}

/// The position of a SEEK as servers send it; `None` if it is another frame or is not as it should be.
pub fn read(frame: &[u8]) -> Option<u32> {
    let rest = frame.strip_prefix(HEAD)?;
    let digits = rest.iter().take(8).take_while(|it| it.is_ascii_digit()).count();
    let position = rest[..digits].iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    let is_whole = digits > 0 && rest[digits..].starts_with(NEXT) && rest.ends_with(b"}");
    (is_whole && position < 1 << POSITION_BITS).then_some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_speaker_and_number_comes_back_while_it_is_near() {
        for speakers in [1, 2, 3, 100, 9_000, SPEAKERS_MAX] {
            let positions = Positions::new(speakers);
            let half = 1_u32 << (positions.sequence_bits() - 1);
            for speaker in [0, speakers as u32 / 2, speakers as u32 - 1] {
                for next in [0, 1, half - 1, half, 2 * half, 7 * half + 5, 4_000_000_000] {
                    for sequence in [next.saturating_sub(half), next, next + 1, next + half - 1] {
                        let position = positions.write(speaker, sequence);
                        assert!(position <= 86_400_000);
                        let read = (positions.speaker(position), positions.sequence(position, next));
                        assert_eq!(read, (speaker, sequence), "{speakers} speakers, next {next}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_number_before_the_first_is_above_all_that_was_sent() {
        let positions = Positions::new(3);
        let position = positions.write(2, u32::MAX);
        assert_eq!(positions.sequence(position, 0), u32::MAX);
    }

    #[test]
    fn a_position_is_read_from_a_seek_as_servers_send_it_and_from_nothing_else() {
        let seek = |position: &str| {
            format!(
                r#"{{"type":"SEEK","seekPositionMs":{position},"masterClockMs":1.5,"seekDelayMs":300,"timestamp":1}}"#
            )
        };
        for (position, value) in [
            ("0", Some(0)),
            ("67108863", Some(67_108_863)),
            ("67108864", None),
            ("671088630", None),
            ("-1", None),
            ("1.5", None),
            ("1e3", None),
            (r#""1""#, None),
            ("", None),
        ] {
            assert_eq!(read(seek(position).as_bytes()), value, "{position}");
        }
        let whole = seek("1");
        for bytes in 0..whole.len() {
            assert_eq!(read(&whole.as_bytes()[..bytes]), None, "cut after {bytes}");
        }
        assert_eq!(read(br#"{"type":"PLAY","seekPositionMs":1,"masterClockMs":1}"#), None);
    }
}
