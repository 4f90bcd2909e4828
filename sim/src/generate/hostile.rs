//! What a liar makes of a message: wrong types, missing and doubled fields, numbers that are none, other people's
//! rooms, forged checks, text that is no JSON, bytes that are no text.

use super::Step;
use super::dice::Dice;
use super::message::{Message, nested, odd_value, with_an_escape, with_space};
use crate::model::Client;

/// Whole messages that are no requests.
const NO_REQUESTS: [&str; 22] = [
    "",
    " ",
    "null",
    "5",
    "\"x\"",
    "true",
    "[]",
    "{}",
    "{",
    "}",
    "{\"type\"}",
    "{\"type\":}",
    "[{\"type\":\"time_ping\"}]",
    "{\"type\":null}",
    "{\"type\":5,\"roomCode\":\"x\"}",
    "{\"type\":\"\"}",
    "{\"type\":\"nonsense\"}",
    "{\"type\":\"time_ping\",\"id\":1,\"t0\":1}{}",
    "\u{feff}{\"type\":\"time_ping\",\"id\":1,\"t0\":1}",
    "{\"type\":\"time_ping\",\"id\":1,\"t0\":1,}",
    "{'type':'time_ping'}",
    "{\"type\":\"__proto__\",\"__proto__\":{\"type\":\"time_ping\"}}",
];
/// Room codes that nobody is in, or nobody can be in.
const NO_ROOMS: [&str; 9] =
    ["\"\"", "null", "7", "[\"x\"]", "{}", "\"undefined\"", "\"nobody-is-here\"", "\"\\ud800\"", "true"];
/// About as long as a message may be.
const LONG_BYTES: usize = 60_000;

/// Something hostile in the likeness of `message`. `codes` are rooms that exist or could.
pub fn twist(
    client: Client,
    message: &Message,
    codes: &[String],
    may_be_long: bool,
    dice: &mut Dice,
) -> Step {
    let mut message = message.clone();
    let has_track = message.fields.iter().any(|(name, _)| name == "trackData");
    if has_track && dice.one_in(3) {
        return Step::Say { client, text: with_odd_track(message, dice).text(), is_binary: false };
    }
    let text = match dice.below(if may_be_long { 16 } else { 15 }) {
        0 => (*dice.pick(&NO_REQUESTS)).to_owned(),
        1..=3 => {
            // The first field is the type, which is too easily noticed to be changed each time.
            let field = dice.below(message.fields.len());
            message.fields[field].1 = odd_value(dice);
            message.text()
        }
        4 => {
            message.fields.remove(dice.below(message.fields.len()));
            message.text()
        }
        5 => {
            let (name, _) = dice.pick(&message.fields).clone();
            let place = dice.below(message.fields.len() + 1);
            message.fields.insert(place, (name, odd_value(dice)));
            message.text()
        }
        6 => with_room(message, (*dice.pick(&NO_ROOMS)).to_owned()).text(),
        7 => with_room(message, format!("\"{}\"", dice.pick(codes))).text(),
        8 => {
            let code = dice.pick(codes).clone();
            with_room(message, edge_code(&code, dice)).text()
        }
        9 => {
            let depth = dice.within(29..=34) as usize;
            message.fields.push(("deep".to_owned(), nested(depth)));
            message.text()
        }
        10 => with_an_escape(&message.text(), dice),
        11 => with_space(&message.text(), dice),
        12 => cut(&message.text(), dice),
        13 => with_check(message, dice).text(),
        14 => return bytes(client, &message.text(), dice),
        _ => {
            let field = dice.below(message.fields.len());
            message.fields[field].1 = format!("\"{}\"", "long".repeat(LONG_BYTES / 4));
            message.text()
        }
    };
    Step::Say { client, text, is_binary: dice.one_in(8) }
}

fn with_room(mut message: Message, code: String) -> Message {
    message.fields.retain(|(name, _)| name != "roomCode");
    message.fields.push(("roomCode".to_owned(), code));
    message
}

/// A code of just as many bytes as are allowed, or one more.
fn edge_code(code: &str, dice: &mut Dice) -> String {
    let bytes = dice.within(255..=257) as usize;
    let filler = *dice.pick(&["x", "é"]);
    let mut code = code.to_owned();
    while code.len() + filler.len() <= bytes {
        code.push_str(filler);
    }
    format!("\"{code}\"")
}

fn with_check(mut message: Message, dice: &mut Dice) -> Message {
    message.fields.retain(|(name, _)| name != "checkId");
    let check = *dice.pick(&["\"$stale\"", "\"none\"", "\"\"", "null", "7", "\"$check \"", "\"$CHECK\""]);
    message.fields.push(("checkId".to_owned(), check.to_owned()));
    message
}

/// A track whose own fields are odd.
fn with_odd_track(mut message: Message, dice: &mut Dice) -> Message {
    message.fields.retain(|(name, _)| name != "trackData");
    let mut fields = vec![format!("\"title\":{}", odd_value(dice))];
    let url = if dice.one_in(3) { odd_value(dice) } else { "\"d\"".to_owned() };
    fields.push(format!("\"audioUrl\":{url}"));
    if !dice.one_in(4) {
        fields.push(format!("\"duration\":{}", odd_value(dice)));
    }
    message.fields.push(("trackData".to_owned(), format!("{{{}}}", fields.join(","))));
    message
}

/// Some of the text, or too much.
fn cut(text: &str, dice: &mut Dice) -> String {
    let mut end = dice.below(text.len() + 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    match dice.below(3) {
        0 => format!("{text}{}", dice.pick(&["}", "x", "\0", ",", "null"])),
        _ => text[..end].to_owned(),
    }
}

/// A binary frame that is no UTF-8: the text with a byte that is none, or none of the text.
fn bytes(client: Client, text: &str, dice: &mut Dice) -> Step {
    let mut bytes = text.as_bytes().to_vec();
    let place = dice.below(bytes.len());
    bytes[place] = *dice.pick(&[0x80, 0xc0, 0xff, 0xed]);
    if dice.one_in(4) {
        bytes = vec![0xff; dice.below(40)];
        bytes.push(0xfe);
    }
    Step::Bytes { client, bytes }
}
