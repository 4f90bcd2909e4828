//! Questions to shards: over the command channel, with the doorbell, and an answer that wakes this executor.
//!
//! Of each kind (measures, rooms) one question at a time is out for a shard, so a command channel always has room for a
//! drain. One that was not answered in time stays out, and its shard is not asked again before it has answered. The
//! receiving ends are kept here, not by whoever asks: who goes away in the middle changes nothing.

use crate::clock::by;
use crate::published::Figures;
use crate::server::ShardHandle;
use crate::turn::{Answer, Command, Measured, Question};
use engine::Observed;
use engine::shard::{RoomReport, RoomWalk, RoomsPage};
use futures_channel::oneshot::{self, Canceled, Receiver, Sender};
use futures_lite::future::poll_fn;
use glommio::sync::Semaphore;
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

/// Where the answer to the question that is out will come, if one is.
struct Slot<T>(RefCell<Option<Receiver<T>>>);

/// What came of asking all shards about rooms.
pub struct Replies<T> {
    /// Each answer, with its core.
    pub answers: Vec<(usize, T)>,
    /// Cores that gave none in time.
    pub silent: Vec<usize>,
}

impl Shards {
    pub fn new(handles: Vec<ShardHandle>) -> Shards {
        let shard =
            |handle| Shard { handle, measuring: Slot::new(), asking: Slot::new(), askers: Semaphore::new(1) };
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

impl<T> Slot<T> {
    fn new() -> Slot<T> {
        Slot(RefCell::new(None))
    }

    /// Puts a question out, unless one is. `say` sends it and says whether that went well.
    fn ask(&self, say: impl FnOnce(Sender<T>) -> bool) {
        if self.0.borrow().is_none() {
            let (reply, receiver) = oneshot::channel();
            if say(reply) {
                self.0.replace(Some(receiver));
            }
        }
    }

    /// The answer to the question that is out, if it comes in time; if not, it stays out.
    async fn answer(&self, until: Instant) -> Option<T> {
        let receive = poll_fn(|cx| {
            let mut out = self.0.borrow_mut();
            match out.as_mut() {
                Some(receiver) => Future::poll(Pin::new(receiver), cx),
                None => Err(Canceled).into(),
            }
        });
        let answer = by(until, receive).await?;
        self.0.replace(None);
        // A shard that has ended, or has begun anew, answers nothing that it was asked before.
        answer.ok()
    }

    /// No question is out, or its answer has come and is dropped.
    fn is_over(&self) -> bool {
        let is_out = |receiver: &mut Receiver<T>| matches!(receiver.try_recv(), Ok(None));
        if self.0.borrow_mut().as_mut().is_some_and(is_out) {
            return false;
        }
        self.0.replace(None);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::Receiver as Commands;
    use glommio::{LocalExecutorBuilder, Placement};

    fn on_an_executor(future: impl Future<Output = ()>) {
        let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 * 1024).ring_depth(16);
        executor.make().unwrap().run(future);
    }

    fn obey(commands: &Commands<Command>) {
        for command in commands.try_iter() {
            match command {
                Command::Ask(Question::Measure { empty, reply }) => {
                    let _ = reply.send(Measured { observed: empty, cpu_us: 7 });
                }
                Command::Ask(Question::Rooms { reply, .. }) => {
                    let _ = reply.send(Answer::Rooms(RoomsPage { rooms: Vec::new(), total: 3 }));
                }
                Command::Ask(Question::Room { reply, .. }) => drop(reply.send(Answer::Room(None))),
                Command::StopListening | Command::Drain { .. } | Command::Keep(_) => {}
            }
        }
    }

    #[test]
    fn a_shard_that_does_not_answer_is_waited_for_a_moment_and_asked_once() {
        let (handle, commands) = ShardHandle::deaf();
        let shards = Shards::new(vec![handle]);
        on_an_executor(async {
            for _ in 0..3 {
                let start = Instant::now();
                assert!(shards.measure().await[0].is_none());
                assert!(start.elapsed() >= PATIENCE && start.elapsed() < 8 * PATIENCE);
                assert_eq!(shards.room("R", |_| true).await.silent, [0]);
            }
            assert_eq!(commands.len(), 2, "a drain still finds room");
            obey(&commands);
            assert_eq!(shards.measure().await[0].as_ref().map(|it| it.cpu_us), Some(7), "late, and counted");
            assert!(shards.measure().await[0].is_none());
        });
    }

    #[test]
    fn a_late_answer_is_for_nobody_else() {
        let (handle, commands) = ShardHandle::deaf();
        let shards = Shards::new(vec![handle]);
        on_an_executor(async {
            assert_eq!(shards.room("R", |_| true).await.silent, [0]);
            obey(&commands);
            let answer = std::thread::spawn(move || {
                while commands.is_empty() {
                    std::thread::yield_now();
                }
                obey(&commands);
            });
            let page = shards.rooms("", 1, |_| true).await;
            assert_eq!((page.answers[0].1.total, page.silent), (3, vec![]), "from another thread");
            answer.join().unwrap();
        });
    }

    #[test]
    fn a_shard_that_is_known_not_to_answer_is_not_asked() {
        let (handle, commands) = ShardHandle::deaf();
        let shards = Shards::new(vec![handle]);
        on_an_executor(async {
            let start = Instant::now();
            assert_eq!(shards.rooms("", 1, |_| false).await.silent, [0]);
            assert!(start.elapsed() < PATIENCE && commands.is_empty());
        });
    }

    #[test]
    fn a_shard_that_has_ended_is_silent_at_once() {
        let (handle, commands) = ShardHandle::deaf();
        let shards = Shards::new(vec![handle]);
        on_an_executor(async {
            drop(commands);
            let start = Instant::now();
            assert!(shards.measure().await[0].is_none());
            assert_eq!(shards.room("R", |_| true).await.silent, [0]);
            assert!(start.elapsed() < PATIENCE);
        });
    }
}
