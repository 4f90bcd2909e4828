//! Performs an operation of a whole core many times, for tools that count: see `perform`.

use downbeat_bench::allocations::Counting;
use downbeat_bench::{core_operations, perform};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    perform::main(core_operations::CORE_OPERATIONS)
}
