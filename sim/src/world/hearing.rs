//! What one client must hear: its rooms' frames in the order of their homes, its own answers, why it was closed.
//!
//! Each room that the connection joins is a segment. A segment of a room whose home is the connection's own core is
//! exact. One of a room elsewhere may be cut when the connection leaves it, since what is on its way then comes too
//! late; so may one of a member that was evicted or let go of. What is cut is cut for good: a frame of an earlier
//! segment after one of a later is an error.

use super::judge::{Judge, LOBBY};
use super::said::{Kind, Text};
use crate::model::Matcher;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// Several members that left a room in one go, whose order only the frames about it tell. All who hear of it must
/// hear the same order.
#[derive(Debug)]
pub(super) struct Departures {
    /// What is said about each, but for the number of those who stay.
    pub(super) frames: Vec<Value>,
    /// Which of the frames came first, second and so on, once somebody has heard it.
    pub(super) order: Vec<Option<usize>>,
    /// Members before the first left.
    pub(super) members: usize,
}

/// A frame that must come.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Frame(Value),
    /// The n-th of these.
    Departure(Rc<RefCell<Departures>>, usize),
}

/// One stay in a room.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) ticket: u32,
    pub(super) room_code: String,
    pub(super) items: VecDeque<Item>,
    /// The stay has ended: no more is added.
    pub(super) is_over: bool,
    /// What is left of it need not come.
    pub(super) is_cut: bool,
    /// The life of the room's home, which is elsewhere, that has let it in.
    pub(super) let_in: Option<u32>,
    /// Items, the last ones, that have not left the room's home.
    unposted: usize,
}

impl Segment {
    pub(super) fn push(&mut self, item: Item) {
        self.items.push_back(item);
        self.unposted += 1;
    }

    /// All that is expected has left the room's home, which is elsewhere.
    pub(super) fn post(&mut self) {
        self.unposted = 0;
    }

    /// The room's home, which is elsewhere, has failed: what had left it comes, and no more than that.
    pub(super) fn end_with_home(&mut self) {
        self.items.truncate(self.items.len().saturating_sub(self.unposted));
        self.is_over = true;
    }
}

/// What one connection must hear.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    pub(super) segments: VecDeque<Segment>,
    /// Answers given by the core of the socket.
    pub(super) own: VecDeque<Value>,
    /// Answers of other cores to a stranger's questions, by core and room.
    pub(super) aside: BTreeMap<(u16, String), VecDeque<Value>>,
    /// Those that a core may have taken with it when its shard failed.
    pub(super) aside_cut: BTreeMap<(u16, String), VecDeque<Value>>,
    /// Payloads of pongs.
    pub(super) pongs: VecDeque<Vec<u8>>,
    /// Codes of a close frame that it may get.
    pub(super) closes: Vec<u16>,
    /// Statuses that its request may get.
    pub(super) statuses: Vec<u16>,
    /// The room it is in or has asked for.
    pub(super) room_code: Option<String>,
    /// That room as its home names it, once that has let it in from another core.
    pub(super) room: Option<engine::ids::RoomId>,
    /// Rooms that it has asked for.
    pub(super) ticket: u32,
    /// Its newest join of that room, if the room's home is elsewhere.
    pub(super) join: Option<Text>,
    /// It asks for its room since that room's home has begun anew, and had been let in before.
    pub(super) is_return: bool,
    /// Cores that a message of its has left for.
    pub(super) asked: BTreeSet<u16>,
    /// Messages that wait for the way to each other core, in order.
    pub(super) travelling: BTreeMap<u16, VecDeque<Text>>,
    /// It was closed.
    pub(super) is_closed: bool,
}

impl Hearing {
    /// Begins a stay.
    pub(super) fn begin(&mut self, room_code: &str) {
        self.ticket += 1;
        self.room_code = Some(room_code.to_owned());
        self.room = None;
        self.is_return = false;
        self.segments.push_back(Segment {
            ticket: self.ticket,
            room_code: room_code.to_owned(),
            items: VecDeque::new(),
            is_over: false,
            is_cut: false,
            let_in: None,
            unposted: 0,
        });
    }

    /// Nothing of what it is owed by rooms need come any more.
    pub(super) fn cut(&mut self) {
        let over = |segment: &mut Segment| (segment.is_over, segment.is_cut) = (true, true);
        self.segments.iter_mut().for_each(over);
    }

    /// A shard that it has asked as a stranger has failed: what that has answered may have left, or not.
    pub(super) fn cut_aside(&mut self, core: u16) {
        for (of, queue) in self.aside.extract_if(.., |(of, _), _| *of == core) {
            self.aside_cut.entry(of).or_default().extend(queue);
        }
    }

    pub(super) fn segment(&mut self, ticket: u32) -> Option<&mut Segment> {
        self.segments.iter_mut().find(|segment| segment.ticket == ticket)
    }

    /// A message that has not come to where it is decided. What is no message does not even leave.
    pub(super) fn unheard(&self) -> Option<&Text> {
        self.travelling.values().flatten().find(|text| text.kind != Kind::Doubtful)
    }

    /// Frames that must still come.
    pub(super) fn missing(&self) -> Option<String> {
        let segments = self.segments.iter().filter(|segment| !segment.is_cut);
        let mut missing = segments.flat_map(|segment| segment.items.iter().map(|item| format!("{item:?}")));
        missing
            .next()
            .or_else(|| self.own.front().map(Value::to_string))
            .or_else(|| self.aside.values().find_map(|queue| queue.front().map(Value::to_string)))
            .or_else(|| self.pongs.front().map(|payload| format!("a pong of {payload:?}")))
    }

    /// A text frame came. The number of frames that it shows to have been cut off, or why it must not come.
    pub(super) fn hear(&mut self, text: &str, judge: &mut Judge) -> Result<u64, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        if value["type"] == "time_pong"
            && let Some(own) = self.own.front().filter(|own| own["id"] == value["id"]).cloned()
        {
            judge.compare(LOBBY, &Item::Frame(own), text, true)?;
            self.own.pop_front();
            return Ok(0);
        }
        let mut why = "it is in no room".to_owned();
        let is_sure = self.segments.len() == 1 && self.aside.values().all(VecDeque::is_empty);
        for number in 0..self.segments.len() {
            let segment = &self.segments[number];
            match segment.items.front().map(|item| judge.compare(&segment.room_code, item, text, is_sure)) {
                Some(Ok(())) => {
                    // Stays before this one are over for good.
                    let cut = self.segments.drain(..number).map(|segment| segment.items.len() as u64).sum();
                    self.segments[0].items.pop_front();
                    return Ok(cut);
                }
                Some(Err(difference)) => why = difference,
                None => why = format!("nothing is expected from room {}, but {text}", segment.room_code),
            }
            if !segment.is_over || !(segment.is_cut || segment.items.is_empty()) {
                break;
            }
        }
        for (of, queue) in &mut self.aside {
            if let Some(expected) = queue.front()
                && judge.compare(&of.1, &Item::Frame(expected.clone()), text, false).is_ok()
            {
                queue.pop_front();
                self.aside_cut.remove(of);
                return Ok(0);
            }
        }
        for (of, queue) in &mut self.aside_cut {
            let is_it =
                |expected: &Value| judge.compare(&of.1, &Item::Frame(expected.clone()), text, false).is_ok();
            if let Some(place) = queue.iter().position(is_it) {
                queue.drain(..=place);
                return Ok(0);
            }
        }
        Err(why)
    }
}

impl Item {
    /// Compares with a frame that came. A guess leaves no trace in the matcher if it was wrong.
    pub(super) fn compare(&self, matcher: &mut Matcher, text: &str, is_sure: bool) -> Result<(), String> {
        match self {
            Item::Frame(expected) if is_sure => matcher.matches(expected, text),
            Item::Frame(expected) => guess(matcher, expected, text),
            Item::Departure(departures, number) => {
                let mut departures = departures.borrow_mut();
                let candidates: Vec<usize> = match departures.order[*number] {
                    Some(known) => vec![known],
                    None => (0..departures.frames.len())
                        .filter(|index| !departures.order.contains(&Some(*index)))
                        .collect(),
                };
                for candidate in candidates {
                    let mut frame = departures.frames[candidate].clone();
                    frame["totalClients"] = (departures.members - number - 1).into();
                    if guess(matcher, &frame, text).is_ok() {
                        departures.order[*number] = Some(candidate);
                        return Ok(());
                    }
                }
                Err(format!("{text} is not the departure that comes next: {departures:?}, {number}"))
            }
        }
    }
}

fn guess(matcher: &mut Matcher, expected: &Value, text: &str) -> Result<(), String> {
    let mut trial = matcher.clone();
    trial.matches(expected, text)?;
    *matcher = trial;
    Ok(())
}
