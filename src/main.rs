//! The `downbeat` command: reads its settings, says what it starts, serves until a signal.
//!
//! Exit status: 0 after an orderly stop, 64 for bad settings, 70 for a fault of the server's own, 78 for a
//! host that cannot run it, 143 if a second signal has cut a stop short.

use downbeat::admin::{self, Facts};
use downbeat::backup::Store;
use downbeat::check::remedy;
use downbeat::clock::Clock;
use downbeat::config::{self, Command, Config};
use downbeat::control::{Events, Keeper};
use downbeat::server::Listeners;
use downbeat::{banner, check, host, log, server, supervisor};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use tracing::{info, warn};

/// Exit status for a host or configuration that cannot work, by sysexits.
const EXIT_CONFIG: u8 = 78;

fn main() -> ExitCode {
    // While there is one thread it costs microseconds; from an executor's thread it waits some 10 ms for
    // every CPU to pass through the kernel.
    glommio::early_init();
    let status = match config::from_process() {
        Ok(Command::Print(text)) => {
            // Whoever reads it may have closed the pipe already.
            let _ = std::io::stdout().write_all(text.as_bytes());
            0
        }
        Ok(Command::Check { config, json }) => check(&config, json),
        Ok(Command::Serve(config)) => run(&config).unwrap_or_else(|error| {
            say_plainly(&format!("downbeat: {error}"));
            EXIT_CONFIG
        }),
        Err(exit) => {
            say_plainly(&exit.line);
            exit.code
        }
    };
    ExitCode::from(status)
}

/// 0 if this host can serve.
fn check(config: &Config, is_json: bool) -> u8 {
    let facts = match check::look(config) {
        Ok(facts) => facts,
        Err(error) => {
            say_plainly(&format!("downbeat: cannot look: {error}"));
            return EXIT_CONFIG;
        }
    };
    let findings = check::findings(&facts, config);
    let advice = host::advice(&facts.host, config);
    let text = if is_json { check::json(&findings, &advice) } else { check::text(&findings, &advice) };
    let _ = std::io::stdout().write_all(text.as_bytes());
    if findings.iter().all(|finding| finding.ok) { 0 } else { EXIT_CONFIG }
}

fn run(config: &Config) -> Result<u8, Box<dyn Error>> {
    log::init(config.log_format);
    match supervisor::inherited(config)? {
        Some(listeners) => serve(config, listeners),
        None if config.is_supervised() => supervisor::run(config, |line| warn!("{line}")),
        None => serve(config, Listeners::bind(config)?),
    }
}

fn serve(config: &Config, listeners: Listeners) -> Result<u8, Box<dyn Error>> {
    let host = host::read(config.cores)?;
    let locked_memory = || remedy::locked_memory(host::locked_memory_max());
    if let Some(line) = remedy::kernel(&host.kernel).or_else(locked_memory) {
        return Err(line.into());
    }
    let mut config = config.clone();
    config.limits.outboxes_bytes_max = host.outboxes_bytes_max(&config);
    let config = &config;
    let clock = Clock::start();
    let store = Store::open(&config.backup)?;
    let found = store.as_ref().map(|store| store.load(&clock)).unwrap_or_default();
    let admin = admin::listen(&config.admin, supervisor::patience())?;
    let events = Events::new()?;
    let connections_max = host.connections_max(config);
    let restored = found.restored.as_ref();
    let running = server::start(config, listeners, connections_max, restored, clock, &events.notify()?)?;
    let banner = banner::banner(config, &host, running.port(), running.core_ports(), &admin);
    let _ = std::io::stdout().write_all(banner.as_bytes());
    found.remarks.iter().for_each(|remark| warn!("{remark}"));
    if let Some(restored) = restored {
        info!(
            rooms = restored.count,
            downtime_ms = restored.downtime_us() / 1_000,
            "rooms restored from {}",
            restored.path.display()
        );
    }
    drop(found);
    let interval = Duration::from_millis(u64::from(config.backup.interval_ms));
    let keeper = Keeper::new(store, clock, interval, config.cores);
    let facts = Facts::new(config, running.port(), connections_max);
    Ok(events.supervise(running, config, keeper, admin, facts)?)
}

/// Whoever reads standard error may have closed it; that is no reason to end.
fn say_plainly(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
