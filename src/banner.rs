//! What is said at the start: version, cores, port, backend, limit, and what this host should change.

use crate::admin::Port;
use crate::config::{self, Config};
use crate::host::{self, Host};
use engine::{App, Authz, Origins};
use std::fmt::Write;
use std::net::SocketAddr;

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
        let kept = config.backup.paths().map(|(folder, _)| format!("kept in {}", folder.display()));
        row(
            "rooms",
            &kept.unwrap_or_else(|| "not kept when it ends; BACKUP_DIR names a folder for them".to_owned()),
        );
        row("clients", &format!("ws://localhost:{port}/ws/sync?roomCode=ROOM&userId=USER"));
    }
    if config.has_demo() {
        row("demo", &demo(config, port));
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

/// Where this host's own browser finds the demo.
fn demo(config: &Config, port: u16) -> String {
    let host = match config.host {
        config::Host::Address(address) if !address.is_unspecified() => {
            SocketAddr::new(address, port).to_string()
        }
        config::Host::All | config::Host::Address(_) => format!("localhost:{port}"),
    };
    let page = format!("http://{host}/");
    if config.limits.origins.allow(Some(page.trim_end_matches('/'))) {
        page
    } else {
        format!("{page} (its origin is not among the allowed, so it cannot connect)")
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
        expect![[r#"
            Downbeat VERSION
              cores       4 cores (cluster mode)
              port        6001 (all addresses, IPv4 and IPv6)
              backend     io_uring, Linux 6.18.0
              app         rooms, commanded by their members
              environment development
              connections at most 199808 (by RLIMIT_NOFILE)
              origins     warning: every web page may connect; --allowed-origins names those that may
              admin       off: 127.0.0.1:9600 is taken
              rooms       not kept when it ends; BACKUP_DIR names a folder for them
              clients     ws://localhost:6001/ws/sync?roomCode=ROOM&userId=USER
              demo        http://localhost:6001/
              host        4 shards share 2 CPUs: `--cores 2` costs less for the same work
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn the_demo_is_named_where_it_is_and_says_if_it_cannot_connect() {
        let line = |config: &Config| {
            let text = banner(config, &host(1), 7000, &[], &Port::Off(String::new()));
            text.lines().find_map(|line| line.strip_prefix("  demo ")).map(|line| line.trim().to_owned())
        };
        let at = |address: &str| Config {
            host: config::Host::Address(address.parse().unwrap()),
            ..Config::default()
        };
        let with_origins = |origins: &str| Config {
            limits: Limits { origins: Origins::parse(origins).unwrap(), ..Limits::default() },
            ..Config::default()
        };
        assert_eq!(line(&at("127.0.0.1")).unwrap(), "http://127.0.0.1:7000/");
        assert_eq!(line(&at("::1")).unwrap(), "http://[::1]:7000/");
        assert_eq!(line(&at("0.0.0.0")).unwrap(), "http://localhost:7000/");
        assert_eq!(line(&with_origins("http://localhost:7000")).unwrap(), "http://localhost:7000/");
        assert!(line(&with_origins("https://a.example")).unwrap().contains("not among the allowed"));
        assert_eq!(line(&Config { demo: Some(false), ..Config::default() }), None);
        assert_eq!(line(&Config { app: App::Echo, ..Config::default() }), None);
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
