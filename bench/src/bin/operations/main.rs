//! Performs one operation many times, for a tool that counts, such as callgrind.
//!
//! `operations list` names them, `operations run OPERATION COUNT` performs one so often, `operations allocations
//! OPERATION COUNT` counts what it takes from the allocator, `operations bytes OPERATION COUNT` what of it is held at
//! the end. What an operation costs is the difference between two counts, divided, so that setting its scene costs
//! nothing: `costs` does that.

mod allocations;

use downbeat_bench::operations::OPERATIONS;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: operations list | run|allocations|bytes OPERATION COUNT";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let text = match words[..] {
        ["list"] => Some(OPERATIONS.iter().map(|(name, _)| format!("{name}\n")).collect()),
        ["run", operation, count] => perform(operation, count, String::new),
        ["allocations", operation, count] => {
            perform(operation, count, || format!("{}\n", allocations::made()))
        }
        ["bytes", operation, count] => {
            perform(operation, count, || format!("{}\n", allocations::held_bytes()))
        }
        _ => None,
    };
    let Some(text) = text else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    // Whoever reads it may have closed the pipe already.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Performs the operation, and says what there is to say while its scene still stands. The scene's own share is in
/// that, too.
fn perform(operation: &str, count: &str, say: impl Fn() -> String) -> Option<String> {
    let (_, prepare) = OPERATIONS.iter().find(|(name, _)| *name == operation)?;
    let count: u64 = count.parse().ok()?;
    let mut perform = prepare();
    (0..count).for_each(|_| perform());
    Some(say())
}
