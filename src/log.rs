//! What is said while the server runs: on standard error, for people on a terminal and as JSON otherwise.
//!
//! Lines of one kind, which is one place in the code, are bounded in number a second; how many were left out is said with
//! the next one. Control characters are escaped, since some of what is said comes from clients.

use crate::config::LogFormat;
use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Lines of one kind in [`WINDOW`].
const LINES_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Lines that were left out so far.
pub fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// From here on what is said is written. A second call changes nothing.
pub fn init(format: LogFormat) {
    let is_text = match format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => io::stderr().is_terminal(),
    };
    let layer = fmt::layer().with_writer(Stderr).with_target(false);
    let layer = if is_text {
        layer.with_ansi(io::stderr().is_terminal()).boxed()
    } else {
        layer.json().flatten_event(true).boxed()
    };
    let layer = layer.with_filter(Rates::default()).with_filter(LevelFilter::INFO);
    if tracing_subscriber::registry().with(layer).try_init().is_ok() {
        panic::set_hook(Box::new(say_panic));
    }
}

/// A panic costs a connection or a shard's life, and is said like anything else.
fn say_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!("panicked at {place}: {}", panic.payload_as_str().unwrap_or("no message"));
}

/// Whoever reads standard error may have closed it; that is no reason to end.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Stderr;

    fn make_writer(&'a self) -> Stderr {
        Stderr
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines of each kind of late. Nothing is said on a message's way, so a lock is no harm.
#[derive(Default)]
struct Rates(Mutex<HashMap<Identifier, Rate>>);

#[derive(Clone, Copy)]
struct Rate {
    since: Instant,
    lines: u32,
}

impl Rates {
    fn allows(&self, kind: Identifier, now: Instant) -> bool {
        let Ok(mut rates) = self.0.lock() else { return true };
        let rate = rates.entry(kind).or_insert(Rate { since: now, lines: 0 });
        if now.duration_since(rate.since) >= WINDOW {
            *rate = Rate { since: now, lines: 0 };
        }
        rate.lines += 1;
        rate.lines <= LINES_MAX
    }
}

impl<S: Subscriber> Filter<S> for Rates {
    fn enabled(&self, _metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        let is_allowed = self.allows(event.metadata().callsite(), Instant::now());
        LEFT_OUT.fetch_add(u64::from(!is_allowed), Ordering::Relaxed);
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::callsite::Callsite;
    use tracing_subscriber::fmt::format::FmtSpan;

    #[derive(Clone, Default)]
    struct Sink(std::sync::Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn said(speak: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer =
            fmt::layer().with_writer(move || writer.clone()).with_ansi(false).with_span_events(FmtSpan::NONE);
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(Rates::default()));
        tracing::subscriber::with_default(subscriber, speak);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn of_one_kind_ten_lines_a_second_are_said_and_of_another_all() {
        let before = left_out();
        let text = said(|| {
            for number in 0..25 {
                tracing::warn!("kind {number}");
            }
            tracing::warn!("another");
        });
        assert_eq!(text.lines().count(), LINES_MAX as usize + 1, "{text}");
        assert!(text.contains("another") && left_out() - before >= 15);
    }

    #[test]
    fn a_second_later_a_kind_is_said_again() {
        let rates = Rates::default();
        let start = Instant::now();
        let kind = tracing::callsite!(name: "kind", kind: tracing::metadata::Kind::EVENT, fields: message)
            .metadata()
            .callsite();
        assert_eq!((0..20).filter(|_| rates.allows(kind.clone(), start)).count(), LINES_MAX as usize);
        assert!(rates.allows(kind, start + WINDOW));
    }

    #[test]
    fn control_characters_are_escaped() {
        let text = said(|| tracing::warn!("room {:?} {}", "a\u{1b}[2J\r\nb", "c\u{1b}[2Jd"));
        assert!(!text.contains('\u{1b}') && text.lines().count() == 1, "{text:?}");
    }
}
