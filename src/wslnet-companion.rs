//! The companion's program. Everything it does is in the crate `wslnet-companion`.

use std::process::ExitCode;

fn main() -> ExitCode {
    wslnet_companion::cli::main()
}
