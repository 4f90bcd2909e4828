//! The page at `/`: who gets it, that it is shared and not copied, and that everything else stays as it was.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use engine::{Action, App, Authz, ConnectionId, CoreId, Flow, Limits, Now, Seed, Settings, Shard};
use std::sync::LazyLock;
use wire::upgrade::Page;

static PAGE: LazyLock<Page> =
    LazyLock::new(|| Page { policy: "default-src 'none'".to_owned(), body: vec![b'x'; 90_000] });

const NOW: Now = Now { master_us: 5_000_000, unix_us: 1_750_000_000_000_000 };

fn shard(page: Option<&'static Page>) -> Shard {
    Shard::new(Settings {
        core: CoreId(0),
        cores: 1,
        app: App::Rooms,
        authz: Authz::Member,
        limits: Limits::default(),
        seed: Seed(4, 12),
        page,
    })
}

fn ask(shard: &mut Shard, request: &str) -> ConnectionId {
    let id = shard.handle_accept(false, NOW);
    assert_eq!(shard.handle_bytes(id, &mut request.as_bytes().to_vec(), NOW), Flow::Stream);
    id
}

/// All that is sent to the only connection, which must then be ended.
fn answer(shard: &mut Shard, id: ConnectionId) -> String {
    let mut answer = Vec::new();
    shard.flush();
    while let Some((to, bytes)) = shard.poll_send() {
        assert_eq!(to, id);
        let (bytes, len) = (bytes.to_vec(), bytes.len());
        answer.extend(bytes);
        assert_eq!(shard.handle_sent(id, len), None);
        shard.flush();
    }
    assert_eq!(shard.poll_action(), Some(Action::Shutdown(id)));
    String::from_utf8(answer).unwrap()
}

fn answer_to(page: Option<&'static Page>, request: &str) -> String {
    let mut shard = shard(page);
    let id = ask(&mut shard, request);
    answer(&mut shard, id)
}

fn plain(method: &str, target: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

#[test]
fn get_of_the_root_is_the_page_whatever_its_query_and_head_its_head() {
    let mut whole = Vec::new();
    PAGE.write(false, &mut whole);
    let whole = String::from_utf8(whole).unwrap();
    for target in ["/", "/?room=lumo-tavi", "http://h/"] {
        assert_eq!(answer_to(Some(&PAGE), &plain("GET", target)), whole);
    }
    let head = answer_to(Some(&PAGE), &plain("HEAD", "/"));
    assert_eq!(head, whole[..whole.len() - PAGE.body.len()]);
}

#[test]
fn without_a_page_and_on_any_other_path_nothing_is_found() {
    let not_found = answer_to(None, &plain("GET", "/any"));
    assert!(not_found.starts_with("HTTP/1.1 404 Not Found\r\n"), "{not_found}");
    assert!(not_found.contains("\r\nAccess-Control-Allow-Origin: *\r\n"), "{not_found}");
    assert_eq!(answer_to(None, &plain("GET", "/")), not_found);
    for target in ["/index.html", "//", "/ws/sync?roomCode=R", "/favicon.ico"] {
        assert_eq!(answer_to(Some(&PAGE), &plain("GET", target)), not_found, "{target}");
    }
    assert!(answer_to(Some(&PAGE), &plain("POST", "/")).starts_with("HTTP/1.1 405 "));
    assert!(answer_to(Some(&PAGE), &plain("OPTIONS", "/")).starts_with("HTTP/1.1 204 "));
}

#[test]
fn the_root_opens_a_websocket_all_the_same() {
    let mut shard = shard(Some(&PAGE));
    ask(
        &mut shard,
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!((shard.stats().upgraded, shard.stats().pages_served), (1, 0));
}

#[test]
fn all_who_ask_share_its_bytes_and_a_short_send_goes_on_where_it_stopped() {
    let mut shard = shard(Some(&PAGE));
    let ids: Vec<ConnectionId> = (0..3).map(|_| ask(&mut shard, &plain("GET", "/"))).collect();
    shard.flush();
    let mut places = Vec::new();
    while let Some((_, bytes)) = shard.poll_send() {
        places.push((bytes.as_ptr(), bytes.len()));
    }
    assert_eq!(places.len(), 3);
    assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
    let (start, whole) = places[0];
    let rest = shard.handle_sent(ids[1], 1000).unwrap();
    assert_eq!((rest.as_ptr(), rest.len()), (start.wrapping_add(1000), whole - 1000));
    assert_eq!(shard.stats().pages_served, 3);
    assert_eq!(shard.stats().refused_heads, 0);
}
