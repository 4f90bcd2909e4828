//! The table of all settings: name, environment variable, help, what is allowed, how to set and show it.
//!
//! Order is that of the help and of the printed file. A value is text wherever it comes from, so that it is
//! checked in one place.

use super::{Config, Host};
use engine::{App, Authz};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// More shards than this are a mistake: the mesh grows with their square.
pub(super) const CORES_MAX: usize = 256;

/// One setting.
pub(super) struct Setting {
    /// Its key in the file, with underscores.
    pub(super) key: &'static str,
    /// Its table in the file; empty for the top.
    pub(super) table: &'static str,
    pub(super) heading: &'static str,
    pub(super) environment: &'static str,
    pub(super) value_name: &'static str,
    pub(super) help: &'static str,
    pub(super) allowed: &'static str,
    /// A flag without a value means true.
    pub(super) is_switch: bool,
    /// Sets it; `None` if the value is not allowed.
    pub(super) set: fn(&mut Config, &str) -> Option<()>,
    /// Its value as TOML; empty if there is none.
    pub(super) show: fn(&Config) -> String,
}

impl Setting {
    /// Its flag without the dashes before it.
    pub(super) fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// Its dotted path in the file.
    pub(super) fn path(&self) -> String {
        if self.table.is_empty() { self.key.to_owned() } else { format!("{}.{}", self.table, self.key) }
    }
}

const fn text(key: &'static str, environment: &'static str, value_name: &'static str) -> Setting {
    Setting {
        key,
        table: "",
        heading: "Server",
        environment,
        value_name,
        help: "",
        allowed: "",
        is_switch: false,
        set: |_, _| None,
        show: |_| String::new(),
    }
}

/// A number in its range.
fn number<T: FromStr + PartialOrd>(value: &str, allowed: RangeInclusive<T>) -> Option<T> {
    value.replace('_', "").parse().ok().filter(|number| allowed.contains(number))
}

fn power_of_two(value: &str, allowed: RangeInclusive<u32>) -> Option<u32> {
    number(value, allowed).filter(|number| number.is_power_of_two())
}

/// A row for a number among the limits or the ring's sizes.
macro_rules! number_row {
    ($table:literal, $heading:literal, $field:ident . $key:ident, $environment:literal, $unit:literal,
     $allowed:literal, $help:literal, $parse:expr) => {
        Setting {
            key: stringify!($key),
            table: $table,
            heading: $heading,
            environment: $environment,
            value_name: $unit,
            help: $help,
            allowed: $allowed,
            is_switch: false,
            set: |config, value| {
                let parse: fn(&str) -> Option<_> = $parse;
                config.$field.$key = parse(value)?;
                Some(())
            },
            show: |config| config.$field.$key.to_string(),
        }
    };
}

macro_rules! limit {
    ($key:ident, $environment:literal, $unit:literal, $allowed:literal, $range:expr, $help:literal) => {
        number_row!("limits", "Limits", limits.$key, $environment, $unit, $allowed, $help, |value| number(
            value, $range
        ))
    };
}

macro_rules! ring {
    ($key:ident, $environment:literal, $unit:literal, $allowed:literal, $parse:expr, $help:literal) => {
        number_row!("ring", "Rings and mesh", ring.$key, $environment, $unit, $allowed, $help, $parse)
    };
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        help: "The port of all cores; 0 takes any free one",
        allowed: "0 to 65535",
        set: |config, value| number(value, 0..=u16::MAX).map(|port| config.port = port),
        show: |config| config.port.to_string(),
        ..text("port", "PORT", "PORT")
    },
    Setting {
        help: "How many shards; 1 is single-process mode, more than there are CPUs share them",
        allowed: "1 to 256",
        set: |config, value| number(value, 1..=CORES_MAX).map(|cores| config.cores = cores),
        show: |config| config.cores.to_string(),
        ..text("cores", "CLUSTER_WORKERS", "N")
    },
    Setting {
        help: "The address to listen on; all means every one, IPv4 and IPv6",
        allowed: "all, an IPv4 or an IPv6 address",
        set: |config, value| {
            config.host = if value == "all" { Host::All } else { Host::Address(value.parse().ok()?) };
            Some(())
        },
        show: |config| match config.host {
            Host::All => "\"all\"".to_owned(),
            Host::Address(address) => format!("\"{address}\""),
        },
        ..text("host", "HOST", "ADDRESS")
    },
    Setting {
        help: "Core i listens on port PORT + i too, as the old server's cluster did",
        allowed: "true, false",
        is_switch: true,
        set: |config, value| value.parse().ok().map(|per_core| config.port_per_core = per_core),
        show: |config| config.port_per_core.to_string(),
        ..text("port_per_core", "DOWNBEAT_PORT_PER_CORE", "BOOL")
    },
    Setting {
        help: "What is served: rooms, every message back to its sender, or every message to everyone",
        allowed: "rooms, echo, broadcast",
        set: |config, value| {
            config.app = match value {
                "rooms" => App::Rooms,
                "echo" => App::Echo,
                "broadcast" => App::Broadcast,
                _ => return None,
            };
            Some(())
        },
        show: |config| {
            let name = match config.app {
                App::Rooms => "rooms",
                App::Echo => "echo",
                App::Broadcast => "broadcast",
            };
            format!("\"{name}\"")
        },
        ..text("app", "DOWNBEAT_APP", "APP")
    },
    Setting {
        help: "Who may command a room: its members, only its host's user, or whoever knows its code",
        allowed: "member, host, off",
        set: |config, value| {
            config.authz = match value {
                "member" => Authz::Member,
                "host" => Authz::Host,
                "off" => Authz::Off,
                _ => return None,
            };
            Some(())
        },
        show: |config| {
            let name = match config.authz {
                Authz::Member => "member",
                Authz::Host => "host",
                Authz::Off => "off",
            };
            format!("\"{name}\"")
        },
        ..text("authz", "DOWNBEAT_AUTHZ", "WHO")
    },
    Setting {
        help: "The environment's name; production is what a production host sets",
        allowed: "a word of letters, digits, - and _",
        set: |config, value| {
            let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            let word = Some(value).filter(|value| !value.is_empty() && value.chars().all(is_word))?;
            config.environment = word.to_owned();
            Some(())
        },
        show: |config| format!("\"{}\"", config.environment),
        ..text("environment", "NODE_ENV", "NAME")
    },
    Setting {
        help: "Connections of all cores; past it new ones are answered 503",
        allowed: "1 to 10000000",
        set: |config, value| number(value, 1..=10_000_000).map(|max| config.connections_max = Some(max)),
        show: |config| config.connections_max.map_or(String::new(), |max| max.to_string()),
        ..text("connections_max", "DOWNBEAT_CONNECTIONS_MAX", "N")
    },
    limit!(
        head_bytes_max,
        "DOWNBEAT_HEAD_BYTES_MAX",
        "BYTES",
        "256 to 1048576",
        256..=1 << 20,
        "Bytes of an upgrade request's head; past it 431"
    ),
    limit!(
        head_timeout_ms,
        "DOWNBEAT_HEAD_TIMEOUT_MS",
        "MS",
        "100 to 600000",
        100..=600_000,
        "Time from accept to a complete head; past it the connection is reset"
    ),
    limit!(
        headers_max,
        "DOWNBEAT_HEADERS_MAX",
        "N",
        "8 to 128",
        8..=wire::upgrade::HEADERS_MAX,
        "Headers of an upgrade request; past it 431"
    ),
    limit!(
        message_bytes_max,
        "DOWNBEAT_MESSAGE_BYTES_MAX",
        "BYTES",
        "125 to 268435456",
        125..=256 << 20,
        "Bytes of a message, its fragments together; past it 1009"
    ),
    limit!(
        fragments_max,
        "DOWNBEAT_FRAGMENTS_MAX",
        "N",
        "1 to 1000000",
        1..=1_000_000,
        "Frames of a message; past it 1008"
    ),
    limit!(
        outbox_bytes_max,
        "DOWNBEAT_OUTBOX_BYTES_MAX",
        "BYTES",
        "4096 to 1073741824",
        4096..=1 << 30,
        "Bytes owed to a connection that does not read; past it the connection is reset"
    ),
    limit!(
        ping_interval_ms,
        "DOWNBEAT_PING_INTERVAL_MS",
        "MS",
        "100 to 3600000",
        100..=3_600_000,
        "Time between two pings to a connection"
    ),
    limit!(
        pings_unanswered_max,
        "DOWNBEAT_PINGS_UNANSWERED_MAX",
        "N",
        "1 to 100",
        1..=100,
        "Pings without a sign of life, after which the connection is reset"
    ),
    limit!(
        close_timeout_ms,
        "DOWNBEAT_CLOSE_TIMEOUT_MS",
        "MS",
        "100 to 60000",
        100..=60_000,
        "Time that a peer has to end a connection after our close frame; past it a reset"
    ),
    limit!(
        json_depth_max,
        "DOWNBEAT_JSON_DEPTH_MAX",
        "N",
        "2 to 128",
        2..=128,
        "Nesting of a message's JSON; past it the message is ignored"
    ),
    limit!(
        room_code_bytes_max,
        "DOWNBEAT_ROOM_CODE_BYTES_MAX",
        "BYTES",
        "1 to 256",
        1..=wire::upgrade::ROOM_CODE_BYTES_MAX,
        "Bytes of a room code; past it the message is ignored"
    ),
    limit!(
        room_local_max,
        "DOWNBEAT_ROOM_LOCAL_MAX",
        "N",
        "1 to 10000000",
        1..=10_000_000,
        "Members of a room on its home core, past which newcomers are placed on other cores"
    ),
    limit!(
        mesh_backlog_max,
        "DOWNBEAT_MESH_BACKLOG_MAX",
        "N",
        "16 to 16777216",
        16..=1 << 24,
        "Envelopes that wait for one core; past it pings are dropped and members closed with 1013"
    ),
    ring!(
        buffers,
        "DOWNBEAT_BUFFERS",
        "N",
        "a power of two, 2 to 32768",
        |value| power_of_two(value, 2..=32_768).and_then(|buffers| u16::try_from(buffers).ok()),
        "Receive buffers of a core"
    ),
    ring!(
        buffer_bytes,
        "DOWNBEAT_BUFFER_BYTES",
        "BYTES",
        "256 to 1048576",
        |value| number(value, 256..=1 << 20),
        "Bytes of a receive buffer"
    ),
    ring!(
        buffers_shared,
        "DOWNBEAT_BUFFERS_SHARED",
        "BOOL",
        "true, false",
        |value| value.parse().ok(),
        "Receives share a buffer, one behind the other; before Linux 6.12 each takes one, of 2 KiB at most"
    ),
    ring!(
        sq_entries,
        "DOWNBEAT_SQ_ENTRIES",
        "N",
        "a power of two, 8 to 32768",
        |value| power_of_two(value, 8..=32_768),
        "Operations submitted at once"
    ),
    ring!(
        cq_entries,
        "DOWNBEAT_CQ_ENTRIES",
        "N",
        "a power of two, 16 to 65536",
        |value| power_of_two(value, 16..=65_536),
        "Completions that wait without the kernel's help"
    ),
    ring!(
        batches_per_link,
        "DOWNBEAT_BATCHES_PER_LINK",
        "N",
        "1 to 65536",
        |value| number(value, 1..=65_536),
        "Batches that wait in one channel between two cores"
    ),
    ring!(
        batch_us,
        "DOWNBEAT_BATCH_US",
        "US",
        "0 to 100000",
        |value| number(value, 0..=100_000),
        "Latency budget: messages may gather this long while a core sleeps, for less CPU each; Linux 6.12"
    ),
];
