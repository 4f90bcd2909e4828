//! What a speaker has said and not all have heard: when it was meant, when it was sent, who still waits.
//!
//! Numbers go on from 0. A message is kept until all that it is owed to have heard it, and those before it.

use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub intended_ns: u64,
    pub sent_ns: u64,
    /// When the first listener heard it; 0 before.
    pub first_ns: u64,
    /// Listeners that still wait for it.
    pub owed: u32,
}

#[derive(Debug, Default)]
pub struct Said {
    messages: VecDeque<Message>,
    /// The number of the next message.
    next: u32,
}

impl Said {
    pub fn next(&self) -> u32 {
        self.next
    }

    pub fn say(&mut self, message: Message) {
        self.messages.push_back(message);
        self.next += 1;
    }

    /// One more listener needs nothing more of message `sequence`; the message as it is then. `None` if it is
    /// not waited for.
    pub fn hear(&mut self, sequence: u32, now_ns: u64) -> Option<Message> {
        let base = self.next - self.messages.len() as u32;
        let message = self.messages.get_mut(sequence.checked_sub(base)? as usize)?;
        message.owed = message.owed.checked_sub(1)?;
        if message.first_ns == 0 {
            message.first_ns = now_ns;
        }
        let heard = *message;
        self.drop_heard();
        Some(heard)
    }

    /// A listener that waits for message `next` and all after it is gone; how many those are.
    pub fn forgo(&mut self, next: u32) -> u32 {
        let waited = self.next.saturating_sub(next);
        for message in self.messages.iter_mut().rev().take(waited as usize) {
            message.owed = message.owed.saturating_sub(1);
        }
        self.drop_heard();
        waited
    }

    fn drop_heard(&mut self) {
        while self.messages.front().is_some_and(|it| it.owed == 0) {
            self.messages.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_kept_until_all_have_heard_it_and_those_before_it() {
        let mut said = Said::default();
        let message = |sent_ns| Message { intended_ns: sent_ns - 1, sent_ns, first_ns: 0, owed: 2 };
        for sent_ns in [10, 20] {
            said.say(message(sent_ns));
        }
        assert_eq!(said.next(), 2);
        assert_eq!(said.hear(1, 25), Some(Message { first_ns: 25, owed: 1, ..message(20) }));
        assert_eq!(said.hear(1, 26), Some(Message { first_ns: 25, owed: 0, ..message(20) }));
        assert_eq!(said.hear(1, 27), None, "all have heard it");
        assert_eq!(said.messages.len(), 2);
        assert_eq!(said.hear(0, 30), Some(Message { first_ns: 30, owed: 1, ..message(10) }));
        assert_eq!(said.hear(0, 31), Some(Message { first_ns: 30, owed: 0, ..message(10) }));
        assert_eq!(said.messages.len(), 0);
        assert_eq!((said.hear(0, 40), said.hear(2, 40)), (None, None));
    }

    #[test]
    fn who_is_gone_is_not_waited_for() {
        let mut said = Said::default();
        for _ in 0..3 {
            said.say(Message { intended_ns: 0, sent_ns: 0, first_ns: 0, owed: 2 });
        }
        said.hear(0, 5);
        assert_eq!(said.forgo(1), 2, "1 and 2");
        assert_eq!(said.messages.iter().map(|it| it.owed).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!((said.forgo(0), said.messages.len()), (3, 0));
    }
}
