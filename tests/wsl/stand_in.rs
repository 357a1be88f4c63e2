//! Stands for Windows' `wsl.exe` under Wine. It hands its arguments and what it reads to the distro of the test, by way of
//! `tests/e2e/bench/interop/windows.py`, and prints what comes back.
//!
//! What is not as in WSL: there is one distro, which runs already; there is no terminal; the folder of the caller is not taken
//! over. Which arguments are understood stands in `tests/e2e/bench/interop/distro.py`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::process::ExitCode;
use std::thread;

/// Where `windows.py` listens, on Windows' own 127.0.0.1.
const PORT: u16 = 4242;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nobody is left to tell if that fails.
            let _ = writeln!(io::stderr(), "wsl: {error}");
            ExitCode::from(127)
        }
    }
}

/// Sends the arguments, each with a zero byte behind it, another zero byte, and standard input. What comes back is frames:
/// a byte that says what it is (1 output, 2 errors, 3 the exit code in one byte), the length in four, the smallest first.
fn run() -> io::Result<u8> {
    let mut distro = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?;
    let mut question = Vec::new();
    for argument in std::env::args().skip(1) {
        question.extend(argument.as_bytes());
        question.push(0);
    }
    question.push(0);
    distro.write_all(&question)?;
    let mut input = distro.try_clone()?;
    // It may never end. Then it goes with the program.
    thread::spawn(move || {
        io::copy(&mut io::stdin(), &mut input)?;
        input.shutdown(Shutdown::Write)
    });
    loop {
        let mut head = [0; 5];
        distro.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let mut frame = Read::by_ref(&mut distro).take(u64::from(u32::from_le_bytes(length)));
        match kind {
            1 => io::copy(&mut frame, &mut io::stdout())?,
            2 => io::copy(&mut frame, &mut io::stderr())?,
            _ => {
                let mut code = [0];
                frame.read_exact(&mut code)?;
                return Ok(code[0]);
            }
        };
    }
}
