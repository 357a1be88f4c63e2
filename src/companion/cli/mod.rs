//! The command line of `wslnet-companion`. Exit codes: 0 done, 1 could not, 2 asked wrongly; of a pairing also 3, paired and not
//! connected.

mod keys;
mod show;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use serde::de::{DeserializeOwned, IgnoredAny};
use wslnet_console::control::{self, Answer, CallError, Endpoint};
use wslnet_console::diagnose::ConfigFile;
use wslnet_console::{log, output};
use wslnet_link::PublicKey;

use crate::bulletin::{self, Bulletin, ReadError};
use crate::config::WatchedConfig;
use crate::engine::{ForwardReport, StatusReport};
use crate::form::Form;
use crate::install::{self, Installable, Keep, TrustChange, User};
use crate::pair::{self, NamedKey, NotConnected, PairArgs};
use crate::paths::{Paths, PathsError};
use crate::purge::{self, Extent};
use crate::run::{self, Ask, BadConfig, Life};
use crate::service;

/// How long a running companion may take to answer a command.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The exit code of a pairing of which only the last step failed: the distro did not connect.
const NOT_CONNECTED: u8 = 3;

/// Opens on Windows the ports that WSL2 distros listen on.
#[derive(Debug, Parser)]
#[command(name = "wslnet-companion", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    places: Places,
}

#[derive(Debug, Args)]
struct Places {
    /// The configuration file, companion.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the key and the trusted keys are kept
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where the running program can be reached
    #[arg(long, global = true, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// The hosts file that gets the names of forwards [default: Windows' own]
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    hosts: Option<PathBuf>,
}

impl Places {
    /// The standard places, which must be known only where one was not named: those of the service where it is installed,
    /// unless it is the user's own program that is to be run.
    fn resolve(self, runs: bool) -> Result<Paths, PathsError> {
        let hosts = self.hosts.or_else(Paths::standard_hosts);
        Ok(match (self.config, self.state_dir, self.run_dir) {
            (Some(config), Some(state_dir), Some(run_dir)) => Paths {
                config,
                state_dir,
                run_dir,
                hosts,
            },
            (config, state_dir, run_dir) => {
                let service = if runs { None } else { install::service_paths() };
                let standard = service.map_or_else(Paths::standard, Ok)?;
                Paths {
                    config: config.unwrap_or(standard.config),
                    state_dir: state_dir.unwrap_or(standard.state_dir),
                    run_dir: run_dir.unwrap_or(standard.run_dir),
                    hosts,
                }
            }
        })
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run in the foreground until Ctrl-C
    Run {
        /// Where to listen for distros [default: port 9756 of the WSL adapter and of 127.0.0.1]
        #[arg(long, value_name = "IP:PORT")]
        listen: Option<SocketAddr>,
        /// Run without a window, and return as soon as the program answers (Windows)
        #[arg(long, conflicts_with = "log")]
        background: bool,
        /// Write the log to this file, at most 1 MiB and as much of older lines, instead of stderr
        #[arg(long, value_name = "FILE")]
        log: Option<PathBuf>,
        /// In which form this is
        #[arg(long, hide = true, default_value = "by-hand")]
        form: Form,
    },
    /// Install this program on Windows; doing it again upgrades, the other form is converted
    Install {
        /// It starts when you log on, and has your rights [default, unless the service is installed]
        #[arg(long, conflicts_with = "service")]
        logon: bool,
        /// It starts with Windows, and has the rights for names, portproxy and firewall rules
        #[arg(long)]
        service: bool,
        /// Pair with these distros too; Windows asks for an administrator once for both
        #[arg(long, value_name = "DISTRO", num_args = 1..)]
        pair: Vec<String>,
        /// The program that runs commands in distros [default: Windows' own wsl.exe]
        #[arg(long, hide = true, value_name = "PROGRAM")]
        wsl: Option<PathBuf>,
        /// Keys that the service is to trust
        #[arg(long, hide = true, value_name = "NAME=KEY", requires = "answer_to")]
        trust: Vec<NamedKey>,
        /// For whom it is done: whoever agreed to it may be another user
        #[arg(long, hide = true, value_name = "SID", requires = "answer_to")]
        user: Option<User>,
        /// Do what takes an administrator, and tell this pipe
        #[arg(long, hide = true, value_name = "PIPE", conflicts_with = "pair")]
        answer_to: Option<String>,
    },
    /// Stop this program and remove it from Windows; keys and configuration stay
    Uninstall {
        /// Remove the keys, the trusted keys and companion.toml too
        #[arg(long)]
        all: bool,
        /// For whom it is done: whoever agreed to it may be another user
        #[arg(long, hide = true, value_name = "SID", requires = "answer_to")]
        user: Option<User>,
        /// Do what takes an administrator, and tell this pipe
        #[arg(long, hide = true, value_name = "PIPE")]
        answer_to: Option<String>,
    },
    /// What the service control manager starts
    #[command(hide = true)]
    RunService {
        /// Where to listen for distros [default: port 9756 of the WSL adapter and of 127.0.0.1]
        #[arg(long, value_name = "IP:PORT")]
        listen: Option<SocketAddr>,
    },
    /// Show what the running companion is doing
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the forwards of all distros
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let distros and this program learn each other's keys, and wait until they are connected
    Pair(PairArgs),
    /// Print this machine's public key, for `wslnetd trust KEY`; it is made at the first call
    Key,
    /// Trust a distro's key, as printed by `wslnetd key`
    Trust {
        /// A name for the distro: letters, digits, `.`, `_` and `-`
        name: String,
        /// The key: 64 hex digits
        key: PublicKey,
    },
    /// Print the name and the key of each distro that is trusted, a line each
    Trusted,
    /// Trust a distro's key no longer; its forwards are withdrawn at once
    Untrust {
        /// The name under which the key is trusted
        name: String,
    },
    /// What is started elevated to change which keys the service trusts
    #[command(hide = true)]
    ChangeTrust {
        #[arg(long, value_name = "NAME=KEY")]
        trust: Vec<NamedKey>,
        #[arg(long, value_name = "NAME")]
        untrust: Vec<String>,
        /// Tell this pipe
        #[arg(long, value_name = "PIPE")]
        answer_to: String,
    },
    /// Remove whatever this program has left on the machine outside of its own folders
    Purge,
}

/// Runs the program with the process's own arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli) {
        Ok(()) => output::Exit::Ok.into(),
        Err(error) => {
            output::report_error("wslnet-companion", error.as_ref());
            if error.is::<NotConnected>() {
                ExitCode::from(NOT_CONNECTED)
            } else {
                output::Exit::Failure.into()
            }
        }
    }
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    let named_config = cli.places.config.is_some();
    let runs = matches!(cli.command, Command::Run { .. });
    let paths = cli.places.resolve(runs)?;
    match cli.command {
        Command::Run {
            listen,
            background: true,
            ..
        } => install::run_in_background(&paths, named_config, listen),
        Command::Run {
            listen, log, form, ..
        } => {
            let _log = match &log {
                Some(file) => log::init_file("WSLNET_LOG", file, None),
                None => log::init("WSLNET_LOG"),
            }?;
            let config = WatchedConfig::new(ConfigFile::new(paths.config.clone(), named_config));
            let life = || Life::in_console(form);
            let ended = runtime()?.block_on(async { run::run(&paths, config, listen, life()).await });
            ended.inspect_err(|error| tell_failed_run(error, log.is_some()))
        }
        Command::RunService { listen } => service::run(&paths, listen),
        Command::Install {
            logon,
            service,
            pair,
            wsl,
            trust,
            user,
            answer_to,
        } => {
            let form = match (logon, service) {
                (true, _) => Installable::Logon,
                (_, true) => Installable::Service,
                (false, false) => install::form_to_install(),
            };
            if answer_to.is_some() || pair.is_empty() {
                install::install(form, &trust, user, answer_to.as_deref())
            } else {
                install_and_pair(form, PairArgs::named(pair, wsl))
            }
        }
        Command::Uninstall { all, user, answer_to } => {
            let keep = if all { Keep::Nothing } else { Keep::State };
            install::uninstall(keep, user, answer_to.as_deref())
        }
        Command::Status { json } => {
            let status = ask::<StatusReport>(&paths, Ask::Status, |bulletin| bulletin.status)?;
            Ok(if json {
                output::print_json(&status)
            } else {
                output::print(&show::status(&status))
            }?)
        }
        Command::List { json } => {
            let list = ask::<Vec<ForwardReport>>(&paths, Ask::List, |bulletin| bulletin.list)?;
            Ok(match list.as_slice() {
                list if json => output::print_json(list),
                [] => output::print("No distro asks for a forward.\n"),
                list => output::print_table(&show::list(list)),
            }?)
        }
        Command::Pair(args) => pair::run(&paths, args),
        Command::Key => keys::key(&paths),
        Command::Trust { name, key } => keys::trust(&paths, name, key),
        Command::Trusted => keys::trusted(&paths),
        Command::Untrust { name } => keys::untrust(&paths, name),
        Command::ChangeTrust {
            trust,
            untrust,
            answer_to,
        } => install::change_trust(&TrustChange { trust, untrust }, Some(&answer_to)),
        Command::Purge => purge(&paths),
    }
}

/// A bad configuration is told in full; and whoever reads the log alone must find why the program ended.
fn tell_failed_run(error: &anyhow::Error, has_log_file: bool) {
    let bad_config = error.downcast_ref::<BadConfig>();
    if has_log_file {
        let report = bad_config.map(|bad| bad.report.as_str());
        tracing::error!(error = format!("{error:#}"), report, "wslnet-companion has ended");
    } else if let Some(bad) = bad_config {
        output::print_to_stderr(&bad.report);
    }
}

/// Removes everything of ours, unless somebody is there who would put it back.
fn purge(paths: &Paths) -> anyhow::Result<()> {
    let endpoint = Endpoint::in_run_dir(&paths.run_dir, run::NAME);
    let answer = runtime()?.block_on(control::call::<_, IgnoredAny>(
        &endpoint,
        &Ask::Status,
        ANSWER_TIME,
    ));
    match answer {
        Err(CallError::NotRunning { .. }) => {}
        Ok(_) => {
            anyhow::bail!("wslnet-companion is running, and would put back what is removed: stop it first")
        }
        Err(error) => return Err(error).context("cannot tell whether wslnet-companion is running"),
    }
    let mut told = String::new();
    let done = purge::everything(paths, Extent::Run, &mut told);
    output::print(&told)?;
    done.map_err(anyhow::Error::msg)
        .context("not everything could be removed")
}

/// Installs and pairs, with one question for an administrator: the service learns the keys of the distros with the installation.
fn install_and_pair(form: Installable, pair: PairArgs) -> anyhow::Result<()> {
    let trust = match form {
        Installable::Service => pair::keys(pair.clone())?,
        Installable::Logon => Vec::new(),
    };
    install::install(form, &trust, None, None)?;
    let paths = install::service_paths().map_or_else(Paths::standard, Ok)?;
    pair::run(&paths, pair)
}

/// Asks the running companion. A service that does not let this user in has told everybody what is `public`.
fn ask<T: DeserializeOwned>(
    paths: &Paths,
    ask: Ask,
    public: impl FnOnce(Bulletin) -> Answer<T>,
) -> anyhow::Result<T> {
    let endpoint = Endpoint::in_run_dir(&paths.run_dir, run::NAME);
    let answer = runtime()?.block_on(control::call::<_, Answer<T>>(&endpoint, &ask, ANSWER_TIME));
    let bulletin = || {
        let is_service = install::is_service(paths);
        is_service.then(bulletin::read_now).transpose()
    };
    let answer = or_public(answer, bulletin, public)?;
    Result::from(answer).map_err(anyhow::Error::msg)
}

/// An answer, or where this user may not ask, what everybody may know.
fn or_public<T>(
    answer: Result<Answer<T>, CallError>,
    bulletin: impl FnOnce() -> Result<Option<Bulletin>, ReadError>,
    public: impl FnOnce(Bulletin) -> Answer<T>,
) -> anyhow::Result<Answer<T>> {
    match answer {
        Err(refused @ CallError::NotAllowed { .. }) => match bulletin()? {
            Some(bulletin) => Ok(public(bulletin)),
            None => Err(refused.into()),
        },
        answer => Ok(answer?),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use std::path::Path;

    use super::*;
    use crate::bulletin::tests::bulletin;

    #[test]
    fn who_may_not_ask_the_service_learns_what_everybody_may_know() {
        let refused = || {
            Err(CallError::NotAllowed {
                name: run::NAME.to_owned(),
                endpoint: Endpoint::in_run_dir(Path::new("/nowhere"), run::NAME),
            })
        };
        let list = |bulletin: Bulletin| bulletin.list;

        let told = or_public(refused(), || Ok(Some(bulletin())), list).unwrap();
        assert!(matches!(told, Answer::Failed(reason) if reason == "it has just started"));
        // There is no service: it is another user's program.
        let other = or_public(refused(), || Ok(None), list).unwrap_err();
        assert!(other.to_string().contains("may not talk to"), "{other}");
        let silent = or_public(refused(), || Err(ReadError::NotRunning), list).unwrap_err();
        assert!(silent.to_string().contains("net start"), "{silent}");

        // Who may ask gets the whole answer.
        let whole = or_public(Ok(Answer::Done(Vec::new())), || Ok(Some(bulletin())), list).unwrap();
        assert!(matches!(whole, Answer::Done(_)));
    }
}
