//! Performs an operation of `wire` or `engine` many times, for tools that count: see `perform`.

use downbeat_bench::allocations::Counting;
use downbeat_bench::{operations, perform};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    perform::main(operations::OPERATIONS)
}
