//! The operations of a whole core, by name: what its turns cost, with clients that speak to it over loopback.

use crate::one_core::OneCore;
use crate::operations::{Operation, PING, Prepare, SEEK};
use crate::scene::{masked, text};
use engine::App;
use std::io;
use wire::frame::Opcode;

/// Every operation and how to prepare it.
pub const CORE_OPERATIONS: &[(&str, Prepare)] = &[
    ("core-echo-20", || core_echo(20)),
    ("core-echo-1024", || core_echo(1024)),
    ("core-ping", || core_room(1, &text(PING))),
    ("core-fan-out-10", || core_room(10, &text(SEEK))),
    ("core-fan-out-110", || core_room(110, &text(SEEK))),
    ("core-connect", core_connect),
];

fn core_echo(length: usize) -> Operation {
    let bytes = masked(Opcode::Binary, &vec![b'x'; length]);
    core(App::Echo, |core| core.connect(), move |core, speaker| core.exchange(speaker, &bytes))
}

/// One member says something, and everyone gets what follows.
fn core_room(members: usize, bytes: &[u8]) -> Operation {
    let bytes = bytes.to_vec();
    core(
        App::Rooms,
        |core| core.room("R", members),
        move |core, speaker| {
            core.exchange(speaker, &bytes)?;
            core.hear_all()
        },
    )
}

/// Connects and stays, so it costs a place in every table, too.
fn core_connect() -> Operation {
    core(App::Rooms, |_| Ok(0), |core, _| core.connect().map(|_| ()))
}

/// Something on a whole core. Whoever counts has no use for half a count: what fails ends the process.
fn core(
    app: App,
    prepare: impl FnOnce(&mut OneCore) -> io::Result<usize>,
    perform: impl Fn(&mut OneCore, usize) -> io::Result<()> + 'static,
) -> Operation {
    let mut core = OneCore::new(app).unwrap_or_else(|error| panic!("a core: {error}"));
    let speaker = prepare(&mut core).unwrap_or_else(|error| panic!("its scene: {error}"));
    Box::new(move || perform(&mut core, speaker).unwrap_or_else(|error| panic!("an operation: {error}")))
}
