//! How the command ends: the documented exit statuses, and failures as one line.

use std::fmt::Display;

/// Exit status. `loadgen --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Fine = 0,
    /// The answer is no: an SLO or budget is broken, a check failed, B regressed.
    No = 1,
    /// The run does not count.
    Void = 3,
    /// The target could not be reached, or refused.
    Refused = 4,
    /// The target died during the run.
    Died = 5,
    /// Wrong arguments or files.
    Usage = 64,
    /// A fault of the generator or its machine.
    Fault = 70,
}

/// The statuses as `--help` prints them.
pub const HELP: &str = "\
Exit status:
  0   fine: the run is valid and keeps its SLOs, all checks passed, the verdict is not a regression
  1   no: an SLO or a budget is broken, a check failed, B is a regression
  3   void: the run does not count; the report says why
  4   the target could not be reached or refused connections
  5   the target died during the run
  64  wrong arguments, or a file that cannot be used
  70  a fault of the generator or of its machine";

/// Why the command could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub line: String,
}

impl Failure {
    pub fn usage(line: impl Display) -> Failure {
        Failure { exit: Exit::Usage, line: line.to_string() }
    }

    pub fn fault(line: impl Display) -> Failure {
        Failure { exit: Exit::Fault, line: line.to_string() }
    }
}
