//! The effective configuration: flags over environment over file over default.
//!
//! Every setting stands once, in `settings.rs`; help, environment, file and `downbeat config` all follow from
//! that table. A bad value is one line that names the setting and what is allowed. Nothing here acts.

mod secret;
mod settings;

use clap::{Arg, ArgAction, ArgMatches, Command as Clap};
use engine::{App, Authz, Limits};
pub use secret::Secret;
use settings::{SETTINGS, Setting};
use std::collections::HashMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

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
    /// Where rooms are kept.
    pub backup: BackupSettings,
    /// How the server ends.
    pub drain: DrainSettings,
    /// How what is said is written.
    pub log_format: LogFormat,
    /// A parent holds the listeners and starts the server anew; by the environment's name if not set.
    pub supervised: Option<bool>,
    /// What the kernel bounds.
    pub tcp: TcpLimits,
    /// The admin port.
    pub admin: AdminSettings,
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

/// Where the rooms are kept that outlive the process; nowhere unless a folder or a file is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSettings {
    /// The folder.
    pub dir: Option<PathBuf>,
    /// The old server's file; its folder is ours if no other is set.
    pub file: Option<PathBuf>,
    /// Time between two snapshots, if something has changed.
    pub interval_ms: u32,
}

impl BackupSettings {
    /// The folder of the snapshots, and the old server's file.
    pub fn paths(&self) -> Option<(PathBuf, PathBuf)> {
        const OLD_FILE: &str = "state-backup.json";
        match (&self.dir, &self.file) {
            (None, None) => None,
            (Some(dir), None) => Some((dir.clone(), dir.join(OLD_FILE))),
            // A bare name is one in the folder, as it was.
            (Some(dir), Some(file)) => Some((dir.clone(), dir.join(file))),
            (None, Some(file)) => {
                let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
                Some((dir.map_or_else(|| PathBuf::from("."), Path::to_owned), file.clone()))
            }
        }
    }
}

/// How what is said is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, else as JSON.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How the server ends on a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// Time in which it says that it is about to, and serves on.
    pub grace_ms: u32,
    /// Connections that it closes in a second.
    pub rate_per_s: u32,
}

/// The admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where it is.
    pub address: AdminAddress,
    /// What whoever asks has to send.
    pub token: Option<Secret>,
    /// A file that holds it.
    pub token_file: Option<PathBuf>,
}

/// Where the admin port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// On loopback, or nowhere if the port there is taken.
    Auto,
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

impl AdminSettings {
    /// The token, from wherever it is set; what is wrong with it, in a line.
    pub fn token(&self) -> Result<Option<Secret>, String> {
        let Some(path) = self.token_file.as_ref().filter(|_| self.token.is_none()) else {
            return Ok(self.token.clone());
        };
        let named = |what: &str| format!("--admin-token-file {}: {what}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| named(&error.to_string()))?;
        let token = Secret::parse(text.trim())
            .ok_or_else(|| named(&format!("the token must be {}", Secret::ALLOWED)));
        token.map(Some)
    }
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
            backup: BackupSettings { dir: None, file: None, interval_ms: 5_000 },
            drain: DrainSettings { grace_ms: 0, rate_per_s: 10_000 },
            log_format: LogFormat::Auto,
            supervised: None,
            tcp: TcpLimits { timeout_ms: 30_000, unsent_bytes_max: 128 * 1024 },
            admin: AdminSettings { address: AdminAddress::Auto, token: None, token_file: None },
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
    /// A production host, by the environment's name.
    pub fn is_production(&self) -> bool {
        self.environment == "production"
    }

    /// There is a demo player at `/`: where rooms are served, in production only if it is asked for.
    pub fn has_demo(&self) -> bool {
        self.app == App::Rooms && self.demo.unwrap_or_else(|| !self.is_production())
    }

    /// A parent holds the listeners.
    pub fn is_supervised(&self) -> bool {
        self.supervised.unwrap_or_else(|| self.is_production())
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Serve(Box<Config>),
    /// Look whether this host can serve, and be done.
    Check {
        /// What would be served.
        config: Box<Config>,
        /// As JSON.
        json: bool,
    },
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
        Some("check") => Command::Check { config: Box::new(config), json: chosen.get_flag("json") },
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
        .after_help("A flag wins over the environment, the environment over the file, the file over the default.\n`--no-` before a switch turns it off.\nSIGTERM or Ctrl-C closes every connection with 1001 and exits 0.")
        .args_override_self(true)
        .args(arguments.clone())
        .subcommand(Clap::new("config").about("Print the effective configuration as a TOML file").args(&arguments))
        .subcommand(
            Clap::new("check")
                .about("Look whether this host can serve, say what is missing and what to do; exit 78 if anything is")
                .arg(Arg::new("json").long("json").help("As JSON").action(ArgAction::SetTrue))
                .args(arguments),
        )
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
                let shown = if setting.is_secret { "this".to_owned() } else { format!("{value:?}") };
                return Err(usage(&format!("{name}: {shown} is not allowed; allowed: {}", setting.allowed)));
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
mod reliability;
#[cfg(test)]
mod tests;
