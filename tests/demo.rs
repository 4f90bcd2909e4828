//! The demo player over real sockets: where it is, where it is not, and what its answer says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use downbeat::config::Config;
use downbeat::demo;
use engine::App;
use server::{Server, config, hear_type, join};
use std::io::{Read, Write};

/// The whole answer, until the server closes.
fn answer(server: &Server, method: &str, target: &str) -> String {
    let mut stream = server.tcp();
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_root_is_the_player_by_default() {
    let server = Server::start(&config(2));
    let page = demo::page();
    for target in ["/", "/?room=lumo-tavi"] {
        let answer = answer(&server, "GET", target);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        for field in [
            "Content-Type: text/html; charset=utf-8",
            "Cache-Control: no-cache",
            "Connection: close",
            &format!("Content-Length: {}", page.body.len()),
            &format!("Content-Security-Policy: {}", page.policy),
        ] {
            assert!(head.lines().any(|line| line == field), "{field}: {head}");
        }
        assert!(body.as_bytes() == page.body, "the body is the page");
    }
    let head = answer(&server, "HEAD", "/");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    server.await_total("pages", |it| it.engine.pages_served, |pages| pages == 3);
    server.stop();
}

#[test]
fn every_other_path_is_not_found_and_rooms_are_where_they_were() {
    let server = Server::start(&config(1));
    for target in ["/index.html", "/style.css", "/main.js", "/favicon.ico", "/ws/sync"] {
        let answer = answer(&server, "GET", target);
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{target}: {answer}");
        assert!(answer.contains("\r\nAccess-Control-Allow-Origin: *\r\n"), "{target}: {answer}");
    }
    let mut client = server.connect("/");
    join(&mut client, "R", "u");
    hear_type(&mut client, "joined");
}

#[test]
fn there_is_no_player_if_it_is_off_in_production_or_for_another_app() {
    for without in [
        Config { demo: Some(false), ..config(1) },
        Config { environment: "production".to_owned(), ..config(1) },
        Config { app: App::Echo, ..config(1) },
        Config { app: App::Broadcast, demo: Some(true), ..config(1) },
    ] {
        let server = Server::start(&without);
        let root = answer(&server, "GET", "/");
        assert!(root.starts_with("HTTP/1.1 404 Not Found\r\n"), "{root}");
        assert_eq!(root, answer(&server, "GET", "/any"));
    }
}

#[test]
fn many_who_ask_at_once_all_get_it_whole() {
    let server = Server::start(&config(2));
    let mut streams: Vec<_> = (0..40).map(|_| server.tcp()).collect();
    for stream in &mut streams {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    for stream in &mut streams {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(&demo::page().body));
    }
    server.await_all_armed(0);
}
