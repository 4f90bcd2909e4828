//! Questions to shards: over the command channel, with the doorbell, and an answer that wakes this executor.
//!
//! Of each kind (measures, rooms) one question at a time is out for a shard, so a command channel always has room for a
//! drain. One that was not answered in time stays out, and its shard is not asked again before it has answered. The
//! receiving ends are kept here, not by whoever asks: who goes away in the middle changes nothing.

use crate::published::Figures;
use crate::server::ShardHandle;
use crate::turn::{Answer, Command, Measured, Question};
use engine::Observed;
use engine::shard::{RoomReport, RoomWalk, RoomsPage};
use futures_channel::oneshot::{self, Canceled, Receiver, Sender};
use futures_lite::future::{or, poll_fn};
use glommio::sync::Semaphore;
use glommio::timer::Timer;
use std::cell::RefCell;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// A shard that says nothing for so long does not answer.
pub const PATIENCE: Duration = Duration::from_millis(250);
/// A walk through all rooms takes a turn for each slice, so one that answers otherwise has longer for it.
const WALK_PATIENCE: Duration = Duration::from_secs(2);

/// All shards.
pub struct Shards {
    shards: Vec<Shard>,
    /// Empty sets of observations.
    #[expect(clippy::vec_box, reason = "they come and go in their boxes")]
    spares: RefCell<Vec<Box<Observed>>>,
}

struct Shard {
    handle: ShardHandle,
    measuring: Slot<Measured>,
    asking: Slot<Answer>,
    /// Who asks about rooms, one after the other.
    askers: Semaphore,
}

/// A question that is out.
type Slot<T> = RefCell<Option<Receiver<T>>>;

/// What came of asking all shards about rooms.
pub struct Replies<T> {
    /// Each answer, with its core.
    pub answers: Vec<(usize, T)>,
    /// Cores that gave none in time.
    pub silent: Vec<usize>,
}

impl Shards {
    pub fn new(handles: Vec<ShardHandle>) -> Shards {
        let shard = |handle| Shard {
            handle,
            measuring: RefCell::default(),
            asking: RefCell::default(),
            askers: Semaphore::new(1),
        };
        Shards { shards: handles.into_iter().map(shard).collect(), spares: RefCell::default() }
    }

    pub fn count(&self) -> usize {
        self.shards.len()
    }

    /// The CPU of a core's shard.
    pub fn cpu(&self, core: usize) -> usize {
        self.shards[core].handle.cpu
    }

    /// Newest figures of a core's shard, whether it answers or not.
    pub fn figures(&self, core: usize) -> Figures {
        self.shards[core].handle.figures()
    }

    /// What each shard observed since it was measured last; nothing of those that do not answer. For one caller at a time.
    pub async fn measure(&self) -> Vec<Option<Measured>> {
        for shard in &self.shards {
            shard.measuring.ask(|reply| {
                let empty = self.spares.borrow_mut().pop().unwrap_or_default();
                shard.handle.say(Command::Ask(Question::Measure { empty, reply }))
            });
        }
        let until = Instant::now() + PATIENCE;
        let mut measured = Vec::new();
        for shard in &self.shards {
            measured.push(shard.measuring.answer(until).await);
        }
        measured
    }

    /// Takes a set that has been read, to be filled again.
    pub fn put_back(&self, mut observed: Box<Observed>) {
        observed.clear();
        self.spares.borrow_mut().push(observed);
    }

    /// The largest rooms of each shard. `is_answering` says of a core whether it does.
    pub async fn rooms(
        &self,
        search: &str,
        limit: usize,
        is_answering: impl Fn(usize) -> bool,
    ) -> Replies<RoomsPage> {
        let walk = || RoomWalk::new(search, limit);
        let replies = self.ask(WALK_PATIENCE, is_answering, |reply| Question::Rooms { walk: walk(), reply });
        let Replies { answers, silent } = replies.await;
        let page = |(core, answer)| match answer {
            Answer::Rooms(page) => Some((core, page)),
            Answer::Room(_) => None,
        };
        Replies { answers: answers.into_iter().filter_map(page).collect(), silent }
    }

    /// The room of this code, from whichever shard is its home.
    pub async fn room(
        &self,
        room_code: &str,
        is_answering: impl Fn(usize) -> bool,
    ) -> Replies<Box<RoomReport>> {
        let room_code = || room_code.to_owned();
        let question = |reply| Question::Room { room_code: room_code(), reply };
        let Replies { answers, silent } = self.ask(PATIENCE, is_answering, question).await;
        let report = |(core, answer)| match answer {
            Answer::Room(report) => Some((core, report?)),
            Answer::Rooms(_) => None,
        };
        Replies { answers: answers.into_iter().filter_map(report).collect(), silent }
    }

    async fn ask(
        &self,
        patience: Duration,
        is_answering: impl Fn(usize) -> bool,
        question: impl Fn(Sender<Answer>) -> Question,
    ) -> Replies<Answer> {
        let until = Instant::now() + patience;
        let mut replies = Replies { answers: Vec::new(), silent: Vec::new() };
        let mut permits = Vec::new();
        for (core, shard) in self.shards.iter().enumerate().filter(|(core, _)| is_answering(*core)) {
            let Some(permit) = by(until, shard.askers.acquire_permit(1)).await.and_then(Result::ok) else {
                continue;
            };
            // An answer to someone who has gone since: nobody waits for it.
            if shard.asking.is_over() {
                permits.push((core, permit));
                shard.asking.ask(|reply| shard.handle.say(Command::Ask(question(reply))));
            }
        }
        for (core, _) in &permits {
            if let Some(answer) = self.shards[*core].asking.answer(until).await {
                replies.answers.push((*core, answer));
            }
        }
        let has_answered = |core: &usize| replies.answers.iter().any(|(it, _)| it == core);
        replies.silent = (0..self.shards.len()).filter(|core| !has_answered(core)).collect();
        replies
    }
}

trait Out<T> {
    /// Puts a question out, unless one is. `say` sends it and says whether that went well.
    fn ask(&self, say: impl FnOnce(Sender<T>) -> bool);
    /// The answer to the question that is out, if it comes in time; if not, it stays out.
    async fn answer(&self, until: Instant) -> Option<T>;
    /// No question is out, or its answer has come and is dropped.
    fn is_over(&self) -> bool;
}

impl<T> Out<T> for Slot<T> {
    fn ask(&self, say: impl FnOnce(Sender<T>) -> bool) {
        if self.borrow().is_none() {
            let (reply, receiver) = oneshot::channel();
            if say(reply) {
                self.replace(Some(receiver));
            }
        }
    }

    async fn answer(&self, until: Instant) -> Option<T> {
        let receive = poll_fn(|cx| {
            let mut out = self.borrow_mut();
            match out.as_mut() {
                Some(receiver) => Future::poll(Pin::new(receiver), cx),
                None => Err(Canceled).into(),
            }
        });
        let answer = by(until, receive).await?;
        self.replace(None);
        // A shard that has ended, or has begun anew, answers nothing that it was asked before.
        answer.ok()
    }

    fn is_over(&self) -> bool {
        let is_out = |receiver: &mut Receiver<T>| matches!(receiver.try_recv(), Ok(None));
        if self.borrow_mut().as_mut().is_some_and(is_out) {
            return false;
        }
        self.replace(None);
        true
    }
}

/// What a future comes to, if it does in time.
async fn by<T>(until: Instant, future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::new(until.saturating_duration_since(Instant::now())).await;
        None
    };
    or(async { Some(future.await) }, late).await
}
