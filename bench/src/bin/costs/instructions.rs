//! Instructions of one operation, under callgrind: the difference between two counts of it, divided.
//!
//! The same binary with the same input takes the same instructions, whatever else the machine does. Those of a
//! whole core are counted in its turns alone, without its clients' ends.

use crate::{Asked, Metrics, tool};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

const FEW: u32 = 200;
const MANY: u32 = 1_200;

/// One count: the metric, its operation, and the function it is counted in, if not everywhere.
struct Count {
    metric: String,
    operation: &'static str,
    within: Option<&'static str>,
}

/// A core's part of what is done over its sockets.
const TURN: &str = "downbeat::turn::Core::turn";
/// Its share of the batch into a member's outbox, and its place in line; not the send and its completion.
const FAN_OUT: &str = "*Shard*::serve";
/// From a message's bytes to its answer's, without the turn's end, the send and its completion.
const HANDLED: &str = "*Shard*::handle_bytes";

/// Members of two rooms, whose difference is what a member costs, and the metric it has.
const MEMBERS: [(&str, &str, &str, f64); 3] = [
    ("member", "fan-out-100", "fan-out-400", 300.0),
    ("member-fanned-out", "fanned-out-100", "fanned-out-400", 300.0),
    ("core-member", "core-fan-out-10", "core-fan-out-110", 100.0),
];

/// Counts all that is wanted, as many at once as there are CPUs.
pub fn measure(asked: &Asked) -> Result<Metrics, String> {
    let everywhere = tool::operations().map(|operation| {
        let within = tool::is_of_core(operation).then_some(TURN);
        Count { metric: operation.to_owned(), operation, within }
    });
    let parts = [
        ("fanned-out-100", "fan-out-100", FAN_OUT),
        ("fanned-out-400", "fan-out-400", FAN_OUT),
        ("ping-handled", "ping", HANDLED),
    ];
    let parts = parts.map(|(metric, operation, within)| Count {
        metric: metric.to_owned(),
        operation,
        within: Some(within),
    });
    let is_wanted = |count: &Count| {
        let needed_by = MEMBERS.iter().filter(|it| it.1 == count.metric || it.2 == count.metric);
        let mut names = needed_by.map(|it| it.0).chain([count.metric.as_str()]);
        names.any(|name| asked.wants(&format!("instructions.{name}")))
    };
    let counts: Mutex<Vec<Count>> = Mutex::new(everywhere.chain(parts).filter(is_wanted).collect());
    let next = || counts.lock().ok()?.pop();
    let work = || -> Result<Vec<(String, f64)>, String> {
        std::iter::from_fn(next).map(|count| Ok((count.metric.clone(), each(&count)?))).collect()
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let counted = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|it| it.join().map_err(|_| "a worker panicked".to_owned())?);
        ended.collect::<Result<Vec<_>, String>>()
    })?;
    let mut metrics: Metrics = counted.into_iter().flatten().collect();
    for (metric, few, many, members) in MEMBERS {
        if let (Some(few), Some(many)) = (metrics.get(few), metrics.get(many)) {
            metrics.insert(metric.to_owned(), (many - few) / members);
        }
    }
    Ok(metrics.into_iter().map(|(metric, value)| (format!("instructions.{metric}"), value)).collect())
}

fn each(count: &Count) -> Result<f64, String> {
    let (few, many) = (collected(count, FEW)?, collected(count, MANY)?);
    Ok(many.saturating_sub(few) as f64 / f64::from(MANY - FEW))
}

fn collected(count: &Count, times: u32) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.args(count.within.map(|function| format!("--toggle-collect={function}")));
    command.arg(tool::performer(count.operation)?).args(["run", count.operation, &times.to_string()]);
    let output = tool::run(&mut command, |code| code == 0)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find_map(|line| line.split_once("Collected : "));
    let instructions = line.and_then(|(_, number)| number.trim().parse().ok()).unwrap_or(0);
    if instructions == 0 {
        let within = count.within.unwrap_or("the whole program");
        return Err(format!("{}: callgrind counted nothing within {within}", count.metric));
    }
    Ok(instructions)
}
