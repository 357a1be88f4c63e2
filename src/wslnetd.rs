//! The daemon's program, and its command line. Everything it does is in the crate `wslnet-daemon`.

use std::process::ExitCode;

fn main() -> ExitCode {
    wslnet_daemon::cli::main()
}
