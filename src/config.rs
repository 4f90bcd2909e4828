//! The effective configuration: flags over environment over file over default.
//!
//! Every setting stands once, in `settings.rs`; help, environment, file and `downbeat config` all follow from
//! that table. A bad value is one line that names the setting and what is allowed. Nothing here acts.

mod settings;

use clap::{Arg, ArgAction, ArgMatches, Command as Clap};
use engine::{App, Authz, Limits};
use settings::{SETTINGS, Setting};
use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;

/// Exit status for bad settings: a usage error, by sysexits.
pub const EXIT_USAGE: u8 = 64;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The port of all cores; 0 takes any free one.
    pub port: u16,
    /// Shards, each on a core of its own as far as there are cores.
    pub cores: usize,
    /// Where to listen.
    pub host: Host,
    /// Core i listens on port + i, too.
    pub port_per_core: bool,
    /// What is served.
    pub app: App,
    /// Who may command rooms.
    pub authz: Authz,
    /// NODE_ENV, any word.
    pub environment: String,
    /// The demo player at `/`; by the environment if not set.
    pub demo: Option<bool>,
    /// Connections of all cores; by the descriptor limit if not set.
    pub connections_max: Option<usize>,
    /// Connections from one address; no limit if not set.
    pub address_connections_max: Option<u32>,
    /// Bytes owed to all connections of a core that are behind; by the memory if not set.
    pub outboxes_bytes_max: Option<usize>,
    /// What the kernel bounds.
    pub tcp: TcpLimits,
    /// The engine's bounds.
    pub limits: Limits,
    /// The rings' sizes.
    pub ring: RingSettings,
}

/// Addresses to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// All, IPv4 and IPv6.
    All,
    /// One.
    Address(IpAddr),
}

/// Bounds of a connection that are the kernel's to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpLimits {
    /// Time in which a peer acknowledges nothing that was sent to it, ms; past it the connection ends.
    pub timeout_ms: u32,
    /// Bytes that the kernel takes and cannot send yet; past it a send waits, and our own limit counts the rest.
    pub unsent_bytes_max: u32,
}

/// Sizes of each shard's ring and of the channels between shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingSettings {
    /// Receive buffers, a power of two.
    pub buffers: u16,
    /// Bytes of a receive buffer.
    pub buffer_bytes: u32,
    /// Receives share a buffer, each taking up where the one before ended, if the kernel can.
    pub buffers_shared: bool,
    /// Operations submitted at once, a power of two.
    pub sq_entries: u32,
    /// Completions that wait without the kernel's help, a power of two.
    pub cq_entries: u32,
    /// Batches that wait in one channel between two cores.
    pub batches_per_link: usize,
    /// Time that a sleeping core may let completions gather, µs; 0 wakes it for each.
    pub batch_us: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            port: 6001,
            cores: 1,
            host: Host::All,
            port_per_core: false,
            app: App::Rooms,
            authz: Authz::Member,
            environment: "development".to_owned(),
            demo: None,
            connections_max: None,
            address_connections_max: None,
            outboxes_bytes_max: None,
            tcp: TcpLimits { timeout_ms: 30_000, unsent_bytes_max: 128 * 1024 },
            limits: Limits::default(),
            ring: RingSettings {
                buffers: 4,
                buffer_bytes: 128 * 1024,
                buffers_shared: true,
                sq_entries: 1024,
                cq_entries: 8192,
                batches_per_link: 64,
                batch_us: 0,
            },
        }
    }
}

impl Config {
    /// There is a demo player at `/`: where rooms are served, in production only if it is asked for.
    pub fn has_demo(&self) -> bool {
        self.app == App::Rooms && self.demo.unwrap_or(self.environment != "production")
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Serve(Box<Config>),
    /// Print and be done: help, version, the effective configuration.
    Print(String),
}

/// Why there is nothing to do: one line, and the exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The process's exit status.
    pub code: u8,
    /// For standard error.
    pub line: String,
}

/// The world as far as settings come from it; made up in tests.
pub struct Sources<'a> {
    /// The arguments without the program's name.
    pub arguments: &'a [String],
    /// An environment variable, if it is set.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// A file's text.
    pub read_file: &'a dyn Fn(&str) -> Result<String, String>,
    /// Cores that the process may use.
    pub cores: usize,
}

/// Where a setting's value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Default,
    File,
    Environment,
    Flag,
}

/// Reads the process's arguments, environment and configuration file.
pub fn from_process() -> Result<Command, Exit> {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    parse(&Sources {
        arguments: &arguments,
        environment: &|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
        read_file: &|path| std::fs::read_to_string(path).map_err(|error| error.to_string()),
        cores: usable_cores(),
    })
}

/// The CPUs that affinity allows, and no more than a cgroup's quota pays for.
fn usable_cores() -> usize {
    let allowed = core_affinity::get_core_ids().map_or(1, |cores| cores.len());
    let paid = std::thread::available_parallelism().map_or(1, |paid| paid.get());
    allowed.min(paid).max(1)
}

/// As [`from_process`], from values.
pub fn parse(sources: &Sources<'_>) -> Result<Command, Exit> {
    let program = std::iter::once("downbeat".to_owned()).chain(sources.arguments.iter().cloned());
    let matches = match command_line().try_get_matches_from(program) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => return Ok(Command::Print(error.to_string())),
        Err(error) => return Err(usage(first_line(&error.to_string()))),
    };
    let chosen = matches.subcommand().map_or(&matches, |(_, chosen)| chosen);
    let (config, origins) = merge(sources, chosen)?;
    Ok(match matches.subcommand_name() {
        Some("config") => Command::Print(effective(&config, &origins)),
        _ => Command::Serve(Box::new(config)),
    })
}

fn command_line() -> Clap {
    let flag = |setting: &Setting| {
        let default = (setting.show)(&Config::default());
        let default = if setting.key == "cores" { "all the process may use".to_owned() } else { default };
        let help = format!(
            "{} [default: {}] [env: {}] [allowed: {}]",
            setting.help,
            if default.is_empty() { setting.unset } else { default.trim_matches('"') },
            setting.environment,
            setting.allowed
        );
        let argument = Arg::new(setting.key).long(setting.flag()).help(help).help_heading(setting.heading);
        if setting.is_switch {
            argument
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_name("BOOL")
                .overrides_with(setting.off_flag())
        } else {
            argument.value_name(setting.value_name).allow_hyphen_values(true)
        }
    };
    let config = Arg::new("config").long("config").value_name("FILE").help(
        "A TOML file with any of the settings below, as `downbeat config` prints them [env: DOWNBEAT_CONFIG]",
    );
    let off_flag = |setting: &Setting| {
        let name = setting.off_flag();
        Arg::new(&name).long(name).action(ArgAction::SetTrue).hide(true).overrides_with(setting.key)
    };
    let off_flags = SETTINGS.iter().filter(|setting| setting.is_switch).map(off_flag);
    let arguments: Vec<Arg> =
        std::iter::once(config).chain(SETTINGS.iter().map(flag)).chain(off_flags).collect();
    let about = "A WebSocket server for rooms that play in sync, one thread per core on io_uring.";
    Clap::new("downbeat")
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .after_help("A flag wins over the environment, the environment over the file, the file over the default.\n`--no-` before a switch turns it off.\nSIGTERM or Ctrl-C closes every connection with 1001 and exits 0 within 2 s.")
        .args_override_self(true)
        .args(arguments.clone())
        .subcommand(Clap::new("config").about("Print the effective configuration as a TOML file").args(arguments))
        .disable_help_subcommand(true)
}

fn merge(sources: &Sources<'_>, matches: &ArgMatches) -> Result<(Config, Vec<Source>), Exit> {
    let from_environment = |name: &str| (sources.environment)(name).filter(|value| !value.is_empty());
    let path = matches.get_one::<String>("config").cloned().or_else(|| from_environment("DOWNBEAT_CONFIG"));
    let mut file = match &path {
        Some(path) => read_file(path, sources)?,
        None => HashMap::new(),
    };
    let mut config = Config { cores: sources.cores.min(settings::CORES_MAX), ..Config::default() };
    let mut origins = Vec::new();
    for setting in SETTINGS {
        let in_file = file.remove(&setting.path());
        let in_environment = from_environment(setting.environment);
        let is_off = setting.is_switch && matches.get_flag(&setting.off_flag());
        let flag = matches.get_one::<String>(setting.key).cloned().or(is_off.then(|| "false".to_owned()));
        let values = [(in_file, Source::File), (in_environment, Source::Environment), (flag, Source::Flag)];
        let mut origin = Source::Default;
        // Every value that was given must be allowed, also one that another wins over.
        for (value, source) in values {
            let Some(value) = value else { continue };
            if (setting.set)(&mut config, value.trim()).is_none() {
                let name = match source {
                    Source::Environment => setting.environment.to_owned(),
                    Source::Flag => format!("--{}", setting.flag()),
                    Source::File | Source::Default => setting.path(),
                };
                return Err(usage(&format!(
                    "{name}: {value:?} is not allowed; allowed: {}",
                    setting.allowed
                )));
            }
            origin = source;
        }
        origins.push(origin);
    }
    if let (Some(key), Some(path)) = (file.keys().min(), path) {
        return Err(usage(&format!("{key}: no such setting in {path}; `downbeat config` lists all")));
    }
    if config.ring.cq_entries < config.ring.sq_entries {
        return Err(usage("ring.cq_entries: fewer than ring.sq_entries; allowed: at least as many"));
    }
    if config.limits.outbox_bytes_max < config.limits.message_bytes_max {
        return Err(usage(
            "limits.outbox_bytes_max: fewer than limits.message_bytes_max; allowed: at least as many",
        ));
    }
    Ok((config, origins))
}

/// The file's settings by dotted path, as the text that a flag would carry.
fn read_file(path: &str, sources: &Sources<'_>) -> Result<HashMap<String, String>, Exit> {
    let unreadable =
        |error: String| usage(&format!("config: cannot read {path}: {error}; allowed: a TOML file"));
    let text = (sources.read_file)(path).map_err(unreadable)?;
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| unreadable(error.message().to_owned()))?;
    let mut values = HashMap::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(table) => {
                values
                    .extend(table.into_iter().map(|(inner, value)| (format!("{key}.{inner}"), plain(value))));
            }
            value => drop(values.insert(key, plain(value))),
        }
    }
    Ok(values)
}

fn plain(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The effective configuration, as a file that `--config` takes back.
fn effective(config: &Config, origins: &[Source]) -> String {
    let mut text = String::from("# The effective configuration of Downbeat.\n");
    let mut table = "";
    for (setting, origin) in SETTINGS.iter().zip(origins) {
        if setting.table != table {
            table = setting.table;
            let _ = write!(text, "\n[{table}]\n");
        }
        let value = (setting.show)(config);
        let origin = match origin {
            Source::Default => "default".to_owned(),
            Source::File => "file".to_owned(),
            Source::Environment => format!("environment: {}", setting.environment),
            Source::Flag => format!("flag: --{}", setting.flag()),
        };
        let unset = if value.is_empty() { "# " } else { "" };
        let _ = writeln!(text, "{unset}{} = {value} # {origin}", setting.key);
    }
    text
}

fn usage(line: &str) -> Exit {
    Exit { code: EXIT_USAGE, line: format!("downbeat: {line}") }
}

/// What clap says, without its hints of several lines.
fn first_line(text: &str) -> &str {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("bad arguments");
    line.trim_start_matches("error: ")
}

#[cfg(test)]
mod tests;
