//! One client as the newest real one behaves, and the cast's common book-keeping.
//!
//! Cadence: join, seven pings over 500 ms and again each 1.5 s, state queries at the start, readiness answers,
//! a sync_check each 5 s while playing. The first client of a room clicks; one in ten leaves now and then
//! and comes back after 1.0 to 1.4 s.

use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket};

const BURST: [u64; 7] = [0, 83, 166, 250, 333, 416, 500];
const BURST_INTERVAL: Duration = Duration::from_millis(1500);
const STATE_QUERIES_MAX: u32 = 7;

/// What all clients share.
pub struct Cast {
    port: u16,
    is_idle: bool,
    random: u64,
    /// What went wrong.
    pub faults: Vec<String>,
    /// Round trips of pings, in steps of 10 µs.
    round_trips: HashMap<u64, u64>,
    pings: u64,
    pongs: u64,
    heard: u64,
    clicks: u64,
    returns: u64,
    connected: usize,
    /// By room: what each stay of a member heard.
    stays: HashMap<usize, Vec<Vec<String>>>,
}

/// One client.
pub struct Client {
    number: usize,
    room: usize,
    socket: Option<WebSocket<TcpStream>>,
    /// Set by the poll before each turn.
    pub is_readable: bool,
    due: VecDeque<(Instant, Deed)>,
    /// Pings under way: their numbers and when they were sent.
    pings: HashMap<u64, Instant>,
    ping_number: u64,
    state_queries: u32,
    is_playing: bool,
    /// Room events of this stay, in order.
    stay: Vec<String>,
}

enum Deed {
    Connect,
    Ping,
    Burst,
    Say(String),
    AskAgain,
    SyncCheck,
    Click,
    Vanish,
}

impl Cast {
    pub fn new(port: u16, is_idle: bool) -> Cast {
        Cast {
            port,
            is_idle,
            random: 0x2545_f491_4f6c_dd1d,
            faults: Vec::new(),
            round_trips: HashMap::new(),
            pings: 0,
            pongs: 0,
            heard: 0,
            clicks: 0,
            returns: 0,
            connected: 0,
            stays: HashMap::new(),
        }
    }

    pub fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// A number below `below`, the same in each run.
    fn below(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    pub fn line(&self) -> String {
        format!(
            "{} connected, {} pongs, {} heard, {} clicks, {} returns, {} faults",
            self.connected,
            self.pongs,
            self.heard,
            self.clicks,
            self.returns,
            self.faults.len()
        )
    }

    pub fn summary(&self) -> String {
        let mut trips: Vec<(u64, u64)> =
            self.round_trips.iter().map(|(step, count)| (*step, *count)).collect();
        trips.sort_unstable();
        let total: u64 = trips.iter().map(|(_, count)| count).sum();
        let at = |part: f64| {
            let mut left = (total as f64 * part) as u64;
            let found = trips.iter().find(|(_, count)| match left.checked_sub(*count) {
                Some(rest) => {
                    left = rest;
                    false
                }
                None => true,
            });
            found.map_or(0, |(step, _)| step * 10)
        };
        format!(
            "{} pings, {} pongs; round trip p50 {} us, p99 {} us, p99.9 {} us",
            self.pings,
            self.pongs,
            at(0.5),
            at(0.99),
            at(0.999)
        )
    }

    /// In each room, every stay is a gap-free part of the longest: same events, same order.
    pub fn compare_rooms(&mut self) {
        let mut compared = 0;
        for (room, stays) in std::mem::take(&mut self.stays) {
            let Some(longest) = stays.iter().max_by_key(|stay| stay.len()).cloned() else { continue };
            for stay in stays.iter().filter(|stay| !stay.is_empty()) {
                compared += 1;
                let start = longest.iter().position(|event| event == &stay[0]);
                let is_part = start.is_some_and(|start| longest[start..].starts_with(stay));
                if !is_part {
                    self.faults.push(format!(
                        "room {room}: a member heard another order: {stay:?} not in {longest:?}"
                    ));
                }
            }
        }
        println!("compared {compared} stays of members with their rooms' order of events");
    }
}

impl Client {
    pub fn new(number: usize, room: usize, cast: &mut Cast) -> Client {
        let mut client = Client {
            number,
            room,
            socket: None,
            is_readable: false,
            due: VecDeque::new(),
            pings: HashMap::new(),
            ping_number: 0,
            state_queries: 0,
            is_playing: false,
            stay: Vec::new(),
        };
        client.connect(cast);
        client
    }

    pub fn socket(&self) -> Option<&TcpStream> {
        self.socket.as_ref().map(WebSocket::get_ref)
    }

    pub fn next_due(&self) -> Instant {
        self.due.front().map_or_else(|| Instant::now() + Duration::from_secs(1), |(due, _)| *due)
    }

    /// Does what is due and hears what has come.
    pub fn turn(&mut self, cast: &mut Cast) {
        while self.due.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let Some((_, deed)) = self.due.pop_front() else { break };
            self.act(deed, cast);
        }
        if self.is_readable {
            self.listen(cast);
        }
    }

    /// Closes as a page does that goes away.
    pub fn leave(&mut self, cast: &mut Cast) {
        if let Some(mut socket) = self.socket.take() {
            let _ = socket.close(None);
            let _ = socket.flush();
            cast.connected -= 1;
        }
        self.end_stay(cast);
    }

    fn plan(&mut self, after_ms: u64, deed: Deed) {
        let due = Instant::now() + Duration::from_millis(after_ms);
        let place = self.due.partition_point(|(other, _)| *other <= due);
        self.due.insert(place, (due, deed));
    }

    fn connect(&mut self, cast: &mut Cast) {
        let url = format!(
            "ws://127.0.0.1:{}/ws/sync?roomCode=SOAK{}&userId=u{}",
            cast.port, self.room, self.number
        );
        let config = WebSocketConfig::default().read_buffer_size(2048).write_buffer_size(0);
        let opened = TcpStream::connect(("127.0.0.1", cast.port)).map_err(Error::Io).and_then(|stream| {
            stream.set_nodelay(true)?;
            let request = url.into_client_request()?;
            let (socket, _) = tungstenite::client::client_with_config(request, stream, Some(config))
                .map_err(|error| Error::Io(std::io::Error::other(error.to_string())))?;
            socket.get_ref().set_nonblocking(true)?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => {
                cast.fault(format!("client {} could not connect: {error}", self.number));
                return;
            }
        }
        cast.connected += 1;
        let (number, room) = (self.number, self.room);
        self.say(
            &format!(r#"{{"type":"join","roomCode":"SOAK{room}","userId":"u{number}","hostId":"u{room}"}}"#),
            cast,
        );
        if cast.is_idle {
            return;
        }
        self.act(Deed::Burst, cast);
        self.ask_state(cast);
        self.plan(600, Deed::AskAgain);
        self.plan(5000 + cast.below(5000), Deed::SyncCheck);
        if self.number == self.room {
            self.plan(3000 + cast.below(5000), Deed::Click);
        } else if self.number % 10 == 7 {
            self.plan(20_000 + cast.below(60_000), Deed::Vanish);
        }
    }

    fn act(&mut self, deed: Deed, cast: &mut Cast) {
        match deed {
            Deed::Connect => {
                cast.returns += 1;
                self.connect(cast);
            }
            Deed::Burst => {
                for after_ms in BURST {
                    self.plan(after_ms, Deed::Ping);
                }
                self.plan(BURST_INTERVAL.as_millis() as u64, Deed::Burst);
            }
            Deed::Ping => self.ping(cast),
            Deed::Say(text) => self.say(&text, cast),
            Deed::AskAgain if !self.is_playing => self.ask_state(cast),
            Deed::AskAgain => {}
            Deed::SyncCheck => {
                if self.is_playing {
                    let room = self.room;
                    self.say(
                        &format!(r#"{{"type":"sync_check","roomCode":"SOAK{room}","clientPosition":1000}}"#),
                        cast,
                    );
                }
                self.plan(5000, Deed::SyncCheck);
            }
            Deed::Click => {
                cast.clicks += 1;
                let text = self.click(cast);
                self.say(&text, cast);
                self.plan(8000 + cast.below(10_000), Deed::Click);
            }
            Deed::Vanish => {
                self.leave(cast);
                self.due.clear();
                self.pings.clear();
                self.state_queries = 0;
                self.is_playing = false;
                self.plan(1000 + cast.below(400), Deed::Connect);
            }
        }
    }

    fn ping(&mut self, cast: &mut Cast) {
        self.ping_number += 1;
        cast.pings += 1;
        let t0 = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let number = self.ping_number;
        self.pings.insert(number, Instant::now());
        self.say(&format!(r#"{{"type":"time_ping","id":"{number}","t0":{t0}}}"#), cast);
    }

    fn ask_state(&mut self, cast: &mut Cast) {
        if self.state_queries < STATE_QUERIES_MAX {
            self.state_queries += 1;
            let room = self.room;
            self.say(&format!(r#"{{"type":"get_playback_state","roomCode":"SOAK{room}"}}"#), cast);
        }
    }

    fn click(&self, cast: &mut Cast) -> String {
        let room = self.room;
        let track = cast.below(1_000_000);
        let head = format!(r#""roomCode":"SOAK{room}""#);
        match cast.below(6) {
            0 | 1 => format!(
                r#"{{"type":"PLAY",{head},"audioUrl":"https://cdn.example/{track}.mp3","duration":200,"rttMs":30}}"#
            ),
            2 => format!(r#"{{"type":"PAUSE",{head}}}"#),
            3 => format!(r#"{{"type":"RESUME",{head}}}"#),
            4 => format!(r#"{{"type":"SEEK",{head},"seekPositionMs":{track}}}"#),
            _ => format!(
                r#"{{"type":"TRACK_CHANGE",{head},"trackData":{{"id":"{track}","title":"T","artist":"A","duration":187.5,"audioUrl":"https://cdn.example/{track}.mp3"}}}}"#
            ),
        }
    }

    fn say(&mut self, text: &str, cast: &mut Cast) {
        let Some(socket) = &mut self.socket else { return };
        if let Err(error) = socket.send(Message::text(text)) {
            cast.fault(format!("client {} could not send: {error}", self.number));
            self.socket = None;
            cast.connected -= 1;
        }
    }

    fn listen(&mut self, cast: &mut Cast) {
        while let Some(socket) = &mut self.socket {
            match socket.read() {
                Ok(Message::Text(text)) => {
                    cast.heard += 1;
                    match serde_json::from_str(&text) {
                        Ok(message) => self.hear(&message, &text, cast),
                        Err(error) => cast.fault(format!("client {}: {error}: {text}", self.number)),
                    }
                }
                Ok(Message::Close(frame)) => {
                    cast.fault(format!("client {} was closed: {frame:?}", self.number));
                    self.socket = None;
                    cast.connected -= 1;
                }
                // tungstenite answers pings by itself.
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    cast.fault(format!("client {} lost its connection: {error}", self.number));
                    self.socket = None;
                    cast.connected -= 1;
                }
            }
        }
    }

    fn hear(&mut self, message: &Value, text: &str, cast: &mut Cast) {
        let room = self.room;
        match message["type"].as_str().unwrap_or_default() {
            "time_pong" => {
                cast.pongs += 1;
                let id = message["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or(0);
                match self.pings.remove(&id) {
                    Some(sent) => {
                        *cast.round_trips.entry(sent.elapsed().as_micros() as u64 / 10).or_default() += 1;
                    }
                    None => cast.fault(format!("client {}: a pong nobody asked for: {text}", self.number)),
                }
            }
            "playback_state" => self.ask_state(cast),
            "PREPARE_TRACK" => {
                self.stay.push(text.to_owned());
                let check = message["checkId"].as_str().unwrap_or_default();
                let answer = |flag: bool| {
                    format!(
                        r#"{{"type":"device_health_check_response","roomCode":"SOAK{room}","checkId":"{check}","audioLoaded":{flag},"deviceReady":{flag},"rttMs":30}}"#
                    )
                };
                self.plan(5, Deed::Say(answer(false)));
                let loaded_ms = 50 + cast.below(400);
                self.plan(loaded_ms, Deed::Say(answer(true)));
                self.plan(
                    loaded_ms + 1,
                    Deed::Say(format!(
                        r#"{{"type":"track_prepared","roomCode":"SOAK{room}","checkId":"{check}"}}"#
                    )),
                );
            }
            "device_health_check" => {
                let check = message["checkId"].as_str().unwrap_or_default();
                let text = format!(
                    r#"{{"type":"device_health_check_response","checkId":"{check}","audioLoaded":true,"deviceReady":true}}"#
                );
                self.plan(2, Deed::Say(text));
            }
            "PLAY" | "RESUME" | "SEEK" => {
                self.is_playing = true;
                self.stay.push(text.to_owned());
            }
            "PAUSE" | "TRACK_CHANGE" => {
                self.is_playing = false;
                self.stay.push(text.to_owned());
            }
            _ => {}
        }
    }

    fn end_stay(&mut self, cast: &mut Cast) {
        let unanswered = self.pings.values().filter(|sent| sent.elapsed() > Duration::from_secs(2)).count();
        if unanswered > 0 {
            cast.fault(format!("client {}: {unanswered} pings without an answer", self.number));
        }
        cast.stays.entry(self.room).or_default().push(std::mem::take(&mut self.stay));
    }
}
