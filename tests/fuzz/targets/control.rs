//! Requests to a running program: the frame, over a real socket, and what it asks.

#![expect(clippy::expect_used, reason = "a target fails by panicking")]

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use wslnet_console::control::{Answer, Endpoint, Listener, MAX_REQUEST_BYTES, ServeError, listen};
use wslnet_daemon::control::Ask;

use crate::printable::assert_line;

/// A program that listens for its commands.
struct Program {
    runtime: Runtime,
    listener: Listener,
    socket: PathBuf,
    _folder: TempDir,
}

thread_local! {
    static PROGRAM: RefCell<Program> = RefCell::new(Program::start());
}

pub(super) fn target(bytes: &[u8]) {
    ask(bytes);
    PROGRAM.with_borrow_mut(|program| program.serve(bytes));
}

/// What a command may want.
fn ask(line: &[u8]) {
    if let Ok(ask) = serde_json::from_slice::<Ask>(line) {
        let written = serde_json::to_string(&ask).unwrap_or_default();
        let again = serde_json::from_str::<Ask>(&written).map(|again| format!("{again:?}"));
        assert!(matches!(again, Ok(again) if again == format!("{ask:?}")));
    }
}

impl Program {
    fn start() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let endpoint = Endpoint::in_run_dir(folder.path(), "fuzzed");
        let listener = {
            let _inside = runtime.enter();
            listen(&endpoint).expect("it listens")
        };
        Self {
            socket: endpoint.to_string().into(),
            runtime,
            listener,
            _folder: folder,
        }
    }

    /// Lets one command say this, and then nothing more.
    fn serve(&mut self, said: &[u8]) {
        let mut command = UnixStream::connect(&self.socket).expect("connected");
        command.write_all(said).expect("said");
        command.shutdown(Shutdown::Write).expect("said all");
        let listener = &mut self.listener;
        let heard = self.runtime.block_on(async {
            let mut connection = listener.accept().await.expect("accepted");
            let heard = connection.request::<Value>().await;
            let answer = match &heard {
                Ok(value) => Answer::Done(value.to_string()),
                Err(error) => Answer::Failed(error.to_string()),
            };
            connection.answer(&answer).await.expect("answered");
            heard
        });

        let mut answer = String::new();
        // What was not read of a request that is too long breaks the connection.
        if command.read_to_string(&mut answer).is_ok() {
            assert_answer(&answer, &heard);
        }
        assert_heard(said, heard);
    }
}

/// That the command got one line with what was heard.
fn assert_answer(line: &str, heard: &Result<Value, ServeError>) {
    assert_eq!(line.find('\n'), line.len().checked_sub(1));
    let answer: Answer<String> = serde_json::from_str(line).expect("an answer");
    match (Result::from(answer), heard) {
        (Ok(answer), Ok(heard)) => assert_eq!(answer, heard.to_string()),
        (Err(reason), Err(_)) => assert_line(&reason),
        (answer, heard) => panic!("{answer:?} to {heard:?}"),
    }
}

/// That the first line was heard, and nothing else.
fn assert_heard(said: &[u8], heard: Result<Value, ServeError>) {
    let line = said
        .split_inclusive(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let is_whole = line.ends_with(b"\n") && line.len() <= MAX_REQUEST_BYTES;
    match heard {
        Ok(value) => assert_eq!(serde_json::from_slice::<Value>(line).ok(), Some(value)),
        Err(ServeError::Malformed(_)) => assert!(is_whole && serde_json::from_slice::<Value>(line).is_err()),
        Err(ServeError::TooLong) => assert!(!is_whole && line.len() >= MAX_REQUEST_BYTES),
        Err(ServeError::Incomplete) => assert!(!is_whole && line.len() < MAX_REQUEST_BYTES),
        Err(other) => panic!("{other:?}"),
    }
}
