//! Coverage-guided fuzzing of everything that reads what others wrote: config files, selectors, the kernel's messages and
//! files, bodies and heads of requests, what programs and WSL say. `scripts/fuzz.sh` builds and runs it.
//!
//! # A target
//!
//! is a function of bytes. It calls the parser that the programs call, and holds the result to more than "it did not
//! panic": that what was written reads back, that places lie in the text, that a limit is kept, that nothing comes out
//! which a terminal would obey, and what a second, naive reading of the same bytes says. All of them are in this one
//! program, which is linked once; the environment says which one it is to be. Without that it prints their names.
//!
//! Parsers that are private have a door: a module `fuzzing` in their room, which exists where `--cfg fuzzing` says so.
//!
//! `seeds/TARGET` has a few real inputs, from which the search starts; `words/` has the words of the languages that it
//! would take long to find. What it found and was mended is a test of the parser itself, not a seed.
//!
//! # Why libFuzzer, and like this
//!
//! The stable compiler can count edges, too: LLVM's pass for that is asked for by `-C passes=sancov-module`, as
//! `cargo fuzz --sanitizer none` does it. `libfuzzer-sys` brings libFuzzer as C++ source, so that neither another toolchain nor
//! another program has to be installed, and a run of a few seconds is a run. The edges of our own crates are counted, with
//! the generic code of others that they make (serde's above all). Libraries are those of all other builds, so that it takes
//! one minute to build instead of several, and runs faster. What is missing is AddressSanitizer, which needs a nightly
//! compiler; no parser of ours has unsafe code.
//!
//! `cargo fuzz` would be a program to install for what six compiler flags do. `bolero` runs one harness in several engines:
//! by its own program, and with the stable compiler in this engine again. AFL has to be installed and compiled, wants
//! settings of the system to be changed by root, and is made for runs of hours.
//!
//! The crate is a member of the workspace, so that its dependencies are those of the programs; libFuzzer and this program
//! stand behind a feature, so that nothing but `scripts/fuzz.sh` compiles them.

#![no_main]

mod printable;
mod targets;

use std::env;
use std::process;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

use targets::TARGETS;

/// Says which target to run.
const VARIABLE: &str = "WSLNET_FUZZ_TARGET";

/// The target.
static CHOSEN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = env::var(VARIABLE).unwrap_or_default();
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => *target,
        None => {
            list();
            process::exit(i32::from(!name.is_empty()))
        }
    }
});

fuzz_target!(
    init: {
        LazyLock::force(&CHOSEN);
    },
    |bytes: &[u8]| CHOSEN(bytes)
);

/// Prints the names of all targets.
#[expect(clippy::print_stdout, reason = "the names are what was asked for")]
fn list() {
    for (name, _) in TARGETS {
        println!("{name}");
    }
}
