//! What is said at the start: version, cores, port, backend, limit, and what this host should change.

use crate::admin::Port;
use crate::config::{self, Config};
use crate::host::{self, Host};
use engine::{App, Authz, Origins};
use std::fmt::Write;

/// The banner, several lines. `port`, `core_ports` and `admin` are those really bound.
pub fn banner(config: &Config, host: &Host, port: u16, core_ports: &[u16], admin: &Port) -> String {
    let mut text = String::new();
    let cores = match config.cores {
        1 => "1 core (single process mode)".to_owned(),
        cores => format!("{cores} cores (cluster mode)"),
    };
    let address = match config.host {
        config::Host::All => "all addresses, IPv4 and IPv6".to_owned(),
        config::Host::Address(address) => address.to_string(),
    };
    let _ = writeln!(text, "Downbeat {}", env!("CARGO_PKG_VERSION"));
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<12}{value}");
    };
    row("cores", &cores);
    row("port", &format!("{port} ({address})"));
    if !core_ports.is_empty() {
        let ports: Vec<String> = core_ports.iter().map(u16::to_string).collect();
        row("core ports", &ports.join(", "));
    }
    row("backend", &format!("io_uring, Linux {}", host.kernel));
    row("app", &app(config));
    row("environment", &config.environment);
    let limit = host.connections_max(config);
    let why = if config.connections_max == Some(limit) { "as set" } else { "by RLIMIT_NOFILE" };
    row("connections", &format!("at most {limit} ({why})"));
    row("origins", &origins(config));
    row("admin", &admin.to_string());
    if config.app == App::Rooms {
        row("clients", &format!("ws://localhost:{port}/ws/sync?roomCode=ROOM&userId=USER"));
    }
    let advice = host::advice(host, config);
    if advice.is_empty() {
        row("host", "nothing to change");
    }
    for line in advice {
        row("host", &line);
    }
    text
}

fn app(config: &Config) -> String {
    match (config.app, config.authz) {
        (App::Rooms, Authz::Member) => "rooms, commanded by their members".to_owned(),
        (App::Rooms, Authz::Host) => "rooms, commanded by their hosts".to_owned(),
        (App::Rooms, Authz::Off) => "rooms, commanded by anyone who knows their code".to_owned(),
        (App::Echo, _) => "echo: every message back to its sender".to_owned(),
        (App::Broadcast, _) => "broadcast: every message to every connection".to_owned(),
    }
}

fn origins(config: &Config) -> String {
    match &config.limits.origins {
        Origins::All => {
            "warning: every web page may connect; --allowed-origins names those that may".to_owned()
        }
        Origins::Listed(listed) => listed.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Limits;
    use expect_test::expect;

    fn host(cores: u64) -> Host {
        Host {
            kernel: "6.18.0".to_owned(),
            descriptors_max: 200_000,
            nr_open: None,
            backlog_max: None,
            syn_backlog_max: Some(4096),
            cores,
            cpus: 2,
            memory_bytes: 8 << 30,
        }
    }

    #[test]
    fn it_says_version_cores_port_backend_limit_and_what_to_change() {
        let config = Config { cores: 4, ..Config::default() };
        let text = banner(&config, &host(4), 6001, &[], &Port::Off("127.0.0.1:9600 is taken".to_owned()));
        let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        expect![[r"
            Downbeat VERSION
              cores       4 cores (cluster mode)
              port        6001 (all addresses, IPv4 and IPv6)
              backend     io_uring, Linux 6.18.0
              app         rooms, commanded by their members
              environment development
              connections at most 199872 (by RLIMIT_NOFILE)
              origins     warning: every web page may connect; --allowed-origins names those that may
              admin       off: 127.0.0.1:9600 is taken
              clients     ws://localhost:6001/ws/sync?roomCode=ROOM&userId=USER
              host        4 shards share 2 CPUs: `--cores 2` costs less for the same work
        "]]
        .assert_eq(&text);
    }

    #[test]
    fn a_single_core_with_its_own_settings() {
        let config = Config {
            app: App::Echo,
            port_per_core: true,
            connections_max: Some(50),
            host: config::Host::Address([127, 0, 0, 1].into()),
            environment: "production".to_owned(),
            limits: Limits {
                origins: Origins::parse("https://example.org,null").unwrap(),
                ..Limits::default()
            },
            ..Config::default()
        };
        let text = banner(&config, &host(1), 7000, &[7000], &Port::Off("as set".to_owned()));
        let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        expect![[r"
            Downbeat VERSION
              cores       1 core (single process mode)
              port        7000 (127.0.0.1)
              core ports  7000
              backend     io_uring, Linux 6.18.0
              app         echo: every message back to its sender
              environment production
              connections at most 50 (as set)
              origins     https://example.org, null
              admin       off: as set
              host        nothing to change
        "]]
        .assert_eq(&text);
    }
}
