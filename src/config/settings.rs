//! The table of all settings: name, environment variable, help, what is allowed, how to set and show it.
//!
//! Order is that of the help and of the printed file. A value is text wherever it comes from, so that it is
//! checked in one place.

use super::{AdminAddress, Config, Host, LogFormat, Secret};
use engine::{App, Authz, Origins};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
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
    /// What holds if it is not set, for those that have no value of their own then.
    pub(super) unset: &'static str,
    /// A flag without a value means true, and one with `no-` before it false.
    pub(super) is_switch: bool,
    /// Its value is never shown.
    pub(super) is_secret: bool,
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

    /// The flag that turns a switch off.
    pub(super) fn off_flag(&self) -> String {
        format!("no-{}", self.flag())
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
        unset: "by the descriptor limit",
        is_switch: false,
        is_secret: false,
        set: |_, _| None,
        show: |_| String::new(),
    }
}

const fn limit_text(
    key: &'static str,
    environment: &'static str,
    value_name: &'static str,
    unset: &'static str,
) -> Setting {
    Setting { table: "limits", heading: "Limits", unset, ..text(key, environment, value_name) }
}

/// A number in its range.
fn number<T: FromStr + PartialOrd>(value: &str, allowed: RangeInclusive<T>) -> Option<T> {
    value.replace('_', "").parse().ok().filter(|number| allowed.contains(number))
}

fn admin_address(value: &str) -> Option<AdminAddress> {
    match value {
        "auto" => Some(AdminAddress::Auto),
        "off" => Some(AdminAddress::Off),
        value => {
            let on_loopback = || value.parse().ok().map(|port: u16| (Ipv4Addr::LOCALHOST, port).into());
            value.parse().ok().or_else(on_loopback).map(AdminAddress::At)
        }
    }
}

fn power_of_two(value: &str, allowed: RangeInclusive<u32>) -> Option<u32> {
    number(value, allowed).filter(|number| number.is_power_of_two())
}

fn path(value: &str) -> Option<PathBuf> {
    let is_path = !value.is_empty() && !value.contains(char::is_control);
    is_path.then(|| PathBuf::from(value))
}

/// As TOML, whatever characters are in it.
fn show_path(path: Option<&Path>) -> String {
    path.map_or(String::new(), |path| toml::Value::from(path.to_string_lossy().into_owned()).to_string())
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
            unset: "",
            is_switch: false,
            is_secret: false,
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
        help: "The folder in which rooms are kept, so that they outlive the process",
        allowed: "a folder that this user may write to",
        unset: "rooms are not kept",
        set: |config, value| path(value).map(|dir| config.backup.dir = Some(dir)),
        show: |config| show_path(config.backup.dir.as_deref()),
        ..text("backup_dir", "BACKUP_DIR", "FOLDER")
    },
    Setting {
        help: "The old server's file, read at the start if it is newer; its folder is where rooms are kept if no other is set",
        allowed: "a file, in the folder unless it says another",
        unset: "state-backup.json in the folder",
        set: |config, value| path(value).map(|file| config.backup.file = Some(file)),
        show: |config| show_path(config.backup.file.as_deref()),
        ..text("backup_file", "BACKUP_FILE", "FILE")
    },
    Setting {
        help: "Time between two snapshots of the rooms, if anything has changed",
        allowed: "10 to 3600000",
        set: |config, value| number(value, 10..=3_600_000).map(|ms| config.backup.interval_ms = ms),
        show: |config| config.backup.interval_ms.to_string(),
        ..text("backup_interval_ms", "DOWNBEAT_BACKUP_INTERVAL_MS", "MS")
    },
    Setting {
        help: "How what is said while it runs is written; auto is text on a terminal, else JSON",
        allowed: "auto, text, json",
        set: |config, value| {
            config.log_format = match value {
                "auto" => LogFormat::Auto,
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return None,
            };
            Some(())
        },
        show: |config| {
            let name = match config.log_format {
                LogFormat::Auto => "auto",
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            };
            format!("\"{name}\"")
        },
        ..text("log_format", "DOWNBEAT_LOG_FORMAT", "FORMAT")
    },
    Setting {
        help: "A parent process holds the listeners and starts the server anew if it dies",
        allowed: "true, false",
        unset: "true in production, else false",
        is_switch: true,
        set: |config, value| value.parse().ok().map(|is_supervised| config.supervised = Some(is_supervised)),
        show: |config| config.supervised.map_or(String::new(), |is_supervised| is_supervised.to_string()),
        ..text("supervised", "DOWNBEAT_SUPERVISED", "BOOL")
    },
    Setting {
        help: "On a signal: time in which it serves on and says that it is not ready any more",
        allowed: "0 to 3600000",
        set: |config, value| number(value, 0..=3_600_000).map(|ms| config.drain.grace_ms = ms),
        show: |config| config.drain.grace_ms.to_string(),
        ..text("drain_grace_ms", "DOWNBEAT_DRAIN_GRACE_MS", "MS")
    },
    Setting {
        help: "On a signal: connections closed in a second, a room after the other, as all of them come back at once",
        allowed: "1 to 100000000",
        set: |config, value| number(value, 1..=100_000_000).map(|rate| config.drain.rate_per_s = rate),
        show: |config| config.drain.rate_per_s.to_string(),
        ..text("drain_rate", "DOWNBEAT_DRAIN_RATE", "N")
    },
    Setting {
        help: "Where health, metrics, figures and rooms are served; auto is 127.0.0.1:9600, or off if that is taken",
        allowed: "auto, off, ADDRESS:PORT, or a port of 127.0.0.1",
        set: |config, value| admin_address(value).map(|address| config.admin.address = address),
        show: |config| match config.admin.address {
            AdminAddress::Auto => "\"auto\"".to_owned(),
            AdminAddress::Off => "\"off\"".to_owned(),
            AdminAddress::At(address) => format!("\"{address}\""),
        },
        ..text("admin", "ADMIN", "ADDRESS")
    },
    Setting {
        help: "What whoever uses the admin port has to send as a bearer token; others see a flag, so better set the variable",
        allowed: Secret::ALLOWED,
        unset: "none",
        is_secret: true,
        set: |config, value| {
            config.admin.token = Some(Secret::parse(value)?);
            Some(())
        },
        ..text("admin_token", "ADMIN_TOKEN", "TOKEN")
    },
    Setting {
        help: "A file that holds the admin token, read at the start",
        allowed: "a path that begins with /",
        unset: "none",
        set: |config, value| {
            config.admin.token_file = Some(value).filter(|value| value.starts_with('/')).map(Into::into);
            config.admin.token_file.as_ref().map(|_| ())
        },
        show: |config| {
            let file = config.admin.token_file.as_ref();
            file.map_or(String::new(), |file| toml::Value::String(file.display().to_string()).to_string())
        },
        ..text("admin_token_file", "ADMIN_TOKEN_FILE", "FILE")
    },
    Setting {
        help: "Rooms: a page at / to hear rooms play in sync, which speaks the clients' protocol",
        allowed: "true, false",
        unset: "true, unless the environment is production",
        is_switch: true,
        set: |config, value| value.parse().ok().map(|has_demo| config.demo = Some(has_demo)),
        show: |config| config.demo.map_or(String::new(), |has_demo| has_demo.to_string()),
        ..text("demo", "DOWNBEAT_DEMO", "BOOL")
    },
    Setting {
        help: "Connections of all cores; past it new ones are answered 503",
        allowed: "1 to 10000000",
        set: |config, value| number(value, 1..=10_000_000).map(|max| config.connections_max = Some(max)),
        show: |config| config.connections_max.map_or(String::new(), |max| max.to_string()),
        ..text("connections_max", "DOWNBEAT_CONNECTIONS_MAX", "N")
    },
    Setting {
        help: "Whose web pages may connect, by their Origin; others' are answered 403",
        allowed: "all, or origins with commas between them, like https://example.org,http://localhost:3000,null",
        set: |config, value| Origins::parse(value).map(|origins| config.limits.origins = origins),
        show: |config| format!("\"{}\"", config.limits.origins),
        ..text("allowed_origins", "DOWNBEAT_ALLOWED_ORIGINS", "LIST")
    },
    Setting {
        help: "Connections from one address, of IPv6 its first 64 bits; past it new ones are answered 503",
        allowed: "1 to 10000000",
        set: |config, value| {
            config.address_connections_max = Some(number(value, 1..=10_000_000)?);
            Some(())
        },
        show: |config| config.address_connections_max.map_or(String::new(), |max| max.to_string()),
        ..limit_text("address_connections_max", "DOWNBEAT_ADDRESS_CONNECTIONS_MAX", "N", "no limit")
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
        join_timeout_ms,
        "DOWNBEAT_JOIN_TIMEOUT_MS",
        "MS",
        "1000 to 3600000",
        1_000..=3_600_000,
        "Rooms: time from the upgrade to the first join; past it 1008"
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
        message_timeout_ms,
        "DOWNBEAT_MESSAGE_TIMEOUT_MS",
        "MS",
        "1000 to 3600000",
        1_000..=3_600_000,
        "Time from a message's first byte to its last; past it 1008"
    ),
    Setting {
        help: "Rates of messages, pings, commands and new rooms are held; benchmarks go past them on purpose",
        allowed: "true, false",
        is_switch: true,
        set: |config, value| value.parse().ok().map(|is_metered| config.limits.is_metered = is_metered),
        show: |config| config.limits.is_metered.to_string(),
        ..limit_text("metered", "DOWNBEAT_METERED", "BOOL", "")
    },
    limit!(
        messages_per_s,
        "DOWNBEAT_MESSAGES_PER_S",
        "N",
        "0 to 1000",
        0..=1_000,
        "Rooms: messages a connection and second, 0 for no limit; past burst and rate its time_pings are dropped"
    ),
    limit!(
        messages_burst,
        "DOWNBEAT_MESSAGES_BURST",
        "N",
        "1 to 255",
        1..=u8::MAX,
        "Messages of a connection at once"
    ),
    limit!(
        messages_excess_max,
        "DOWNBEAT_MESSAGES_EXCESS_MAX",
        "N",
        "0 to 1000000",
        0..=1_000_000,
        "Messages of a connection past burst and rate within 30 s; past it 1008"
    ),
    limit!(
        controls_per_s,
        "DOWNBEAT_CONTROLS_PER_S",
        "N",
        "0 to 1000",
        0..=1_000,
        "Pings and pongs a connection and second, 0 for no limit; past burst and rate 1008"
    ),
    limit!(
        controls_burst,
        "DOWNBEAT_CONTROLS_BURST",
        "N",
        "1 to 255",
        1..=u8::MAX,
        "Pings and pongs of a connection at once"
    ),
    limit!(
        commands_per_s,
        "DOWNBEAT_COMMANDS_PER_S",
        "N",
        "0 to 1000",
        0..=1_000,
        "Commands a connection and second, 0 for no limit; past burst and rate they are ignored"
    ),
    limit!(
        commands_burst,
        "DOWNBEAT_COMMANDS_BURST",
        "N",
        "1 to 255",
        1..=u8::MAX,
        "Commands of a connection at once"
    ),
    limit!(
        room_commands_per_s,
        "DOWNBEAT_ROOM_COMMANDS_PER_S",
        "N",
        "0 to 1000",
        0..=1_000,
        "Commands a room and second, 0 for no limit; past burst and rate they are ignored"
    ),
    limit!(
        room_commands_burst,
        "DOWNBEAT_ROOM_COMMANDS_BURST",
        "N",
        "1 to 255",
        1..=u8::MAX,
        "Commands of a room at once"
    ),
    limit!(
        rooms_made_per_min,
        "DOWNBEAT_ROOMS_MADE_PER_MIN",
        "N",
        "0 to 60000",
        0..=60_000,
        "Rooms that a connection makes a minute, 0 for no limit; past burst and rate 1008"
    ),
    limit!(
        rooms_made_burst,
        "DOWNBEAT_ROOMS_MADE_BURST",
        "N",
        "1 to 255",
        1..=u8::MAX,
        "Rooms that a connection makes at once"
    ),
    limit!(
        rooms_max,
        "DOWNBEAT_ROOMS_MAX",
        "N",
        "1 to 100000000",
        1..=100_000_000,
        "Rooms of all cores; past it who would make one more is closed with 1013"
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
        outbox_timeout_ms,
        "DOWNBEAT_OUTBOX_TIMEOUT_MS",
        "MS",
        "1000 to 3600000",
        1_000..=3_600_000,
        "Time in which a connection takes nothing of what it is owed; past it it is reset"
    ),
    Setting {
        help: "Bytes owed to all connections of a core that are behind; past it those that are owed most are reset",
        allowed: "65536 to 1099511627776",
        set: |config, value| number(value, 65_536..=1 << 40).map(|max| config.outboxes_bytes_max = Some(max)),
        show: |config| config.outboxes_bytes_max.map_or(String::new(), |max| max.to_string()),
        ..limit_text(
            "outboxes_bytes_max",
            "DOWNBEAT_OUTBOXES_BYTES_MAX",
            "BYTES",
            "a fifth of the memory for all cores",
        )
    },
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
    Setting {
        help: "Time in which a peer acknowledges nothing that was sent to it; past it the kernel ends the connection",
        allowed: "1000 to 3600000",
        set: |config, value| number(value, 1_000..=3_600_000).map(|ms| config.tcp.timeout_ms = ms),
        show: |config| config.tcp.timeout_ms.to_string(),
        ..limit_text("tcp_timeout_ms", "DOWNBEAT_TCP_TIMEOUT_MS", "MS", "")
    },
    Setting {
        help: "Bytes that the kernel takes for a connection and cannot send yet; the rest counts as owed by the server",
        allowed: "4096 to 16777216",
        set: |config, value| number(value, 4_096..=16 << 20).map(|bytes| config.tcp.unsent_bytes_max = bytes),
        show: |config| config.tcp.unsent_bytes_max.to_string(),
        ..limit_text("tcp_unsent_bytes_max", "DOWNBEAT_TCP_UNSENT_BYTES_MAX", "BYTES", "")
    },
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
    limit!(
        pause_states_max,
        "DOWNBEAT_PAUSE_STATES_MAX",
        "N",
        "1 to 16",
        1..=16,
        "PAUSE_STATEs of a room that may be due at once; past it the newest is not sent"
    ),
    limit!(
        news_sends_max,
        "DOWNBEAT_NEWS_SENDS_MAX",
        "N",
        "1 to 1000000",
        1..=1_000_000,
        "Sends of a core in one turn that tell nothing but who came or went; the others gather for the next"
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
