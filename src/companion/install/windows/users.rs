//! For which users the program starts at the logon. It is on the machine once for all of them, so it goes with the last one.
//!
//! Each of them has a value in his own part of the registry (`autostart.rs`), which others can read only while he is logged
//! on. So an installation also writes down who he is, where only administrators can write: it is the part of it that takes one.

use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr::null_mut;

use anyhow::Context;
use windows_registry::{LOCAL_MACHINE, USERS};
use windows_sys::Win32::Foundation::{HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::ConvertSidToStringSidW;
use windows_sys::Win32::Security::{GetTokenInformation, TOKEN_QUERY, TOKEN_USER, TokenUser};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::super::user::User;
use super::{Order, autostart};
use crate::host::is_missing_key;

/// Where the users are written down: a value for each, named by the user and empty.
const WRITTEN_DOWN: &str = r"SOFTWARE\wslnet-companion";
/// Where Windows keeps which users it knows, and where their profiles are.
const PROFILES: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";
/// The flag that names a user to the elevated program: who says yes to it may be another one.
const FLAG: &str = "--user";

/// What is known of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    user: User,
    /// The name of his profile's folder; nothing when Windows does not know him any more.
    profile: Option<String>,
    /// Whether the program starts at his logon; nothing while he is not logged on.
    starts: Option<bool>,
}

/// Writes down that it starts for this user.
pub(super) fn put(order: &mut Order) -> anyhow::Result<()> {
    let Some(user) = &order.user else {
        return Ok(());
    };
    LOCAL_MACHINE
        .create(WRITTEN_DOWN)
        .and_then(|key| key.set_string(user.to_string(), ""))
        .context("cannot write down for which user the program is installed")
}

/// Strikes him out, and those who do not need it any more; who is the last one takes the list along.
pub(super) fn take(order: &mut Order) -> anyhow::Result<()> {
    let open = || LOCAL_MACHINE.options().read().write().open(WRITTEN_DOWN);
    let key = match open().map_err(io::Error::from) {
        Ok(key) => key,
        Err(error) if is_missing_key(&error) => return Ok(()),
        Err(error) => return Err(error).context("cannot change for which users the program is installed"),
    };
    let (left, gone): (Vec<Known>, Vec<Known>) = written_down()?
        .into_iter()
        .map(look)
        .partition(|known| known.needs_it(order.user.as_ref()));
    for Known { user, .. } in gone {
        key.remove_value(user.to_string())
            .with_context(|| format!("cannot strike out the user {user}"))?;
    }
    drop(key);
    if left.is_empty() {
        LOCAL_MACHINE
            .remove_tree(WRITTEN_DOWN)
            .context("cannot remove the list of users")?;
    }
    Ok(())
}

/// Whether this user is written down.
///
/// # Errors
/// When the list cannot be read.
pub(super) fn is_written_down(user: &User) -> anyhow::Result<bool> {
    Ok(written_down()?.contains(user))
}

/// What the program stays for, as people are told; nothing when nobody but this user has it start at his logon.
///
/// # Errors
/// When it is not known for whom it was installed: it must not go then.
pub(super) fn left_for_others(own: Option<&User>) -> anyhow::Result<Option<String>> {
    let others = who_needs_it(candidates()?.into_iter().map(look).collect(), own);
    if others.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!(
        "left: the program and its firewall rules, for {}, who has it start at the logon. It goes with the last one's \
         `wslnet-companion uninstall`",
        others.join(", ")
    )))
}

/// Those who need it, by the names that people know them by.
fn who_needs_it(known: Vec<Known>, own: Option<&User>) -> Vec<String> {
    known
        .into_iter()
        .filter(|known| known.needs_it(own))
        .filter_map(|known| known.profile)
        .collect()
}

impl Known {
    /// Whether it stays for him, while it goes for `own`.
    fn needs_it(&self, own: Option<&User>) -> bool {
        // One whom Windows has forgotten never logs on again.
        Some(&self.user) != own && self.starts != Some(false) && self.profile.is_some()
    }
}

/// Those who are written down, and those who are logged on and have it start.
fn candidates() -> anyhow::Result<Vec<User>> {
    let mut users = written_down()?;
    let logged_on = USERS
        .keys()
        .into_iter()
        .flatten()
        .filter_map(|name| name.parse::<User>().ok());
    users.extend(logged_on.filter(|user| autostart::of(user) == Some(true)));
    users.sort();
    users.dedup();
    Ok(users)
}

fn written_down() -> anyhow::Result<Vec<User>> {
    let unreadable = || {
        format!(
            r"cannot read for which users the program is installed; an administrator has to give read access to HKEY_LOCAL_MACHINE\{WRITTEN_DOWN}"
        )
    };
    let key = match LOCAL_MACHINE.open(WRITTEN_DOWN).map_err(io::Error::from) {
        Ok(key) => key,
        Err(error) if is_missing_key(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(unreadable),
    };
    let names = key.values().with_context(unreadable)?;
    Ok(names.filter_map(|(name, _)| name.parse().ok()).collect())
}

fn look(user: User) -> Known {
    let folder = LOCAL_MACHINE
        .open(format!(r"{PROFILES}\{user}"))
        .ok()
        .map(|key| key.get_string("ProfileImagePath").unwrap_or_default());
    let profile = folder.map(|folder| match folder.rsplit('\\').next() {
        None | Some("") => user.to_string(),
        Some(name) => name.to_owned(),
    });
    Known {
        starts: autostart::of(&user),
        profile,
        user,
    }
}

/// How the elevated program is told of a user.
pub(super) fn arguments(user: &User) -> [String; 2] {
    [FLAG.to_owned(), user.to_string()]
}

/// The user of this process.
pub(super) fn current() -> anyhow::Result<User> {
    let text = current_identifier().context("Windows does not say who this user is")?;
    text.parse()
        .with_context(|| format!("Windows calls this user {text:?}"))
}

/// <https://learn.microsoft.com/windows/win32/api/securitybaseapi/nf-securitybaseapi-gettokeninformation>
fn current_identifier() -> io::Result<String> {
    let mut token: HANDLE = null_mut();
    // SAFETY: the process is this one; the handle goes to a live pointer.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was opened above and belongs to nobody else.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    // Room for the structure and the longest identifier, in units that are aligned as the structure is.
    let mut room = [0_u64; 16];
    let mut size = 0;
    // SAFETY: the token is open for queries; the room is writable for the size given.
    let told = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            room.as_mut_ptr().cast(),
            size_of_val(&room) as u32,
            &raw mut size,
        )
    };
    if told == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut text: *mut u16 = null_mut();
    // SAFETY: the call has succeeded, so the room begins with the structure, whose identifier lies in the room; the text goes to a live pointer.
    let made = unsafe {
        let user = &*room.as_ptr().cast::<TOKEN_USER>();
        ConvertSidToStringSidW(user.User.Sid, &raw mut text)
    };
    if made == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut units = Vec::new();
    // SAFETY: the call has succeeded, so the text ends with a zero, and is read no further; it is ours to free, once.
    unsafe {
        while *text.add(units.len()) != 0 {
            units.push(*text.add(units.len()));
        }
        LocalFree(text.cast());
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    fn known(number: u32, profile: Option<&str>, starts: Option<bool>) -> Known {
        Known {
            user: format!("S-1-5-21-1-2-3-{number}").parse().unwrap(),
            profile: profile.map(str::to_owned),
            starts,
        }
    }

    #[test]
    fn the_program_stays_for_whoever_has_it_start_or_may_have() {
        let all = vec![
            known(1001, Some("ann"), Some(true)),
            known(1002, Some("bob"), None),
            known(1003, Some("carl"), Some(true)),
            known(1004, Some("has taken it out by hand"), Some(false)),
            known(1005, None, None),
        ];
        let ann = all[0].user.clone();

        assert_eq!(who_needs_it(all.clone(), Some(&ann)), ["bob", "carl"]);
        assert_eq!(who_needs_it(all, None), ["ann", "bob", "carl"]);
        assert!(who_needs_it(vec![known(1001, Some("ann"), Some(true))], Some(&ann)).is_empty());
    }

    #[test]
    fn windows_says_who_this_user_is() {
        let user = current().unwrap();

        assert!(user.to_string().starts_with("S-1-5-"), "{user}");
        // His own part of the registry is there while he runs programs.
        assert!(USERS.open(user.to_string()).is_ok(), "{user}");
    }
}
