//! The start at logon: a value of the user's own key `Run`, which takes no rights.
//! <https://learn.microsoft.com/windows/win32/setupapi/run-and-runonce-registry-keys>: at most 260 characters, and so the places
//! are not named there.

use std::io;

use anyhow::Context;
use windows_registry::{CURRENT_USER, USERS};

use super::super::user::User;
use super::{Order, program};
use crate::host::is_missing_key;
use crate::service::NAME;

const RUN: &str = r"Software\Microsoft\Windows\CurrentVersion\Run";

pub(super) fn put(order: &mut Order) -> anyhow::Result<()> {
    let line = format!("\"{}\" run --background", program::path()?.display());
    let done = CURRENT_USER
        .create(RUN)
        .and_then(|key| key.set_string(NAME, &line));
    done.context("cannot have the program started at the logon")?;
    order.tell("put: the start at the logon of this user");
    Ok(())
}

pub(super) fn take(order: &mut Order) -> anyhow::Result<()> {
    let done = CURRENT_USER
        .options()
        .read()
        .write()
        .open(RUN)
        .and_then(|key| key.remove_value(NAME))
        .map_err(io::Error::from);
    match done {
        Ok(()) => order.tell("removed: the start at the logon of this user"),
        Err(error) if is_missing_key(&error) => {}
        Err(error) => return Err(error).context("cannot remove the start at the logon"),
    }
    Ok(())
}

/// Whether the program starts at the logon of a user; nothing while he is not logged on, when his part of the registry is not there.
pub(super) fn of(user: &User) -> Option<bool> {
    let own = USERS.open(user.to_string()).ok()?;
    Some(own.open(RUN).and_then(|key| key.get_string(NAME)).is_ok())
}
