//! An attack beside a load: in processes of its own, in position before the load begins, over when it is.
//!
//! While they attack, the server's memory is looked at ten times a second.

use super::memory::{Memory, Peak, Rest};
use crate::exit::{Exit, Failure};
use crate::outcome::Outcome;
use crate::part::Crew;
use crate::run::{Beside, Run};
use crate::worker::Word;
use crossbeam_channel::Receiver;
use std::thread::JoinHandle;

pub struct Standing<'a> {
    attack: &'a Run,
    crew: Option<(Crew, Receiver<(usize, Word)>)>,
    workers: usize,
    /// Before the attack.
    before: Memory,
    peak: Option<Peak>,
    rest: Option<Rest>,
    settled: Option<JoinHandle<Option<f64>>>,
}

/// What the attack came to.
pub struct Ended {
    pub outcome: Outcome,
    /// Before the attack, and at most from there to its end.
    pub memory: [Memory; 2],
    /// From the attack's end until the server was at rest.
    pub settled_ms: Option<f64>,
}

impl Standing<'_> {
    pub fn new(attack: &Run) -> Standing<'_> {
        Standing {
            attack,
            crew: None,
            workers: 0,
            before: Memory::default(),
            peak: None,
            rest: None,
            settled: None,
        }
    }

    /// Waits for the attack's end.
    pub fn finish(mut self) -> Result<Ended, Failure> {
        let mut outcome = Outcome::default();
        let (crew, heard) = self.crew.take().ok_or_else(|| Failure::fault("the attack never stood"))?;
        let mut done = 0;
        let heard_all = loop {
            if done == self.workers {
                break Ok(());
            }
            match heard.recv() {
                Ok((_, Word::Done(mut part))) => {
                    outcome.add(&mut part);
                    done += 1;
                }
                Ok((_, word)) => {
                    if let Err(failure) = fail(word) {
                        break Err(failure);
                    }
                }
                Err(error) => break Err(Failure::fault(error)),
            }
        };
        crew.join();
        heard_all?;
        let peak = self.peak.take().map(Peak::finish).unwrap_or_default();
        let settled_ms = self.settled.take().and_then(|thread| thread.join().ok()).flatten();
        Ok(Ended { outcome, memory: [self.before, peak], settled_ms })
    }
}

impl Beside for Standing<'_> {
    fn get_ready(&mut self) -> Result<(), Failure> {
        self.before = Memory::read(&self.attack.server_pids);
        self.rest = Some(Rest::of(&self.attack.server_pids));
        self.peak = Some(Peak::watch(&self.attack.server_pids)?);
        let parts = self.attack.parts()?;
        self.workers = parts.iter().map(|part| part.shares.len()).sum();
        let (_, heard) = self.crew.insert(Crew::start_apart(parts)?);
        let mut ready = 0;
        while ready < self.workers {
            match heard.recv().map_err(Failure::fault)? {
                (_, Word::Ready) => ready += 1,
                (_, word) => fail(word)?,
            }
        }
        Ok(())
    }

    fn begin(&mut self, go_ns: u64) -> Result<(), Failure> {
        let end_ns = go_ns + self.attack.load.warmup_ns + self.attack.load.duration_ns;
        self.settled = self.rest.take().map(|rest| std::thread::spawn(move || rest.await_again(end_ns)));
        self.crew.as_mut().map_or(Ok(()), |(crew, _)| crew.go(go_ns))
    }
}

impl Drop for Standing<'_> {
    /// An attack that nobody waits for must not go on.
    fn drop(&mut self) {
        if let Some((crew, _)) = self.crew.take() {
            crew.abort();
        }
    }
}

fn fail(word: Word) -> Result<(), Failure> {
    match word {
        Word::Failed { line, .. } => {
            Err(Failure { exit: Exit::Fault, line: format!("the attackers: {line}") })
        }
        Word::Connecting(_) | Word::Ready | Word::Second(_) | Word::Done(_) => Ok(()),
    }
}
