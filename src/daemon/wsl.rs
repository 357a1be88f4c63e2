//! Questions to small programs: to WSL's own (`wslinfo`, `wslpath`) and, for the doctor, to systemd's. They may hang, fail or answer
//! nonsense.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use wslnet_console::text::clean;

/// How long WSL may take for an answer.
pub const LIMIT: Duration = Duration::from_secs(5);

/// The longest answer that is accepted unless the caller says otherwise, in bytes. WSL's are one short line.
const ANSWER_LIMIT: u64 = 256;
/// How much of what the program complains about is read, in bytes.
const COMPLAINT_LIMIT: u64 = 4096;
/// How much of that is shown, in characters.
const COMPLAINT_CHARS: usize = 200;
/// How long to wait for complaints after the program's end; something else may still hold its stderr open.
const COMPLAINT_TIME: Duration = Duration::from_millis(100);

/// A program and what it is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The program's absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: &'static [&'static str],
    /// How long it may take.
    pub limit: Duration,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program.display(), self.arguments.join(" "))
    }
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The program could not be started or read.
    #[error("cannot run {question}")]
    Run {
        /// What was asked.
        question: Question,
        /// What went wrong.
        source: io::Error,
    },
    /// It did not answer in time and was killed.
    #[error("{question} did not answer within {:?}{}", .question.limit, after(.complaint))]
    TimedOut {
        /// What was asked.
        question: Question,
        /// The last line of its stderr, safe to show; may be empty.
        complaint: String,
    },
    /// It said that it failed.
    #[error("{question} failed: {status}{}", after(.complaint))]
    Failed {
        /// What was asked.
        question: Question,
        /// How it ended.
        status: ExitStatus,
        /// The last line of its stderr, safe to show; may be empty.
        complaint: String,
    },
    /// The answer is empty, too long, or no text.
    #[error("{question} gave an answer that makes no sense")]
    Answer {
        /// What was asked.
        question: Question,
    },
}

impl Question {
    /// Asks, and returns the answer without blanks around it, which is not empty. Blocks for as long as that takes, at most
    /// for a little more than the limit.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self) -> Result<String, AskError> {
        self.ask_at_most(ANSWER_LIMIT)
    }

    /// The same, where the answer may be longer: `most` bytes.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask_at_most(&self, most: u64) -> Result<String, AskError> {
        let question = || self.clone();
        let failed = |source| AskError::Run {
            question: question(),
            source,
        };
        let mut child = Command::new(&self.program)
            .args(self.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let deadline = Instant::now() + self.limit;
        let heard = listen(child.stdout.take(), most).and_then(|answer| {
            let complaint = listen(child.stderr.take(), COMPLAINT_LIMIT)?;
            Ok((answer.recv_timeout(self.limit), complaint))
        });
        let status = end(&mut child, deadline).map_err(failed)?;
        let (answer, complaint) = heard.map_err(failed)?;
        let complaint = || last_line(&complaint);
        let (Ok(answer), Some(status)) = (answer, status) else {
            return Err(AskError::TimedOut {
                question: question(),
                complaint: complaint(),
            });
        };
        let answer = answer.map_err(failed)?;
        if !status.success() {
            return Err(AskError::Failed {
                question: question(),
                status,
                complaint: complaint(),
            });
        }
        let words = str::from_utf8(&answer).map(str::trim).unwrap_or_default();
        if words.is_empty() || answer.len() as u64 > most {
            return Err(AskError::Answer { question: question() });
        }
        Ok(words.to_owned())
    }
}

/// What the program says there until it closes it, and at most one byte more than `limit`. The reading thread ends with
/// the program.
fn listen(pipe: Option<impl Read + Send + 'static>, limit: u64) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let pipe = pipe.ok_or(io::ErrorKind::BrokenPipe)?;
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("wsl-answer".to_owned())
        .spawn(move || {
            let mut said = Vec::new();
            let read = pipe.take(limit + 1).read_to_end(&mut said);
            // Nobody waits any more when time was up.
            let _ = sender.send(read.map(|_| said));
        })?;
    Ok(receiver)
}

fn last_line(complaint: &Receiver<io::Result<Vec<u8>>>) -> String {
    let Ok(Ok(said)) = complaint.recv_timeout(COMPLAINT_TIME) else {
        return String::new();
    };
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    clean(line.unwrap_or_default(), COMPLAINT_CHARS)
}

/// A complaint as it follows a message.
fn after(complaint: &str) -> String {
    if complaint.is_empty() {
        String::new()
    } else {
        format!(": {complaint}")
    }
}

/// Waits for the program's end; after the deadline kills it and answers `None`. In every case it is gone and reaped.
fn end(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}
