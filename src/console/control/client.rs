//! The command's side of the control endpoint.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use super::{Endpoint, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, platform};

/// Why a call brought no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// Nobody listens.
    #[error(
        "{name} is not running (nobody answers at {endpoint}): start it, or name the directory it runs with by --run-dir"
    )]
    NotRunning {
        /// Name of the program.
        name: String,
        /// Where it was looked for.
        endpoint: Endpoint,
    },
    /// The endpoint is there and does not let this user in.
    #[error("this user may not talk to {name} at {endpoint}: run the command as root or administrator")]
    NotAllowed {
        /// Name of the program.
        name: String,
        /// Where it was asked.
        endpoint: Endpoint,
    },
    /// The program did not answer in time.
    #[error("{name} did not answer within {limit:?}: see its log, or restart it")]
    TimedOut {
        /// Name of the program.
        name: String,
        /// The time it had.
        limit: Duration,
    },
    /// The endpoint cannot be reached for another reason.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Where it was tried.
        endpoint: Endpoint,
        /// What the system says.
        source: io::Error,
    },
    /// The connection failed in the middle.
    #[error("the connection to {name} broke")]
    Broken {
        /// Name of the program.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// The request is longer than [`MAX_REQUEST_BYTES`].
    #[error("the request is {0} bytes long, and at most {MAX_REQUEST_BYTES} are allowed")]
    TooLong(usize),
    /// The request cannot be written as JSON.
    #[error("cannot put the request into JSON")]
    Unwritable(#[source] serde_json::Error),
    /// The program hung up, or answered something else than this command understands.
    #[error("{name} gave no answer that this command understands: are both of the same version?")]
    Malformed {
        /// Name of the program.
        name: String,
        /// What is wrong with the answer.
        source: serde_json::Error,
    },
}

/// Sends `request` to the program at `endpoint` and returns its answer, within `limit` for all of it.
///
/// # Errors
/// See [`CallError`]; each names what to do.
pub async fn call<Req, Resp>(endpoint: &Endpoint, request: &Req, limit: Duration) -> Result<Resp, CallError>
where
    Req: Serialize + ?Sized,
    Resp: DeserializeOwned,
{
    let mut line = serde_json::to_vec(request).map_err(CallError::Unwritable)?;
    line.push(b'\n');
    if line.len() > MAX_REQUEST_BYTES {
        return Err(CallError::TooLong(line.len()));
    }
    let answer = timeout(limit, exchange(endpoint, &line))
        .await
        .map_err(|_elapsed| CallError::TimedOut {
            name: endpoint.name.clone(),
            limit,
        })??;
    serde_json::from_slice(&answer).map_err(|source| CallError::Malformed {
        name: endpoint.name.clone(),
        source,
    })
}

async fn exchange(endpoint: &Endpoint, line: &[u8]) -> Result<Vec<u8>, CallError> {
    let name = || endpoint.name.clone();
    let mut stream = platform::connect(&endpoint.address).await.map_err(|source| {
        let (kind, endpoint) = (source.kind(), endpoint.clone());
        if matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
            CallError::NotRunning {
                name: name(),
                endpoint,
            }
        } else if kind == io::ErrorKind::PermissionDenied {
            CallError::NotAllowed {
                name: name(),
                endpoint,
            }
        } else {
            CallError::Connect { endpoint, source }
        }
    })?;
    let broken = |source| CallError::Broken { name: name(), source };
    stream.write_all(line).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;

    let mut answer = Vec::new();
    BufReader::new(stream)
        .take(MAX_ANSWER_BYTES as u64)
        .read_until(b'\n', &mut answer)
        .await
        .map_err(broken)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use serde_json::Value;

    use super::super::{Endpoint, listen};
    use super::{CallError, call};

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_program_that_does_not_run_is_named_with_the_fix() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let endpoint = Endpoint::in_run_dir(dir.path(), "testd");

        let error = call::<_, Value>(&endpoint, &1, PATIENCE)
            .await
            .expect_err("not running");

        assert!(matches!(error, CallError::NotRunning { .. }), "{error:?}");
        assert!(error.to_string().starts_with("testd is not running"), "{error}");
        assert!(error.to_string().contains("--run-dir"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let endpoint = Endpoint::in_run_dir(dir.path(), "testd");
        let _listener = listen(&endpoint).expect("listening");

        let error = call::<_, Value>(&endpoint, &1, Duration::from_millis(50))
            .await
            .expect_err("timed out");

        assert!(matches!(error, CallError::TimedOut { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_up_or_speaks_otherwise_gives_an_error() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let endpoint = Endpoint::in_run_dir(dir.path(), "testd");
        let mut listener = listen(&endpoint).expect("listening");
        let serve = async {
            let mut connection = listener.accept().await.expect("accepted");
            connection.request::<Value>().await.expect("request");
            connection.answer("a text").await.expect("answered");
            let mut connection = listener.accept().await.expect("accepted");
            connection.request::<Value>().await.expect("request");
        };
        let ask = async {
            let other = call::<_, u32>(&endpoint, &1, PATIENCE)
                .await
                .expect_err("another type");
            let gone = call::<_, u32>(&endpoint, &1, PATIENCE)
                .await
                .expect_err("no answer");
            (other, gone)
        };

        let ((), (other, gone)) = tokio::join!(serve, ask);

        assert!(matches!(other, CallError::Malformed { .. }), "{other:?}");
        assert!(
            matches!(gone, CallError::Malformed { .. } | CallError::Broken { .. }),
            "{gone:?}"
        );
    }

    #[tokio::test]
    async fn a_request_past_the_bound_is_not_sent() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let endpoint = Endpoint::in_run_dir(dir.path(), "testd");

        let error = call::<_, Value>(&endpoint, &"x".repeat(64 << 10), PATIENCE)
            .await
            .expect_err("too long");

        assert!(matches!(error, CallError::TooLong(_)), "{error:?}");
    }
}
