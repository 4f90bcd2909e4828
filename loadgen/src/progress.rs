//! Live progress: a line that is rewritten on a terminal, a line a second otherwise. On standard error.

use crate::outcome::Second;
use crate::report::text;
use crate::run::Run;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};

pub struct Progress {
    bar: ProgressBar,
    is_plain: bool,
    is_quiet: bool,
    connections: usize,
    seconds: u64,
}

impl Progress {
    pub fn new(run: &Run, is_quiet: bool) -> Progress {
        let is_plain = !stderr().is_terminal();
        let seconds = (run.load.warmup_ns + run.load.duration_ns).div_ceil(1_000_000_000);
        let target =
            if is_plain || is_quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(seconds), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos:>3}/{len} s  {msg}") {
            bar.set_style(style);
        }
        Progress { bar, is_plain, is_quiet, connections: run.load.connections, seconds }
    }

    pub fn connecting(&self, connected: u64) {
        let line = format!("connecting: {connected} of {}", self.connections);
        self.show(&line);
    }

    pub fn second(&self, second: &mut Second) {
        let line = format!(
            "{} connections  {}/s out  {}/s in  p50 {}  p99 {}",
            second.connections,
            text::count(second.sent as f64),
            text::count(second.received as f64),
            text::time(second.response.quantile_us(0.5)),
            text::time(second.response.quantile_us(0.99)),
        );
        self.bar.set_position(second.index + 1);
        let line =
            if self.is_plain { format!("{:>3}/{} s  {line}", second.index + 1, self.seconds) } else { line };
        self.show(&line);
    }

    fn show(&self, line: &str) {
        if self.is_quiet {
            return;
        }
        if self.is_plain {
            eprintln!("{line}");
        } else {
            self.bar.set_message(line.to_owned());
        }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
