//! What one operation takes from the allocator: the difference between two counts of it, divided.

use crate::{Asked, Metrics, tool};
use downbeat_bench::operations::OPERATIONS;
use std::path::Path;
use std::process::Command;

const FEW: u32 = 200;
const MANY: u32 = 1_200;

/// Allocations of each operation.
pub fn measure(asked: &Asked) -> Result<Metrics, String> {
    let operations = tool::sibling("operations")?;
    let metrics = OPERATIONS.iter().map(|(operation, _)| (operation, format!("allocations.{operation}")));
    let wanted = metrics.filter(|(_, metric)| asked.wants(metric));
    wanted
        .map(|(operation, metric)| {
            let (few, many) = (made(&operations, operation, FEW)?, made(&operations, operation, MANY)?);
            Ok((metric, many.saturating_sub(few) as f64 / f64::from(MANY - FEW)))
        })
        .collect()
}

fn made(operations: &Path, operation: &str, times: u32) -> Result<u64, String> {
    let mut command = Command::new(operations);
    let output = tool::run(command.args(["allocations", operation, &times.to_string()]), |code| code == 0)?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().map_err(|_| format!("{operation}: no count of allocations, but {said:?}"))
}
