//! The stream of events: who listens gets the newest figures once a second, and a drain's progress.
//!
//! An event is written once for all. Who is slow misses what is old by the time it is ready: each listener has at most one
//! event in its connection's buffers, and the newest here is everyone's.

use super::socket::Watch;
use hyper::body::{Body, Bytes, Frame};
use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Listeners at a time, so that connections are left for others; past it 503.
pub const LISTENERS_MAX: usize = 32;

/// The newest events.
#[derive(Default)]
pub struct Hub(Rc<RefCell<Newest>>);

#[derive(Default)]
struct Newest {
    stats: Event,
    drain: Event,
    listeners: usize,
    wakers: Vec<Waker>,
}

#[derive(Clone, Default)]
struct Event {
    /// Counts the events of its kind; 0 before the first.
    number: u64,
    text: Bytes,
}

impl Hub {
    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.0.borrow().listeners
    }

    /// The newest figures, as JSON.
    pub fn publish_stats(&self, json: &str) {
        self.publish("stats", json, |newest| &mut newest.stats);
    }

    /// The newest word on a drain, as JSON.
    pub fn publish_drain(&self, json: &str) {
        self.publish("drain", json, |newest| &mut newest.drain);
    }

    fn publish(&self, name: &str, json: &str, event: fn(&mut Newest) -> &mut Event) {
        let mut newest = self.0.borrow_mut();
        let event = event(&mut newest);
        event.number += 1;
        event.text = Bytes::from(format!("event: {name}\ndata: {json}\n\n"));
        let wakers = std::mem::take(&mut newest.wakers);
        drop(newest);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// One more listener, or none if there are too many. It hears the newest figures at once, and of drains what comes.
    pub fn listen(&self, watch: Rc<Watch>) -> Option<Events> {
        let mut newest = self.0.borrow_mut();
        if newest.listeners == LISTENERS_MAX {
            return None;
        }
        newest.listeners += 1;
        Some(Events { newest: Rc::clone(&self.0), watch, stats_heard: 0, drain_heard: newest.drain.number })
    }
}

/// A listener's stream.
pub struct Events {
    newest: Rc<RefCell<Newest>>,
    watch: Rc<Watch>,
    stats_heard: u64,
    drain_heard: u64,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let newest = Rc::clone(&self.newest);
        let mut newest = newest.borrow_mut();
        let text = if newest.drain.number > self.drain_heard {
            self.drain_heard = newest.drain.number;
            newest.drain.text.clone()
        } else if newest.stats.number > self.stats_heard {
            self.stats_heard = newest.stats.number;
            newest.stats.text.clone()
        } else {
            if !newest.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                newest.wakers.push(cx.waker().clone());
            }
            return Poll::Pending;
        };
        Poll::Ready(Some(Ok(Frame::data(text))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.newest.borrow_mut().listeners -= 1;
        self.watch.end_answer();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn, poll_once};

    fn hear(events: &mut Events) -> Option<String> {
        let frame = poll_fn(|cx| Pin::new(&mut *events).poll_frame(cx));
        let frame = block_on(poll_once(frame))??.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    #[test]
    fn a_listener_hears_the_newest_and_misses_what_is_old() {
        let hub = Hub::default();
        hub.publish_stats("1");
        hub.publish_drain("null");
        let mut listener = hub.listen(Rc::default()).unwrap();
        assert_eq!(hear(&mut listener).unwrap(), "event: stats\ndata: 1\n\n");
        assert_eq!(hear(&mut listener), None);
        hub.publish_stats("2");
        hub.publish_stats("3");
        hub.publish_drain("{}");
        assert_eq!(hear(&mut listener).unwrap(), "event: drain\ndata: {}\n\n");
        assert_eq!(hear(&mut listener).unwrap(), "event: stats\ndata: 3\n\n");
        assert_eq!(hear(&mut listener), None);
    }

    #[test]
    fn there_are_so_many_listeners_and_one_who_goes_makes_room() {
        let hub = Hub::default();
        let mut listeners: Vec<_> = std::iter::from_fn(|| hub.listen(Rc::default())).collect();
        assert_eq!((listeners.len(), hub.listeners()), (LISTENERS_MAX, LISTENERS_MAX));
        listeners.pop();
        assert!(hub.listen(Rc::default()).is_some());
    }
}
