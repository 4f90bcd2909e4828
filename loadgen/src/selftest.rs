//! `selftest`: is the generator right? Faults are planted in a server of its own, in the generator and in the
//! arguments; each must be found, counted exactly, and end with the documented status.

pub mod decoy;

use crate::args::{Cli, Command, Metric, RunArgs, Scenario, SelftestArgs};
use crate::exit::{Exit, Failure};
use crate::result::{RunResult, Verdict};
use crate::run::{self, Run};
use crate::statistics;
use crate::target;
use clap::Parser;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

type Tested = Result<String, String>;

struct Test {
    name: &'static str,
    run: fn(&SelftestArgs) -> Tested,
}

const TESTS: [Test; 9] = [
    Test { name: "a frozen server shows in response, not in service", run: frozen },
    Test { name: "1 of 1,000 dropped: counted exactly", run: |_| planted("--drop", |m| (m.lost, [0; 3])) },
    Test {
        name: "1 of 1,000 twice: counted exactly",
        run: |_| planted("--duplicate", |m| (m.duplicated, [m.lost, m.reordered, m.corrupt])),
    },
    Test {
        name: "1 of 1,000 out of order: counted exactly",
        run: |_| planted("--reorder", |m| (m.reordered, [m.lost, m.duplicated, m.corrupt])),
    },
    Test {
        name: "1 of 1,000 corrupt: counted exactly",
        run: |_| planted("--corrupt", |m| (m.corrupt, [m.duplicated, m.reordered, 0])),
    },
    Test { name: "a generator that was held up says void and exits 3", run: late },
    Test { name: "bad arguments, no server, a server that dies: one line and its status", run: statuses },
    Test { name: "A against A is equivalent", run: equal },
    Test { name: "a 5 % slowdown is found in 9 of 10 comparisons", run: slowdown },
];

/// Runs the tests and prints each.
pub fn selftest(args: &SelftestArgs) -> Result<Exit, Failure> {
    let chosen: Vec<&Test> = TESTS.iter().filter(|test| test.name.contains(&args.only)).collect();
    if chosen.is_empty() {
        return Err(Failure::usage(format!("--only: no test's name contains {}", args.only)));
    }
    let mut failed = 0;
    for test in &chosen {
        let start = Instant::now();
        let (word, detail) = match (test.run)(args) {
            Ok(detail) => ("ok  ", detail),
            Err(reason) => {
                failed += 1;
                ("FAIL", reason)
            }
        };
        println!("{word}  {} ({:.1} s): {detail}", test.name, start.elapsed().as_secs_f64());
    }
    println!("{} of {} selftests passed", chosen.len() - failed, chosen.len());
    Ok(if failed == 0 { Exit::Fine } else { Exit::No })
}

/// A decoy in a process of its own.
struct Decoy {
    child: Child,
    port: u16,
}

impl Decoy {
    fn start(faults: &[&str]) -> Result<Decoy, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut words = vec![program.display().to_string()];
        words.extend(["decoy", "--port", "{port}"].map(str::to_owned));
        words.extend(faults.iter().map(|it| (*it).to_owned()));
        let port = target::free_port().map_err(|error| error.to_string())?;
        let cpus = run::server_cpus(&parse(&["echo", "x"])?.load).map_err(|failure| failure.line)?;
        let child = target::spawn(&words, port, &cpus).map_err(|error| error.to_string())?;
        let mut decoy = Decoy { child, port };
        target::await_port(&mut decoy.child, port)?;
        Ok(decoy)
    }

    fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    fn signal(&self, signal: i32) {
        // SAFETY: no memory is involved; the child is ours and not waited for yet.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Messages, dropped, duplicated, reordered, corrupted.
    fn counts(&self) -> Result<Vec<u64>, String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(|it| it.to_string())?;
        let mut answer = String::new();
        // The answer is whole when its line is; the decoy leaves the end to us.
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").map_err(|it| it.to_string())?;
        let mut byte = [0];
        while !(answer.contains("\r\n\r\n") && answer.ends_with('\n') && !answer.ends_with("\r\n")) {
            stream.read_exact(&mut byte).map_err(|it| it.to_string())?;
            answer.push(char::from(byte[0]));
        }
        let line = answer.lines().last().unwrap_or_default();
        Ok(line.split(' ').filter_map(|it| it.parse().ok()).collect())
    }

    fn run(&self, words: &[&str]) -> Result<RunResult, String> {
        let url = self.url();
        let args = parse(&[&["echo", &url], words].concat())?;
        let mut run = Run::new(Scenario::Echo, &[url], &args.load).map_err(|failure| failure.line)?;
        run.server_pids = vec![self.child.id()];
        run.play(true).map(|(result, _)| result).map_err(|failure| failure.line)
    }
}

impl Drop for Decoy {
    fn drop(&mut self) {
        self.signal(libc::SIGCONT);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(words: &[&str]) -> Result<RunArgs, String> {
    let cli = Cli::try_parse_from(["loadgen", "run"].iter().chain(words)).map_err(|it| it.to_string())?;
    match cli.command {
        Command::Run(args) => Ok(args),
        _ => Err("not a run".to_owned()),
    }
}

fn latency(result: &RunResult, name: &str) -> crate::result::Percentiles {
    result.latency_us.get(name).copied().unwrap_or_default()
}

/// Two of six seconds without a server: a third of the messages waited, of which only one a connection had
/// been sent.
fn frozen(_: &SelftestArgs) -> Tested {
    let decoy = Decoy::start(&[])?;
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(1_500));
            decoy.signal(libc::SIGSTOP);
            std::thread::sleep(Duration::from_secs(2));
            decoy.signal(libc::SIGCONT);
        });
        decoy.run(&["-c", "10", "--rate", "2000", "-d", "5s", "--warmup", "500ms"])
    })?;
    let (response, service) = (latency(&result, "response"), latency(&result, "service"));
    let detail =
        format!("response p99 {:.0} ms, service p99 {:.1} ms", response.p99 / 1e3, service.p99 / 1e3);
    let is_seen = response.p99 > 1_500_000.0 && service.p99 < 200_000.0 && service.max > 1_500_000.0;
    if is_seen && result.messages.lost == 0 { Ok(detail) } else { Err(detail) }
}

/// `count` gives what is to equal the decoy's own count, and what is to be nothing.
fn planted(fault: &str, count: fn(&crate::outcome::Messages) -> (u64, [u64; 3])) -> Tested {
    let decoy = Decoy::start(&[fault, "1000"])?;
    let words = ["-c", "50", "--rate", "20000", "-d", "1500ms", "--warmup", "100ms", "--depth", "10000"];
    let result = decoy.run(&words)?;
    let counts = decoy.counts()?;
    let planted: u64 = counts.iter().skip(1).sum();
    let (found, others) = count(&result.messages);
    let detail = format!("{planted} planted, {found} found, {} sent", result.messages.sent);
    let is_exact = planted >= 20 && found == planted && others == [0; 3] && !result.valid;
    if is_exact {
        Ok(detail)
    } else {
        Err(format!("{detail}; {:?}; valid: {}", result.messages, result.valid))
    }
}

fn spawn(words: &[&str]) -> Result<Child, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = std::process::Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| error.to_string())
}

/// Status, standard output, standard error.
fn finish(child: Child) -> Result<(i32, String, String), String> {
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr)))
}

fn late(_: &SelftestArgs) -> Tested {
    let decoy = Decoy::start(&[])?;
    let url = decoy.url();
    let child =
        spawn(&["run", "echo", &url, "-q", "-c", "10", "--rate", "1000", "-d", "2s", "--warmup", "200ms"])?;
    let pid = child.id() as i32;
    std::thread::sleep(Duration::from_millis(1_000));
    // SAFETY: no memory is involved; the child is ours and not waited for yet.
    unsafe { libc::kill(pid, libc::SIGSTOP) };
    std::thread::sleep(Duration::from_millis(400));
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGCONT) };
    let (status, out, _) = finish(child)?;
    let reason = out.lines().find(|line| line.contains("the generator was late"));
    match reason {
        Some(line) if status == Exit::Void as i32 => Ok(line.trim().to_owned()),
        _ => Err(format!("exit {status}: {out}")),
    }
}

fn statuses(_: &SelftestArgs) -> Tested {
    let expect = |words: &[&str], status: Exit, part: &str| -> Result<(), String> {
        let (found, out, error) = finish(spawn(words)?)?;
        if found == status as i32 && error.lines().count() == 1 && error.contains(part) {
            return Ok(());
        }
        Err(format!("{words:?}: exit {found}, not {}; {error}{out}", status as i32))
    };
    let closed = format!("ws://127.0.0.1:{}", target::free_port().map_err(|error| error.to_string())?);
    expect(&["run", "echo", &closed, "-q", "--payload", "5"], Exit::Usage, "--payload: at least 20")?;
    expect(&["run", "echo", "nothing", "-q"], Exit::Usage, "not a ws:// URL")?;
    expect(&["run", "echo", &closed, "-q"], Exit::Refused, "connection refused")?;
    let decoy = Decoy::start(&[])?;
    let url = decoy.url();
    let child = spawn(&["run", "echo", &url, "-q", "-c", "10", "-d", "20s"])?;
    std::thread::sleep(Duration::from_millis(700));
    drop(decoy);
    let (status, out, error) = finish(child)?;
    if status != Exit::Died as i32 || error.lines().count() != 1 {
        return Err(format!("a server that died: exit {status}; {error}{out}"));
    }
    Ok(error.trim().to_owned())
}

/// Compares the server's CPU for a message, in as many rounds of pairs as it takes to tell.
fn compare(a: &Decoy, b: &Decoy, threshold: f64) -> Result<statistics::Comparison, String> {
    let mut values = [Vec::new(), Vec::new()];
    let mut round = 0;
    loop {
        for pair in 0..PAIRS {
            let (first, second) = if pair % 2 == 0 { (0, 1) } else { (1, 0) };
            let (one, other) = (trial([a, b][first])?, trial([a, b][second])?);
            // A pair during which the machine stood still says nothing.
            if let (Some(one), Some(other)) = (one, other) {
                values[first].push(one);
                values[second].push(other);
            }
        }
        round += 1;
        let comparison = statistics::compare(&values[0], &values[1]);
        if round == ROUNDS || comparison.verdict(threshold, true) != Verdict::Inconclusive {
            return Ok(comparison);
        }
    }
}

/// The server's CPU for a message; none if there was none.
fn trial(decoy: &Decoy) -> Result<Option<f64>, String> {
    // The scheduler's account of a thread that never sleeps is a tick behind: so about half a load.
    let words = ["-c", "4", "--rate", "8000", "--depth", "100", "-d", "45ms", "--warmup", "5ms"];
    Ok(Metric::ServerCost.of(&decoy.run(&words)?).filter(|cost| *cost > 0.0))
}

/// Many short trials rather than few long ones: what a shared machine takes away, it takes in bursts.
const PAIRS: usize = 26;
/// What a machine that is slower or noisier than that needs: so many pairs again, until the comparison tells.
const ROUNDS: usize = 6;
/// Work for a message, about as much as the kernel's part. Time, not steps: a server that is behind spends all the
/// time there is, and then 5 % more do not show.
const WORK_NS: u64 = 35_000;
const THRESHOLD: f64 = 0.02;
/// Two processes of one program differ by a percent or two as their memory lies, and trials as short as these
/// are noisy; what must be found is larger.
const THRESHOLD_OF_EQUALS: f64 = 0.05;

/// How many steps of the decoy's work are [`WORK_NS`] on this machine now.
fn work_steps() -> String {
    const STEPS: u64 = 100_000;
    let costs: Vec<f64> = (0..21).map(|_| decoy::work_ns(STEPS) as f64).collect();
    format!("{:.0}", (STEPS * WORK_NS) as f64 / statistics::median(&costs))
}

fn equal(_: &SelftestArgs) -> Tested {
    let work = work_steps();
    let (a, b) = (Decoy::start(&["--work", &work])?, Decoy::start(&["--work", &work])?);
    let comparison = compare(&a, &b, THRESHOLD_OF_EQUALS)?;
    let detail = format!("{:.3} ({:.3} to {:.3})", comparison.ratio, comparison.low, comparison.high);
    match comparison.verdict(THRESHOLD_OF_EQUALS, true) {
        Verdict::Equivalent => Ok(detail),
        verdict => Err(format!("{}: {detail}", verdict.name())),
    }
}

fn slowdown(args: &SelftestArgs) -> Tested {
    let work = work_steps();
    let a = Decoy::start(&["--work", &work])?;
    let b = Decoy::start(&["--work", &work, "--slower-percent", "5"])?;
    let mut found = 0;
    let mut ratios = Vec::new();
    for _ in 0..args.comparisons {
        let comparison = compare(&a, &b, THRESHOLD)?;
        found += usize::from(comparison.verdict(THRESHOLD, true) == Verdict::Regressed);
        ratios.push(comparison.ratio);
    }
    let detail = format!("{found} of {}, median ratio {:.3}", args.comparisons, statistics::median(&ratios));
    if found * 10 >= args.comparisons * 9 { Ok(detail) } else { Err(detail) }
}
