//! `doctor`: what this machine can hold at both ends, the arithmetic, and the commands that raise it.

use crate::machine::{self, Host};
use crate::report::text;
use crate::run::DESCRIPTORS_RESERVED;
use crate::socket::CONNECTIONS_PER_SOURCE;
use std::fmt::Write;

/// Kernel memory of an idle loopback connection, both ends, measured with `loadgen mem` on Linux 6.18.
const KERNEL_BYTES_PER_CONNECTION: u64 = 10_000;
/// The generator's own, and what a frugal server takes.
const USER_BYTES_PER_CONNECTION: u64 = 256 + 600;

/// What bounds connections here.
struct Limits {
    descriptors_soft: u64,
    descriptors_hard: u64,
    /// fs.nr_open: how far the hard limit may be raised; fs.file-max: all processes together.
    nr_open: u64,
    file_max: u64,
    ports: (u64, u64),
    somaxconn: u64,
    syn_backlog: u64,
    memory_bytes: u64,
}

impl Limits {
    fn read(host: &Host) -> Limits {
        let number = |path: &str| machine::sysctl(path).and_then(|text| text.parse().ok()).unwrap_or(0);
        let (descriptors_soft, descriptors_hard) = machine::descriptors();
        let ports = machine::sysctl("net/ipv4/ip_local_port_range").unwrap_or_default();
        let mut ports = ports.split_whitespace().filter_map(|it| it.parse().ok());
        Limits {
            descriptors_soft,
            descriptors_hard,
            nr_open: number("fs/nr_open"),
            file_max: number("fs/file-max"),
            ports: (ports.next().unwrap_or(32_768), ports.next().unwrap_or(60_999)),
            somaxconn: number("net/core/somaxconn"),
            syn_backlog: number("net/ipv4/tcp_max_syn_backlog"),
            memory_bytes: host.memory_bytes,
        }
    }

    fn connections_per_process(&self) -> u64 {
        self.descriptors_hard.saturating_sub(DESCRIPTORS_RESERVED as u64).max(1)
    }

    fn ports_per_source(&self) -> u64 {
        self.ports.1.saturating_sub(self.ports.0) + 1
    }
}

/// The page; `plans` are numbers of connections to work out.
pub fn render(plans: &[u64]) -> String {
    let host = Host::read();
    let limits = Limits::read(&host);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_machine(&mut out, &host, &limits);
    for plan in plans {
        let _ = write_plan(&mut out, *plan, &limits);
    }
    out
}

fn write_machine(out: &mut String, host: &Host, limits: &Limits) -> std::fmt::Result {
    let memory = text::bytes(limits.memory_bytes as f64);
    writeln!(out, "machine       {} × {}, {memory}, Linux {}", host.cpus, host.cpu, host.kernel)?;
    writeln!(
        out,
        "io_uring      {}",
        match machine::sysctl("kernel/io_uring_disabled").as_deref() {
            Some("2") => "forbidden for all: sysctl -w kernel.io_uring_disabled=0",
            Some("1") => "for members of kernel.io_uring_group only: sysctl -w kernel.io_uring_disabled=0",
            _ => "allowed",
        }
    )?;
    writeln!(
        out,
        "descriptors   {} now, {} at most for a process (raised by itself); fs.nr_open {}, fs.file-max {}",
        limits.descriptors_soft, limits.descriptors_hard, limits.nr_open, limits.file_max
    )?;
    writeln!(
        out,
        "one process   {} connections: {} descriptors less {DESCRIPTORS_RESERVED} for the ring, files and pipes",
        limits.connections_per_process(),
        limits.descriptors_hard
    )?;
    writeln!(
        out,
        "ports         {} to {}: {} from one source address to one server port, {CONNECTIONS_PER_SOURCE} are planned",
        limits.ports.0,
        limits.ports.1,
        limits.ports_per_source()
    )?;
    writeln!(
        out,
        "storms        accept queue {} (net.core.somaxconn), SYN backlog {} (net.ipv4.tcp_max_syn_backlog)",
        limits.somaxconn, limits.syn_backlog
    )
}

fn write_plan(out: &mut String, connections: u64, limits: &Limits) -> std::fmt::Result {
    let per_process = limits.connections_per_process();
    let processes = connections.div_ceil(per_process);
    let sources = connections.div_ceil(CONNECTIONS_PER_SOURCE as u64);
    let kernel = connections * KERNEL_BYTES_PER_CONNECTION;
    let user = connections * USER_BYTES_PER_CONNECTION;
    writeln!(out, "\n{connections} connections on this machine, both ends")?;
    writeln!(
        out,
        "  generator   {connections} / {per_process} = {processes} worker process{}, {connections} / {CONNECTIONS_PER_SOURCE} = {sources} source address{}; both are taken by themselves on loopback",
        if processes == 1 { "" } else { "es" },
        if sources == 1 { "" } else { "es" },
    )?;
    let is_held = connections <= per_process;
    writeln!(
        out,
        "  server      {}",
        if is_held {
            "one process holds them".to_owned()
        } else {
            format!(
                "one process holds {per_process} of them: raise its limit, or load {processes} servers \
                 (loadgen run idle ws://…:6001 ws://…:6002 …)"
            )
        }
    )?;
    let fits = kernel + user < limits.memory_bytes / 10 * 8;
    writeln!(
        out,
        "  memory      about {} of the kernel's and {} of both programs': {}",
        text::bytes(kernel as f64),
        text::bytes(user as f64),
        if fits { "fits" } else { "does NOT fit" }
    )?;
    let commands = commands(connections, limits);
    if commands.is_empty() {
        return writeln!(out, "  raise       nothing");
    }
    commands.iter().try_for_each(|command| writeln!(out, "  raise       {command}"))
}

/// The commands that would let one server and one generator process hold so many.
fn commands(connections: u64, limits: &Limits) -> Vec<String> {
    let wanted = connections + 1_000;
    let mut commands = Vec::new();
    if limits.nr_open < wanted {
        commands.push(format!("sysctl -w fs.nr_open={wanted}"));
    }
    if limits.file_max < 2 * wanted {
        commands.push(format!("sysctl -w fs.file-max={}", 2 * wanted));
    }
    if limits.descriptors_hard < wanted {
        commands.push(format!(
            "prlimit --pid $$ --nofile={wanted}   (needs CAP_SYS_RESOURCE; systemd: LimitNOFILE={wanted})"
        ));
    }
    if connections > limits.ports_per_source() && limits.ports_per_source() < 60_000 {
        commands.push(
            "sysctl -w net.ipv4.ip_local_port_range='1024 65535'   (fewer source addresses)".to_owned(),
        );
    }
    let queue = (connections / 10).clamp(128, 65_535);
    if limits.somaxconn < queue {
        commands.push(format!("sysctl -w net.core.somaxconn={queue}   (a storm of connects)"));
    }
    if limits.syn_backlog < queue {
        commands.push(format!("sysctl -w net.ipv4.tcp_max_syn_backlog={queue}   (a storm of connects)"));
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn limits() -> Limits {
        Limits {
            descriptors_soft: 1_024,
            descriptors_hard: 20_000,
            nr_open: 1_048_576,
            file_max: 2_400_000,
            ports: (32_768, 60_999),
            somaxconn: 4_096,
            syn_backlog: 1_024,
            memory_bytes: 24 << 30,
        }
    }

    fn check(connections: u64, expected: &expect_test::Expect) {
        let mut out = String::new();
        write_plan(&mut out, connections, &limits()).unwrap();
        expected.assert_eq(&out);
    }

    #[test]
    fn ten_thousand_fit_one_process() {
        check(
            10_000,
            &expect![[r#"

                10000 connections on this machine, both ends
                  generator   10000 / 19936 = 1 worker process, 10000 / 14000 = 1 source address; both are taken by themselves on loopback
                  server      one process holds them
                  memory      about 95.4 MiB of the kernel's and 8.16 MiB of both programs': fits
                  raise       nothing
            "#]],
        );
    }

    #[test]
    fn a_million_is_worked_out() {
        check(
            1_000_000,
            &expect![[r#"

                1000000 connections on this machine, both ends
                  generator   1000000 / 19936 = 51 worker processes, 1000000 / 14000 = 72 source addresses; both are taken by themselves on loopback
                  server      one process holds 19936 of them: raise its limit, or load 51 servers (loadgen run idle ws://…:6001 ws://…:6002 …)
                  memory      about 9537 MiB of the kernel's and 816 MiB of both programs': fits
                  raise       prlimit --pid $$ --nofile=1001000   (needs CAP_SYS_RESOURCE; systemd: LimitNOFILE=1001000)
                  raise       sysctl -w net.ipv4.ip_local_port_range='1024 65535'   (fewer source addresses)
                  raise       sysctl -w net.core.somaxconn=65535   (a storm of connects)
                  raise       sysctl -w net.ipv4.tcp_max_syn_backlog=65535   (a storm of connects)
            "#]],
        );
    }
}
