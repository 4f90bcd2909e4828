//! JSON at its edges: depth, numbers that no double holds, minus zero, names that come twice, lone surrogates.
//!
//! Each is read as JavaScript reads it or ignored, and the reader is as good as new behind it: that is checked by
//! reading a sound message with the same reader each time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use wire::request::{Ignored, Parser, Request, RequestLimits};

const LIMITS: RequestLimits = RequestLimits { room_code_bytes_max: 256, depth_max: 32 };

/// What a message is read as, if it is; values in it as they would be given back.
fn read(parser: &mut Parser, text: &[u8]) -> Result<String, Ignored> {
    let said = |value: Option<wire::json::Value<'_, '_>>| {
        value.map_or_else(|| "-".to_owned(), |value| value.to_json().as_text().to_owned())
    };
    parser.parse(&mut text.to_vec(), |message| {
        let request = match message.request {
            Request::TimePing { id, t0 } => format!("time_ping {} {}", said(id), said(t0)),
            Request::Join { user_id, host_id } => format!("join {} {}", said(user_id), said(host_id)),
            Request::TrackChange { track } => format!("track {}", said(Some(track))),
            other => format!("{other:?}"),
        };
        format!("{} {request}", message.room_code.unwrap_or("-"))
    })
}

fn check(text: impl AsRef<[u8]>, expected: Result<&str, Ignored>) {
    let text = text.as_ref();
    let mut parser = Parser::new(LIMITS);
    let shown = String::from_utf8_lossy(&text[..text.len().min(120)]);
    assert_eq!(read(&mut parser, text), expected.map(str::to_owned), "{shown}");
    // Plain enough for the quick reader, and not.
    for sound in
        [&br#"{"type":"time_ping","id":1,"t0":2}"#[..], br#"{"type":"time_ping","id":1,"t0":2,"x":[]}"#]
    {
        assert_eq!(read(&mut parser, sound), Ok("- time_ping 1 2".to_owned()), "behind {shown}");
    }
}

/// A TRACK_CHANGE whose deepest value is that deep; the message itself is the first level, the track the second.
fn nested(depth: usize, open: &str, close: &str) -> String {
    let (open, close) = (open.repeat(depth - 2), close.repeat(depth - 2));
    format!(r#"{{"type":"TRACK_CHANGE","roomCode":"R","trackData":{{"a":{open}1{close}}}}}"#)
}

#[test]
fn depth_of_32_is_read_and_given_back_and_of_33_is_ignored() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"[{"a":"#, "}]")] {
        let levels = open.matches(['[', '{']).count();
        let (just, over) = (2 + 30 / levels, 2 + 30 / levels + 1);
        let text = nested(just, open, close);
        let track = text.split_once(r#""trackData":"#).unwrap().1.strip_suffix('}').unwrap();
        check(&text, Ok(&format!("R track {track}")));
        check(nested(over, open, close), Err(Ignored::NotJson));
    }
}

#[test]
fn depth_without_an_end_is_ignored() {
    for text in
        ["[".repeat(64 * 1024), r#"{"a":"#.repeat(13_000), r#"[{"":"#.repeat(13_000), "]".repeat(64 * 1024)]
    {
        check(&text, Err(Ignored::NotJson));
        check(format!(r#"{{"type":"join","roomCode":"R","userId":{text}"#), Err(Ignored::NotJson));
    }
}

#[test]
fn numbers_past_any_double_are_ignored() {
    for number in ["1e400", "-1e400", "1e309", "1.8e308", "9".repeat(400).as_str(), "1e99999999999999999999"]
    {
        for name in ["t0", "unread"] {
            let text = format!(r#"{{"type":"time_ping","{name}":{number}}}"#);
            check(text, Err(Ignored::NotJson));
        }
        check(
            format!(r#"{{"type":"SEEK","roomCode":"R","seekPositionMs":{number}}}"#),
            Err(Ignored::NotJson),
        );
    }
}

#[test]
fn numbers_at_the_ends_of_the_doubles_are_read_as_javascript_does() {
    for (number, read) in [
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("-1.7976931348623157e308", "-1.7976931348623157e+308"),
        ("5e-324", "5e-324"),
        ("1e-400", "0"),
        ("-1e-400", "0"),
        ("9007199254740993", "9007199254740993"),
        ("18446744073709551615", "18446744073709551615"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("0.1e1", "1"),
        ("100E-2", "1"),
    ] {
        check(format!(r#"{{"type":"time_ping","t0":{number}}}"#), Ok(&format!("- time_ping - {read}")));
    }
}

#[test]
fn minus_zero_is_zero() {
    for number in ["-0", "-0.0", "-0e5", "-0.000e-9"] {
        check(format!(r#"{{"type":"time_ping","id":{number},"t0":{number}}}"#), Ok("- time_ping 0 0"));
        for (kind, name) in
            [("SEEK", "seekPositionMs"), ("RESUME", "startDelayMs"), ("sync_check", "clientPosition")]
        {
            let mut parser = Parser::new(LIMITS);
            let text = format!(r#"{{"type":"{kind}","roomCode":"R","{name}":{number}}}"#);
            assert!(read(&mut parser, text.as_bytes()).is_ok(), "{text}");
        }
    }
}

#[test]
fn what_is_no_number_in_json_is_ignored() {
    for number in [
        "NaN",
        "Infinity",
        "-Infinity",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "-",
        "1e",
        "1e+",
        "0x10",
        "1_000",
        "--1",
    ] {
        check(format!(r#"{{"type":"time_ping","t0":{number}}}"#), Err(Ignored::NotJson));
    }
}

#[test]
fn of_a_name_that_comes_twice_the_last_counts_for_both_readers() {
    // The second text of each pair is one that only the parser of all of JSON reads.
    for unread in ["", r#","unread":[]"#] {
        check(
            format!(r#"{{"type":"PAUSE","type":"time_ping","t0":1,"t0":2{unread}}}"#),
            Ok("- time_ping - 2"),
        );
        check(
            format!(r#"{{"roomCode":"first","type":"PAUSE","roomCode":"last"{unread}}}"#),
            Ok("last Pause"),
        );
        check(
            format!(r#"{{"type":"PAUSE","roomCode":"R","roomCode":7{unread}}}"#),
            Err(Ignored::BadRoomCode),
        );
        check(format!(r#"{{"type":"PAUSE","type":null,"roomCode":"R"{unread}}}"#), Err(Ignored::UnknownType));
    }
    let many = r#","roomCode":"R""#.repeat(4_000);
    check(format!(r#"{{"type":"PAUSE"{many}}}"#), Ok("R Pause"));
    // The same name, written in two ways.
    check(r#"{"type":"PAUSE","roomCode":"plain","room\u0043ode":"escaped"}"#, Ok("escaped Pause"));
}

#[test]
fn a_lone_surrogate_is_the_replacement_character_wherever_it_stands() {
    for lone in [r"\ud800", r"\uDBFF", r"\udc00", r"\uDFFF"] {
        check(
            format!(r#"{{"type":"join","roomCode":"{lone}","userId":"a{lone}"}}"#),
            Ok("\u{fffd} join \"a\u{fffd}\" -"),
        );
        check(
            format!(r#"{{"type":"time_ping","id":"{lone}{lone}b"}}"#),
            Ok("- time_ping \"\u{fffd}\u{fffd}b\" -"),
        );
        check(format!(r#"{{"type":"time_ping","{lone}":1,"id":2}}"#), Ok("- time_ping 2 -"));
        check(format!(r#"{{"type":"{lone}"}}"#), Err(Ignored::UnknownType));
        check(
            format!(r#"{{"type":"TRACK_CHANGE","roomCode":"R","trackData":{{"{lone}":["{lone}"]}}}}"#),
            Ok("R track {\"\u{fffd}\":[\"\u{fffd}\"]}"),
        );
        check(format!(r#"{{"type":"time_ping","id":"{lone}"#), Err(Ignored::NotJson));
    }
    // Two halves the wrong way round, and two that belong together.
    check(r#"{"type":"time_ping","id":"\udfb5\ud83c"}"#, Ok("- time_ping \"\u{fffd}\u{fffd}\" -"));
    check(r#"{"type":"time_ping","id":"\ud83c\udfb5"}"#, Ok("- time_ping \"🎵\" -"));
    // An escaped backslash before it: no surrogate at all.
    check(r#"{"type":"time_ping","id":"\\ud800"}"#, Ok(r#"- time_ping "\\ud800" -"#));
}

#[test]
fn text_that_is_cut_anywhere_is_ignored() {
    let text =
        r#"{"type":"TRACK_CHANGE","roomCode":"R","trackData":{"a":[1.5e3,-0,true,null,"\ud83c\udfb5\\"]}}"#;
    for end in 0..text.len() {
        check(&text[..end], Err(Ignored::NotJson));
    }
}
