//! The `downbeat` command: reads its settings, says what it starts, serves until a signal.
//!
//! Exit status: 0 after an orderly stop, 64 for bad settings, 70 for a fault of the server's own, 78 for a
//! host that cannot run it.

use downbeat::admin::{self, Facts};
use downbeat::config::{self, Command, Config};
use downbeat::control::Events;
use downbeat::{banner, host, server};
use std::io::Write;
use std::process::ExitCode;

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
        Ok(Command::Serve(config)) => serve(&config).unwrap_or_else(|error| {
            say(&error.to_string());
            EXIT_CONFIG
        }),
        Err(exit) => {
            say_plainly(&exit.line);
            exit.code
        }
    };
    ExitCode::from(status)
}

fn serve(config: &Config) -> Result<u8, Box<dyn std::error::Error>> {
    let host = host::read(config.cores)?;
    let mut config = config.clone();
    config.limits.outboxes_bytes_max = host.outboxes_bytes_max(&config);
    let config = &config;
    let connections_max = host.connections_max(config);
    let admin = admin::listen(&config.admin)?;
    let events = Events::new()?;
    let running = server::start(config, connections_max, &events.notify()?)?;
    let banner = banner::banner(config, &host, running.port(), running.core_ports(), &admin);
    let _ = std::io::stdout().write_all(banner.as_bytes());
    let facts = Facts::new(config, running.port(), connections_max);
    Ok(events.supervise(running, admin, facts, say)?)
}

fn say(line: &str) {
    say_plainly(&format!("downbeat: {line}"));
}

/// Whoever reads standard error may have closed it; that is no reason to end.
fn say_plainly(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
