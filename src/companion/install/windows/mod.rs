//! Installing on Windows. This page has the lists of parts and the order of things; each part is in a file of its own.

mod autostart;
mod background;
mod elevate;
mod firewall;
mod folder;
mod logon;
mod program;
mod service;
mod trust;
mod users;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use known_folders::{KnownFolder, get_known_folder_path};
use wslnet_console::output;

use super::{Installable, Keep, TrustChange, User};
use crate::capability::is_administrator;
use crate::event_log;
use crate::pair::NamedKey;
use crate::paths::Paths;
use crate::purge::{self, Extent, Journals};
use crate::service::NAME;

pub(crate) use background::run_in_background;
pub(crate) use service::process as service_process;
pub(crate) use trust::change_trust;

/// What is being done, and where.
struct Order {
    /// The paths of the one whose parts these are: of the service or of the user.
    paths: Paths,
    /// Whether the state folder goes too.
    keep: Keep,
    /// The keys that the service is to trust from the beginning.
    trust: Vec<NamedKey>,
    /// For whom it is done, where that is known.
    user: Option<User>,
    /// What was done, a line each.
    told: String,
}

impl Order {
    fn new(paths: Paths, keep: Keep) -> Self {
        Self {
            paths,
            keep,
            trust: Vec::new(),
            user: None,
            told: String::new(),
        }
    }

    fn tell(&mut self, line: impl AsRef<str>) {
        self.told.push_str(line.as_ref());
        self.told.push('\n');
    }
}

/// One thing that is put on the machine.
struct Part {
    /// Whether a form wants it.
    wanted: fn(Installable) -> bool,
    /// Puts it there, also where it or another version of it is there already.
    put: fn(Installable, &mut Order) -> anyhow::Result<()>,
    /// Takes it away if it is there, and says so.
    take: fn(&mut Order) -> anyhow::Result<()>,
}

fn both(_: Installable) -> bool {
    true
}

fn of_service(form: Installable) -> bool {
    form == Installable::Service
}

fn of_logon(form: Installable) -> bool {
    form == Installable::Logon
}

/// What takes an administrator. The program is let in before it runs: otherwise Windows asks, or blocks it for good.
const PRIVILEGED: &[Part] = &[
    Part {
        wanted: both,
        put: |_, order| program::put(order),
        take: program::take,
    },
    Part {
        wanted: of_logon,
        put: |_, order| users::put(order),
        take: users::take,
    },
    Part {
        wanted: of_service,
        put: |_, order| folder::put(order),
        take: folder::take,
    },
    Part {
        wanted: of_service,
        put: |_, order| {
            trust::put(order);
            Ok(())
        },
        take: |_| Ok(()),
    },
    Part {
        wanted: of_service,
        put: |_, _| Ok(()),
        take: take_leftovers,
    },
    Part {
        wanted: of_service,
        put: |_, _| event_log::register(NAME).context("cannot register the source of events"),
        take: take_event_source,
    },
    Part {
        wanted: both,
        put: firewall::put,
        take: firewall::take,
    },
    Part {
        wanted: of_service,
        put: |_, order| service::put(order),
        take: service::take,
    },
    // At the end, when the former version of the service has ended.
    Part {
        wanted: both,
        put: |_, _| program::sweep_former(),
        take: |_| Ok(()),
    },
];

/// What an ordinary user may do about what the program leaves behind.
const USERS_FILES: &[Part] = &[
    Part {
        wanted: of_logon,
        put: |_, _| Ok(()),
        take: take_user_state,
    },
    Part {
        wanted: of_logon,
        put: |_, _| Ok(()),
        take: take_users_leftovers,
    },
];

/// What an ordinary user may do about the program itself.
const USERS: &[Part] = &[
    Part {
        wanted: of_logon,
        put: |_, order| autostart::put(order),
        take: autostart::take,
    },
    Part {
        wanted: of_logon,
        put: |_, order| logon::put(order),
        take: logon::take,
    },
];

/// The form that is installed, or else the one for the logon.
pub(crate) fn form_to_install() -> Installable {
    if service::is_installed() {
        Installable::Service
    } else {
        Installable::Logon
    }
}

/// Installs a form. The service trusts these keys as soon as it runs.
pub(crate) fn install(
    form: Installable,
    trust: &[NamedKey],
    user: Option<User>,
    answer_to: Option<&str>,
) -> anyhow::Result<()> {
    let flag = match form {
        Installable::Logon => "--logon",
        Installable::Service => "--service",
    };
    if let Some(pipe) = answer_to {
        return elevate::answer(pipe, |told| {
            privileged(told, |order| {
                order.trust = trust.to_vec();
                order.user = user;
                put(PRIVILEGED, form, order)
            })
        });
    }
    let user = users::current()?;
    let mut users = Order::new(Paths::standard()?, Keep::State);
    // First what somebody may say no to.
    let change = TrustChange {
        trust: trust.to_vec(),
        untrust: Vec::new(),
    };
    let mut arguments = [vec!["install".to_owned(), flag.to_owned()], change.arguments()].concat();
    arguments.extend(users::arguments(&user));
    let done = elevated(&this_program()?, &arguments, &mut users.told, |order| {
        order.trust = change.trust;
        order.user = Some(user);
        put(PRIVILEGED, form, order)
    })
    .and_then(|()| put(USERS, form, &mut users))
    .and_then(|()| put(USERS_FILES, form, &mut users));
    output::print(&users.told)?;
    done
}

/// Takes everything away, and what the program left on the machine, but for what other users need. A second time there is nothing.
pub(crate) fn uninstall(keep: Keep, user: Option<User>, answer_to: Option<&str>) -> anyhow::Result<()> {
    if let Some(pipe) = answer_to {
        return elevate::answer(pipe, |told| {
            privileged(told, |order| {
                order.keep = keep;
                order.user = user;
                take(PRIVILEGED, order)
            })
        });
    }
    let mut arguments = vec!["uninstall".to_owned()];
    if keep == Keep::Nothing {
        arguments.push("--all".to_owned());
    }
    let user = users::current()?;
    arguments.extend(users::arguments(&user));
    let mut users = Order::new(Paths::standard()?, keep);
    let mut done = take(USERS, &mut users);
    if is_anything_privileged(keep, &user)? {
        let rest = elevated(&this_program()?, &arguments, &mut users.told, |order| {
            order.keep = keep;
            order.user = Some(user);
            take(PRIVILEGED, order)
        });
        done = done.and(rest);
    } else if program::folder()?.exists() {
        users
            .told
            .extend(users::left_for_others(Some(&user))?.map(|left| format!("{left}\n")));
    }
    // Names in the hosts file may be the service's, and are gone with it.
    done = done.and(take(USERS_FILES, &mut users));
    if users.told.is_empty() && done.is_ok() {
        users.tell("nothing to remove");
    }
    output::print(&users.told)?;
    done
}

/// Puts the parts that a form wants, and takes the others before.
fn put(parts: &[Part], form: Installable, order: &mut Order) -> anyhow::Result<()> {
    for part in parts.iter().rev().filter(|part| !(part.wanted)(form)) {
        (part.take)(order)?;
    }
    for part in parts.iter().filter(|part| (part.wanted)(form)) {
        (part.put)(form, order)?;
    }
    Ok(())
}

/// Takes all parts. What one of them meets does not keep the others; all of it is told.
fn take(parts: &[Part], order: &mut Order) -> anyhow::Result<()> {
    let mut reasons = Vec::new();
    for part in parts.iter().rev() {
        reasons.extend((part.take)(order).err().map(|error| format!("{error:#}")));
    }
    if reasons.is_empty() {
        Ok(())
    } else {
        bail!("not everything could be removed: {}", reasons.join("; "))
    }
}

/// Does what takes an administrator: here if this is one, or else by this program once more.
fn elevated(
    program: &Path,
    arguments: &[String],
    told: &mut String,
    work: impl FnOnce(&mut Order) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if is_administrator() {
        privileged(told, work)
    } else {
        elevate::run(program, arguments, told)
    }
}

fn privileged(told: &mut String, work: impl FnOnce(&mut Order) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut order = Order::new(standard_service_paths()?, Keep::State);
    let done = work(&mut order);
    told.push_str(&order.told);
    done
}

/// Whether there is a reason to ask for an administrator at all.
fn is_anything_privileged(keep: Keep, user: &User) -> anyhow::Result<bool> {
    let has_state = || standard_service_paths().map(|paths| paths.state_dir.exists());
    let has_program = || {
        Ok::<_, anyhow::Error>(program::folder()?.exists() && users::left_for_others(Some(user))?.is_none())
    };
    Ok(service::is_installed()
        || users::is_written_down(user)?
        || has_program()?
        || (keep == Keep::Nothing && has_state()?))
}

fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("Windows does not say where this program is")
}

fn take_leftovers(order: &mut Order) -> anyhow::Result<()> {
    purge_service(order, Extent::Run)
}

/// Purges what the service has left. Every user may make a folder where its state folder belongs, and may have written a journal there
/// that calls others' things ours.
fn purge_service(order: &mut Order, extent: Extent) -> anyhow::Result<()> {
    let state_dir = &order.paths.state_dir;
    let journals = match state_dir.exists().then(|| folder::check(state_dir)) {
        None | Some(Ok(_)) => Journals::Count,
        Some(Err(error)) => {
            let note = format!("note: what is written there removes nothing: {error:#}");
            if !order.told.contains(&note) {
                order.tell(note);
            }
            Journals::DoNotCount
        }
    };
    purge::quietly(&order.paths, extent, journals, &mut order.told).map_err(anyhow::Error::msg)
}

/// The hosts file is the service's where there is one: the names there are not the user's to remove.
fn take_users_leftovers(order: &mut Order) -> anyhow::Result<()> {
    let mut paths = order.paths.clone();
    if service::is_installed() {
        paths.hosts = None;
    }
    purge::quietly(&paths, Extent::Run, Journals::Count, &mut order.told).map_err(anyhow::Error::msg)
}

fn take_event_source(order: &mut Order) -> anyhow::Result<()> {
    if event_log::unregister(NAME).context("cannot remove the source of events")? {
        order.tell("removed: the source of events");
    }
    Ok(())
}

/// The user's own folder: on `--all` only.
fn take_user_state(order: &mut Order) -> anyhow::Result<()> {
    if order.keep == Keep::Nothing {
        folder::remove(order)?;
    }
    Ok(())
}

/// Whether the folder of the service is one that only the system and administrators can have written to. A file system that
/// keeps no access lists is told of and no reason to refuse.
///
/// # Errors
/// Why it is not, and what to do.
pub(crate) fn state_folder_is_ours(path: &Path) -> anyhow::Result<()> {
    folder::check(path).map(drop)
}

/// The places of the service, if it is installed.
pub(crate) fn service_paths() -> Option<Paths> {
    service::is_installed()
        .then(standard_service_paths)
        .and_then(Result::ok)
}

fn standard_service_paths() -> anyhow::Result<Paths> {
    Ok(Paths::below(&known(KnownFolder::ProgramData)?.join("wslnet")))
}

/// A folder of Windows, from Windows and not from the environment, which is whoever's starts the program.
fn known(folder: KnownFolder) -> anyhow::Result<PathBuf> {
    get_known_folder_path(folder).with_context(|| format!("Windows does not say where {folder:?} is"))
}

/// A name that nobody has guessed before.
fn random_name() -> anyhow::Result<String> {
    use ring::rand::SecureRandom as _;
    let mut random = [0; 8];
    ring::rand::SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(format!("{:016x}", u64::from_le_bytes(random)))
}
