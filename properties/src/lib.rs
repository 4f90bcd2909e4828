//! What holds for any input: one function for each fuzz target, which panics if it does not.
//!
//! The same functions are run by libFuzzer (`fuzz/`), by `tests/corpus.rs` on every committed input, and by
//! `bin/mutate.rs` where there is no libFuzzer. They judge by something written apart from what is judged: RFCs
//! read naively, std, serde_json, a model of rooms, a kernel and clients that keep books.
//! docs/fuzzing.md lists what each asserts.

mod driver;
mod ear;
mod frames;
mod head;
mod input;
mod messages;
mod script;
mod sessions;
mod shard;
mod snapshot;
mod utf8;

pub use driver::driver;
pub use frames::frames;
pub use head::head;
pub use messages::messages;
pub use sessions::sessions;
pub use shard::shard;
pub use snapshot::snapshot;
pub use utf8::utf8;

use std::cell::Cell;
use std::panic::{self, catch_unwind};
use std::sync::Once;

/// A property of any bytes; it panics where it does not hold.
pub type Target = fn(&[u8]);

/// All of them, by the name that their folder in `fuzz/corpus` has.
pub const TARGETS: [(&str, Target); 8] = [
    ("head", head),
    ("frames", frames),
    ("utf8", utf8),
    ("messages", messages),
    ("snapshot", snapshot),
    ("driver", driver),
    ("shard", shard),
    ("sessions", sessions),
];

thread_local! {
    static HAS_PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a target on an input. False if anything panicked on the way, also what the code under test has caught
/// itself; the panic's message goes to standard error as ever.
pub fn holds(target: Target, bytes: &[u8]) -> bool {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let say = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            HAS_PANICKED.set(true);
            say(panic);
        }));
    });
    HAS_PANICKED.set(false);
    let is_through = catch_unwind(|| target(bytes)).is_ok();
    is_through && !HAS_PANICKED.get()
}
