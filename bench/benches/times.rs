//! Wall-clock times of all operations, for people: `cargo bench -p downbeat-bench [-- NAME]`.
//!
//! They move with the machine and its neighbours, so nothing is judged by them: the gate counts instead.

use divan::Bencher;
use downbeat_bench::core_operations::CORE_OPERATIONS;
use downbeat_bench::operations::{OPERATIONS, Prepare};

fn main() {
    divan::main();
}

/// An operation by its name, which is what divan prints.
struct Named(&'static str, Prepare);

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

#[divan::bench(args = OPERATIONS.iter().chain(CORE_OPERATIONS).map(|(name, prepare)| Named(name, *prepare)))]
fn time(bencher: Bencher<'_, '_>, operation: &Named) {
    let perform = operation.1();
    bencher.bench_local(perform);
}
