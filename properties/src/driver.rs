//! The ring driver under any kernel: completions in any order, with any result, as late as can be.
//!
//! `kernel` plays the kernel and keeps its books: it panics if the driver has two receives or two sends on one
//! socket, moves bytes that are being sent, closes a descriptor that is not its own or that something is still in
//! flight on. Here are the choices, and what must hold at the end of each turn and of everything. Input: the world
//! (one byte), then steps.

mod kernel;

use crate::input::Input;
use crate::script;
use engine::{App, Authz, CoreId, Limits, Seed, Settings};
use kernel::Kernel;

/// Steps of a run; what an input has beyond them is not read.
const STEPS_MAX: usize = 2_000;
/// Turns in which a driver that was abandoned has to come to its end.
const LAST_TURNS_MAX: usize = 200;
/// Ends of a receive, among them all that the driver tells apart.
const RECEIVE_ERRORS: [i32; 8] = [
    libc::ENOBUFS,
    libc::ECANCELED,
    libc::EAGAIN,
    libc::EINTR,
    libc::ECONNRESET,
    libc::ETIMEDOUT,
    libc::EBADF,
    libc::EPIPE,
];
const SEND_ERRORS: [i32; 6] =
    [libc::EAGAIN, libc::EINTR, libc::ENOBUFS, libc::ECANCELED, libc::EPIPE, libc::ECONNRESET];
const ACCEPT_ERRORS: [i32; 6] =
    [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ECONNABORTED, libc::ECANCELED, libc::EINTR];
/// Milliseconds that pass at once: a turn, a pause of the accept, a close, a head, a ping.
const PAUSES_MS: [i64; 6] = [0, 3, 150, 1_200, 5_100, 25_200];

/// See the module.
pub fn driver(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut kernel = Kernel::new(settings(&mut input), 6);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        step(&mut kernel, &mut input);
    }
    end(kernel);
}

fn settings(input: &mut Input<'_>) -> Settings {
    let choice = input.byte();
    let small =
        Limits { message_bytes_max: 2_000, fragments_max: 3, outbox_bytes_max: 3_000, ..Limits::default() };
    Settings {
        core: CoreId(0),
        // Of two cores the other is deaf and mute; connections are moved there all the same.
        cores: if choice & 1 == 0 { 1 } else { 2 },
        app: [App::Rooms, App::Echo, App::Broadcast, App::Rooms][usize::from(choice >> 1 & 3)],
        authz: Authz::Member,
        limits: if choice & 8 == 0 { small } else { Limits::default() },
        seed: Seed(1, 2),
        page: None,
    }
}

fn step(kernel: &mut Kernel, input: &mut Input<'_>) {
    let choice = input.byte();
    let is_plain = choice & 0x10 == 0;
    match choice & 0x0f {
        0 | 1 => kernel.accept(),
        2 => kernel.fail_accept(input.pick(&ACCEPT_ERRORS)),
        3..=6 => {
            if let Some(tag) = kernel.some_receive(input.below(256)) {
                let check_id = kernel.check_id(tag).to_owned();
                let bytes = if kernel.is_upgraded(tag) {
                    script::words(input, &check_id)
                } else {
                    script::request(input)
                };
                // A piece of it, or all: the rest is lost, and what follows is garbage to the server.
                let end = if choice & 0x20 == 0 { bytes.len() } else { input.below(256).min(bytes.len()) };
                kernel.receive(tag, &bytes[..end], is_plain);
            }
        }
        7 => {
            if let Some(tag) = kernel.some_receive(input.below(256)) {
                kernel.end_receive(tag, 0);
            }
        }
        8 => {
            if let Some(tag) = kernel.some_receive(input.below(256)) {
                kernel.end_receive(tag, -input.pick(&RECEIVE_ERRORS));
            }
        }
        9 | 10 => {
            if let Some(tag) = kernel.some_send(input.below(256)) {
                let taken = if is_plain { usize::MAX } else { usize::from(input.short()) };
                kernel.send(tag, taken);
            }
        }
        11 => {
            if let Some(tag) = kernel.some_send(input.below(256)) {
                kernel.fail_send(tag, input.pick(&SEND_ERRORS));
            }
        }
        12 => kernel.answer_cancel(),
        13 => kernel.pass(input.pick(&PAUSES_MS)),
        14 if choice & 0xf0 == 0xf0 => kernel.drain(),
        _ => turn(kernel, is_plain),
    }
}

fn turn(kernel: &mut Kernel, keeps_moved: bool) {
    kernel.turn(keeps_moved);
    kernel.check_books();
}

/// All is abandoned: the driver asks for the cancel of whatever is in flight, closes every descriptor, and is
/// empty.
fn end(mut kernel: Kernel) {
    kernel.drain();
    turn(&mut kernel, false);
    kernel.abandon();
    for _ in 0..LAST_TURNS_MAX {
        turn(&mut kernel, false);
        kernel.complete_cancelled();
        if kernel.is_over() {
            turn(&mut kernel, false);
            kernel.check_empty();
            return;
        }
    }
    panic!("something is left that was neither completed nor cancelled: {}", kernel.left());
}
