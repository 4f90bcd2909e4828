//! The programs that count, started and read.

use downbeat_bench::core_operations::CORE_OPERATIONS;
use downbeat_bench::operations::OPERATIONS;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A binary of this workspace, of the same build as this one.
pub fn sibling(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let path = own.with_file_name(name);
    if path.exists() { Ok(path) } else { Err(format!("{} is missing: build it first", path.display())) }
}

/// Runs a command to its end; `is_good` says which exit statuses are.
pub fn run(command: &mut Command, is_good: impl Fn(i32) -> bool) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{name}: {error}; is it installed?"))?;
    if output.status.code().is_some_and(is_good) {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
    Err(format!("{name}: {}: {last}", output.status))
}

/// Every operation's name.
pub fn operations() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().chain(CORE_OPERATIONS).map(|(name, _)| *name)
}

/// Is it one of a whole core?
pub fn is_of_core(operation: &str) -> bool {
    CORE_OPERATIONS.iter().any(|(name, _)| *name == operation)
}

/// The program that performs an operation.
pub fn performer(operation: &str) -> Result<PathBuf, String> {
    sibling(if is_of_core(operation) { "core-operations" } else { "operations" })
}

/// What one operation adds to a count: the difference between two numbers of it, divided.
pub fn each(what: &str, operation: &str, few: u32, many: u32) -> Result<f64, String> {
    let (first, last) = (count(what, operation, few)?, count(what, operation, many)?);
    Ok(last.saturating_sub(first) as f64 / f64::from(many - few))
}

/// What is counted of an operation performed so many times.
fn count(what: &str, operation: &str, times: u32) -> Result<u64, String> {
    let mut command = Command::new(performer(operation)?);
    let output = run(command.args([what, operation, &times.to_string()]), |code| code == 0)?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().map_err(|_| format!("{operation}: no count of {what}, but {said:?}"))
}
