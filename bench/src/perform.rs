//! The command of the programs that perform one operation many times, for a tool that counts, such as callgrind.
//!
//! `list` names the operations, `run OPERATION COUNT` performs one so often, `allocations OPERATION COUNT` counts what
//! it takes from the allocator, `bytes OPERATION COUNT` what of it is held at the end. What an operation costs is the
//! difference between two counts, divided, so that setting its scene costs nothing: `costs` does that. `operations`
//! and `core-operations` are two programs, so that a whole core is compiled as the server's is: with the driver as
//! the engine's only caller.

use crate::allocations;
use crate::operations::Prepare;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: list | run|allocations|bytes OPERATION COUNT";

/// Does what the process's arguments ask for.
pub fn main(operations: &[(&str, Prepare)]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let text = match words[..] {
        ["list"] => Some(operations.iter().map(|(name, _)| format!("{name}\n")).collect()),
        ["run", operation, count] => perform(operations, operation, count, String::new),
        ["allocations", operation, count] => {
            perform(operations, operation, count, || format!("{}\n", allocations::made()))
        }
        ["bytes", operation, count] => {
            perform(operations, operation, count, || format!("{}\n", allocations::held_bytes()))
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
fn perform(
    operations: &[(&str, Prepare)],
    operation: &str,
    count: &str,
    say: impl Fn() -> String,
) -> Option<String> {
    let (_, prepare) = operations.iter().find(|(name, _)| *name == operation)?;
    let count: u64 = count.parse().ok()?;
    let mut perform = prepare();
    (0..count).for_each(|_| perform());
    Some(say())
}
