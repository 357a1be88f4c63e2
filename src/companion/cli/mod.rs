//! The command line of `wslnet-companion`. Exit codes: 0 done, 1 could not, 2 asked wrongly.

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
use wslnet_link::{Peers, PublicKey};

use crate::config::WatchedConfig;
use crate::engine::{ForwardReport, StatusReport};
use crate::form::Form;
use crate::install::{self, Installable, Keep};
use crate::pair::{self, PairArgs};
use crate::paths::{Paths, PathsError};
use crate::purge::{self, Extent};
use crate::run::{self, Ask, BadConfig, Life};
use crate::service;

/// How long a running companion may take to answer a command.
const ANSWER_TIME: Duration = Duration::from_secs(5);

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
        /// Do what takes an administrator, and tell this pipe
        #[arg(long, hide = true, value_name = "PIPE")]
        answer_to: Option<String>,
    },
    /// Stop this program and remove it from Windows; keys and configuration stay
    Uninstall {
        /// Remove the keys, the trusted keys and companion.toml too
        #[arg(long)]
        all: bool,
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
            output::Exit::Failure.into()
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
            answer_to,
        } => {
            let form = match (logon, service) {
                (true, _) => Some(Installable::Logon),
                (_, true) => Some(Installable::Service),
                (false, false) => None,
            };
            install::install(form, answer_to.as_deref())
        }
        Command::Uninstall { all, answer_to } => {
            let keep = if all { Keep::Nothing } else { Keep::State };
            install::uninstall(keep, answer_to.as_deref())
        }
        Command::Status { json } => {
            let status = ask::<StatusReport>(&paths, Ask::Status)?;
            Ok(if json {
                output::print_json(&status)
            } else {
                output::print(&show::status(&status))
            }?)
        }
        Command::List { json } => {
            let list = ask::<Vec<ForwardReport>>(&paths, Ask::List)?;
            Ok(match list.as_slice() {
                list if json => output::print_json(list),
                [] => output::print("No distro asks for a forward.\n"),
                list => output::print_table(&show::list(list)),
            }?)
        }
        Command::Pair(args) => pair::run(&paths, args),
        Command::Key => {
            let is_new = !paths.state_dir.join(wslnet_link::KEY_FILE).exists();
            let key = wslnet_link::load_or_create(&paths.state_dir).context("cannot use the key")?;
            if is_new {
                output::print_to_stderr(
                    "a new key was made; the other side learns it by `wslnet-companion pair DISTRO`, or `wslnetd trust KEY` in each distro\n",
                );
            }
            Ok(output::print(&format!("{}\n", key.public()))?)
        }
        Command::Trust { name, key } => {
            let before = wslnet_link::trust(&paths.state_dir, &name, key).context("cannot trust the key")?;
            let note = match before {
                Some(before) if before != key => "; its former key is no longer trusted",
                _ => "",
            };
            Ok(output::print(&format!(
                "trusted: {name} {}{note}\n",
                key.fingerprint()
            ))?)
        }
        Command::Trusted => {
            let peers = Peers::load(&paths.state_dir).context("cannot read the trusted keys")?;
            let lines = peers.iter().map(|(name, key)| format!("{name} {key}\n"));
            Ok(output::print(&lines.collect::<String>())?)
        }
        Command::Untrust { name } => {
            let key = wslnet_link::untrust(&paths.state_dir, &name).context("cannot withdraw the trust")?;
            Ok(output::print(&format!(
                "no longer trusted: {name} {}\n",
                key.fingerprint()
            ))?)
        }
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

fn ask<T: DeserializeOwned>(paths: &Paths, ask: Ask) -> anyhow::Result<T> {
    let endpoint = Endpoint::in_run_dir(&paths.run_dir, run::NAME);
    let answer = runtime()?.block_on(control::call::<_, Answer<T>>(&endpoint, &ask, ANSWER_TIME))?;
    Result::from(answer).map_err(anyhow::Error::msg)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}
