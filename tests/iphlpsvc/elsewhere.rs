//! Elsewhere than on Windows there is nothing to stand for.

use std::process::ExitCode;

pub(crate) fn main() -> ExitCode {
    ExitCode::FAILURE
}
