//! What is asked of the admin port, and what it answers. The contract of the JSON is docs/admin.md.

use super::Admin;
use super::access::{self, Refusal};
use super::events::Events;
use super::metrics;
use super::rooms::{PageJson, RoomJson};
use super::samples::RECENT;
use super::socket::Watch;
use super::stats::{Stats, unready};
use super::status::Drain;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Bytes of a request's body; past it 413.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Rooms on a page.
const ROOMS_DEFAULT: usize = 100;
const ROOMS_MAX: usize = engine::limits::REPORTED_MAX;
/// Bytes of a room code or a part of one.
const ROOM_CODE_BYTES_MAX: usize = 256;
/// Whoever asks for figures is expected to ask again within this.
const INTEREST: Duration = Duration::from_secs(10);

const DASHBOARD: &str = include_str!("dashboard.html");

type Body = Either<Full<Bytes>, Events>;

/// An answer, and what goes with it.
pub struct Answer {
    pub response: Response<Body>,
    /// It has no end.
    pub is_stream: bool,
    /// Once it is out, the process is to drain.
    pub is_drain: bool,
}

/// Answers one request.
pub async fn answer(admin: &Rc<Admin>, request: Request<Incoming>, watch: &Rc<Watch>) -> Answer {
    let path = request.uri().path().to_owned();
    let is_open = matches!(path.as_str(), "/" | "/healthz" | "/readyz");
    if !is_open && let Err(refusal) = access::judge(admin.token.as_ref(), request.method(), request.headers())
    {
        return whole(refused(refusal));
    }
    let is_drain = path == "/api/drain";
    let allowed: &[Method] = if is_drain { &[Method::POST] } else { &[Method::GET, Method::HEAD] };
    if !allowed.contains(request.method()) {
        return whole(not_allowed(if is_drain { "POST" } else { "GET, HEAD" }));
    }
    match path.as_str() {
        "/" => whole(dashboard()),
        "/healthz" => whole(health(admin).await),
        "/readyz" => whole(readiness(admin).await),
        "/metrics" => whole(scrape(admin).await),
        "/api/stats" => {
            admin.be_interested().await;
            whole(json(StatusCode::OK, &admin.stats()))
        }
        "/api/events" => events(admin, watch).await,
        "/api/rooms" => whole(rooms(admin, request.uri().query().unwrap_or_default()).await),
        "/api/drain" => drain(admin, request).await,
        path => match path.strip_prefix("/api/rooms/") {
            Some(code) => whole(room(admin, code).await),
            None => whole(error(StatusCode::NOT_FOUND, "no such path")),
        },
    }
}

impl Admin {
    fn stats(&self) -> Stats {
        Stats::new(&self.facts, &self.status.borrow(), &self.sampler)
    }

    /// Someone wants figures, and will again: readings are taken once a second for a while.
    async fn be_interested(self: &Rc<Admin>) {
        self.interest_until.set(Instant::now() + INTEREST);
        self.sampler.catch_up().await;
        if !self.is_ticking.replace(true) {
            glommio::spawn_local(tick(Rc::clone(self))).detach();
        }
    }
}

/// Takes a reading each second, and tells those who listen, for as long as anyone does or has asked of late.
async fn tick(admin: Rc<Admin>) {
    const INTERVAL: Duration = Duration::from_secs(1);
    let mut drain_told = None;
    let mut next = Instant::now();
    loop {
        next += INTERVAL;
        glommio::timer::Timer::new(next.saturating_duration_since(Instant::now())).await;
        if admin.hub.listeners() == 0 && Instant::now() > admin.interest_until.get() {
            admin.is_ticking.set(false);
            return;
        }
        admin.sampler.take(INTERVAL / 2).await;
        let stats = admin.stats();
        let drain = serde_json::to_string(stats.drain()).unwrap_or_default();
        if drain_told.as_ref().is_some_and(|told| *told != drain) {
            admin.hub.publish_drain(&drain);
        }
        drain_told = Some(drain);
        admin.publish(&stats);
        // After a pause of the whole process there is nothing to catch up with.
        next = next.max(Instant::now() - INTERVAL);
    }
}

impl Admin {
    fn publish(&self, stats: &Stats) {
        if self.hub.listeners() > 0
            && let Ok(json) = serde_json::to_string(stats)
        {
            self.hub.publish_stats(&json);
        }
    }
}

async fn events(admin: &Rc<Admin>, watch: &Rc<Watch>) -> Answer {
    let Some(events) = admin.hub.listen(Rc::clone(watch)) else {
        return whole(error(StatusCode::SERVICE_UNAVAILABLE, "too many listen already"));
    };
    admin.be_interested().await;
    admin.publish(&admin.stats());
    let mut response = Response::new(Either::Right(events));
    common(&mut response, "text/event-stream");
    Answer { response, is_stream: true, is_drain: false }
}

async fn health(admin: &Admin) -> Response<Body> {
    admin.sampler.take(RECENT).await;
    let silent = (0..admin.sampler.shards.count()).filter(|core| !admin.sampler.is_answering(*core));
    let lines: String = silent.map(|core| format!("shard {core} does not answer\n")).collect();
    if lines.is_empty() {
        plain(StatusCode::OK, "ok\n".to_owned())
    } else {
        plain(StatusCode::SERVICE_UNAVAILABLE, lines)
    }
}

async fn readiness(admin: &Admin) -> Response<Body> {
    admin.sampler.take(RECENT).await;
    let reasons = unready(&admin.facts, &admin.status.borrow(), &admin.sampler.readings());
    if reasons.is_empty() {
        return plain(StatusCode::OK, "ready\n".to_owned());
    }
    let lines = reasons.iter().map(|reason| format!("{reason}\n")).collect();
    plain(StatusCode::SERVICE_UNAVAILABLE, lines)
}

async fn scrape(admin: &Admin) -> Response<Body> {
    admin.sampler.take(RECENT).await;
    match metrics::text(&admin.facts, &admin.status.borrow(), &admin.sampler.readings()) {
        Ok(text) => typed(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written"),
    }
}

async fn rooms(admin: &Admin, query: &str) -> Response<Body> {
    let mut search = String::new();
    let mut limit = ROOMS_DEFAULT;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "search" => search = value.into_owned(),
            "limit" => match value.parse().ok().filter(|limit| (1..=ROOMS_MAX).contains(limit)) {
                Some(number) => limit = number,
                None => return error(StatusCode::BAD_REQUEST, "limit: a number from 1 to 1000"),
            },
            _ => {}
        }
    }
    if search.len() > ROOM_CODE_BYTES_MAX {
        return error(StatusCode::BAD_REQUEST, "search: at most 256 bytes");
    }
    admin.sampler.take(RECENT).await;
    let is_answering = |core| admin.sampler.is_answering(core);
    let replies = admin.sampler.shards.rooms(&search, limit, is_answering).await;
    json(StatusCode::OK, &PageJson::new(replies, limit))
}

async fn room(admin: &Admin, code: &str) -> Response<Body> {
    const NO_SUCH_ROOM: &str = "no such room";
    let Ok(code) = percent_decode_str(code).decode_utf8() else {
        return error(StatusCode::NOT_FOUND, NO_SUCH_ROOM);
    };
    if code.len() > ROOM_CODE_BYTES_MAX {
        return error(StatusCode::NOT_FOUND, NO_SUCH_ROOM);
    }
    admin.sampler.take(RECENT).await;
    let is_answering = |core| admin.sampler.is_answering(core);
    let replies = admin.sampler.shards.room(&code, is_answering).await;
    match (replies.answers.into_iter().next(), replies.silent.first()) {
        (Some((core, report)), _) => json(StatusCode::OK, &RoomJson::new(core, *report)),
        (None, Some(core)) => error(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("shard {core}, which may have it, does not answer"),
        ),
        (None, None) => error(StatusCode::NOT_FOUND, NO_SUCH_ROOM),
    }
}

async fn drain(admin: &Admin, request: Request<Incoming>) -> Answer {
    // Nothing is expected in it, but a client may send something.
    if Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await.is_err() {
        return whole(error(StatusCode::PAYLOAD_TOO_LARGE, "the body has more than 16 KiB"));
    }
    admin.sampler.take(RECENT).await;
    let of = admin.stats().connections();
    let mut status = admin.status.borrow_mut();
    status.drain.get_or_insert(Drain { since: Instant::now(), of, rate_per_s: 0 });
    drop(status);
    let stats = admin.stats();
    if let Ok(json) = serde_json::to_string(stats.drain()) {
        admin.hub.publish_drain(&json);
    }
    let mut response = json(StatusCode::ACCEPTED, &serde_json::json!({ "draining": true }));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Answer { response, is_stream: false, is_drain: true }
}

/// The page, which may run its own script and nothing else.
fn dashboard() -> Response<Body> {
    let Ok(nonce) = getrandom::u64().and_then(|high| Ok(format!("{high:016x}{:016x}", getrandom::u64()?)))
    else {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "no random number for the page's policy");
    };
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let page = DASHBOARD.replace("{nonce}", &nonce);
    let mut response = typed(StatusCode::OK, "text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy).unwrap_or(NOTHING_ALLOWED));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

const NOTHING_ALLOWED: HeaderValue = HeaderValue::from_static("default-src 'none'");

fn refused(refusal: Refusal) -> Response<Body> {
    match refusal {
        Refusal::NoToken => {
            let mut response =
                error(StatusCode::UNAUTHORIZED, "Authorization: Bearer with the admin token is wanted");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        Refusal::OtherSite => error(
            StatusCode::FORBIDDEN,
            "without a token, ask for this port by its address and from no page of another site",
        ),
    }
}

fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, &format!("allowed: {allowed}"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn whole(response: Response<Body>) -> Answer {
    Answer { response, is_stream: false, is_drain: false }
}

fn error(status: StatusCode, line: &str) -> Response<Body> {
    json(status, &serde_json::json!({ "error": line }))
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(text) => typed(status, "application/json", text),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written\n".to_owned()),
    }
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", text)
}

fn typed(status: StatusCode, content_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    common(&mut response, content_type);
    response
}

fn common(response: &mut Response<Body>, content_type: &'static str) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
