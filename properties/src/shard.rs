//! Shards under any sequence of events: clients that split, stall, fail and leave, links with delay, time.
//!
//! `world` keeps the books and checks after each step; here are the choices, and what must be left at the end:
//! nothing. Input: the world (two bytes), then steps. A model of the room protocol, which would say what each
//! client must have heard, has its place in `World::check`.

mod world;

use crate::input::Input;
use crate::script;
use engine::{App, Authz, Limits};
use world::World;

/// Steps of a run; what an input has beyond them is not read.
const STEPS_MAX: usize = 2_000;
/// Milliseconds that pass at once: among them the delays of pauses, checks, closes, heads and pings.
const PAUSES_MS: [i64; 8] = [0, 40, 300, 500, 1_200, 5_100, 9_000, 25_200];

/// See the module.
pub fn shard(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = world(&mut input);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        step(&mut world, &mut input);
        world.check();
    }
    world.end();
}

fn world(input: &mut Input<'_>) -> World {
    let (choice, limits) = (input.byte(), input.byte());
    let default = Limits::default();
    let tight = |bit: u8, small: usize, usual: usize| if limits >> bit & 1 == 0 { small } else { usual };
    let limits = Limits {
        message_bytes_max: tight(0, 300, default.message_bytes_max),
        fragments_max: tight(1, 2, default.fragments_max),
        outbox_bytes_max: tight(2, 2_500, default.outbox_bytes_max),
        room_local_max: tight(3, 1, default.room_local_max),
        mesh_backlog_max: tight(4, 3, default.mesh_backlog_max),
        news_sends_max: tight(5, 1, default.news_sends_max),
        ..default
    };
    let app =
        [App::Rooms, App::Rooms, App::Rooms, App::Rooms, App::Rooms, App::Rooms, App::Echo, App::Broadcast];
    let authz = [Authz::Member, Authz::Member, Authz::Host, Authz::Off];
    World::new(
        u16::from(choice & 3) % 3 + 1,
        app[usize::from(choice >> 2 & 7)],
        authz[usize::from(choice >> 5 & 3)],
        &limits,
    )
}

fn step(world: &mut World, input: &mut Input<'_>) {
    let choice = input.byte();
    let is_plain = choice & 0x10 == 0;
    match choice & 0x0f {
        0 => {
            let core = input.below(3);
            if let Some(client) = world.connect(core, choice == 0xf0) {
                world.say(client, &script::request(input));
                world.deliver(client, if is_plain { usize::MAX } else { input.below(256) });
            }
        }
        1..=6 => {
            if let Some(client) = world.some_client(input.below(256)) {
                let words = script::words(input, &world.check_id(client));
                world.say(client, &words);
                world.deliver(client, if is_plain { usize::MAX } else { input.below(256) });
            }
        }
        7 => {
            if let Some(client) = world.some_client(input.below(256)) {
                world.deliver(client, input.below(256));
            }
        }
        8 => {
            if let Some(client) = world.some_client(input.below(256)) {
                if is_plain { world.finish(client) } else { world.fail(client) }
            }
        }
        9 => world.turn(input.below(3)),
        10 | 11 => {
            if let Some(client) = world.some_client(input.below(256)) {
                world.take(client, if is_plain { usize::MAX } else { usize::from(input.short()) });
            }
        }
        12 => {
            if let Some(client) = world.some_client(input.below(256)) {
                if is_plain { world.refuse(client) } else { world.break_send(client) }
            }
        }
        13 => world.carry(input.below(3), input.below(3), input.below(256)),
        14 => world.pass(input.pick(&PAUSES_MS)),
        _ if choice == 0xff => world.drain(),
        _ => world.settle(),
    }
}
