//! systemd itself, asked by the system bus.
//!
//! A connection lives for one round of questions: a server that opens a port is a rare event, the bus may be restarted in
//! between, and nobody can send anything to a daemon that is not there. Environments hold secrets, though not this one:
//! systemd tells it to every user of the machine. All the same, nothing but the one value is kept.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};
use wslnet_console::text::clean;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};

use super::told::PATIENCE;

/// Who is asked, and for what: org.freedesktop.systemd1(5).
pub(super) const SYSTEMD: &str = "org.freedesktop.systemd1";
pub(super) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// The error that says that systemd has no such unit.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// The variable, as it begins in a list of assignments.
const VARIABLE: &str = "WSLNETD=";
/// The longest value that is taken, in characters. A longer one ends in `…`, and so means nothing to the policy, which then
/// keeps the listener private.
const VALUE_CHARS: usize = 512;
/// How much of an error is shown, in characters.
const ERROR_CHARS: usize = 200;

/// How long a round of questions may take: as long as the listeners wait for it.
const LIMIT: Duration = PATIENCE;
/// How many services one round is about.
pub(super) const ROUND: usize = 64;
/// How many of them are asked for at a time.
const AT_A_TIME: usize = 16;

/// Where systemd and the bus are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder that is there while systemd runs the distro, sd_booted(3).
    pub booted: PathBuf,
    /// The socket of the system bus.
    pub bus: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            booted: "/run/systemd/system".into(),
            bus: "/run/dbus/system_bus_socket".into(),
        }
    }
}

/// systemd could not be asked.
#[derive(Debug, thiserror::Error)]
enum AskError {
    /// There is no way to the bus.
    #[error("cannot connect to the system bus at {}: {error}; start it by `systemctl start dbus.socket`, or install dbus", place.display())]
    Connect { place: PathBuf, error: io::Error },
    /// The bus does not let us on.
    #[error("the system bus refused: {}", shown(.0))]
    Refused(zbus::Error),
    /// systemd does not answer the question.
    #[error("systemd refused: {}", shown(.0))]
    Ask(zbus::Error),
    /// No answer.
    #[error("systemd did not answer within {} s; see `systemctl status dbus.service`", LIMIT.as_secs())]
    Late,
}

/// What systemd and the bus say of an error is foreign text.
fn shown(error: &zbus::Error) -> String {
    clean(error.to_string(), ERROR_CHARS)
}

/// The answer about one service: what it says of itself, or why that cannot be told, for people.
pub(super) type Answer = Result<Option<String>, String>;

impl Places {
    /// Asks what these services say of themselves by `Environment=WSLNETD=…`. Takes no longer than [`LIMIT`]; what is not
    /// known by then is an error. Where systemd does not run, nobody says anything.
    pub(super) async fn ask(&self, services: &[String]) -> Vec<(String, Answer)> {
        let all = |answer: Answer| {
            let answers = services.iter();
            answers.map(|service| (service.clone(), answer.clone())).collect()
        };
        if !self.booted.is_dir() {
            return all(Ok(None));
        }
        let limit = Instant::now() + LIMIT;
        let connected = timeout_at(limit, self.connect())
            .await
            .unwrap_or(Err(AskError::Late));
        let connection = match connected {
            Ok(connection) => connection,
            Err(error) => return all(Err(trouble("units", &error))),
        };
        let questions = services.iter().cloned().map(|service| {
            let connection = connection.clone();
            async move {
                let asked = timeout_at(limit, said(&connection, &service)).await;
                let answer = asked.unwrap_or(Err(AskError::Late));
                let answer = answer.map_err(|error| trouble(&service, &error));
                (service, answer)
            }
        });
        stream::iter(questions)
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await
    }

    async fn connect(&self) -> Result<Connection, AskError> {
        let stream = UnixStream::connect(&self.bus)
            .await
            .map_err(|error| AskError::Connect {
                place: self.bus.clone(),
                error,
            })?;
        let builder = Builder::unix_stream(stream);
        builder.build().await.map_err(AskError::Refused)
    }
}

fn trouble(who: &str, error: &AskError) -> String {
    format!("what {who} say by Environment=WSLNETD=… is not known: {error}")
}

/// What a service says.
async fn said(connection: &Connection, service: &str) -> Result<Option<String>, AskError> {
    // Not LoadUnit, which reads files. What runs is loaded.
    let found = connection
        .call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), "GetUnit", &(service,))
        .await;
    let unit = match found {
        Ok(unit) => unit,
        Err(zbus::Error::MethodError(name, ..)) if name.as_str() == NO_SUCH_UNIT => return Ok(None),
        Err(error) => return Err(AskError::Ask(error)),
    };
    let path: OwnedObjectPath = unit.body().deserialize().map_err(AskError::Ask)?;
    let property = connection
        .call_method(
            Some(SYSTEMD),
            &path,
            Some(PROPERTIES),
            "Get",
            &(SERVICE, "Environment"),
        )
        .await
        .map_err(AskError::Ask)?;
    let property: OwnedValue = property.body().deserialize().map_err(AskError::Ask)?;
    let assignments = Vec::<String>::try_from(property).map_err(|error| AskError::Ask(error.into()))?;
    Ok(value_in(&assignments))
}

/// The value of the variable among assignments. Of several the last one is in force; systemd tells each variable once.
fn value_in(assignments: &[String]) -> Option<String> {
    let mut values = assignments.iter().rev();
    let value = values.find_map(|assignment| assignment.strip_prefix(VARIABLE))?;
    Some(clean(value, VALUE_CHARS))
}

#[cfg(test)]
mod tests;
