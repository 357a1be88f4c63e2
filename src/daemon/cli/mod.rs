//! The command line of `wslnetd`. Exit codes: 0 done, 1 could not, 2 asked wrongly.

mod show;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use serde::de::DeserializeOwned;
use wslnet_console::control::{Answer, Endpoint, call};
use wslnet_console::diagnose::{Reports, read_file};
use wslnet_console::text::clean;
use wslnet_console::{log, output};
use wslnet_link::PublicKey;

use crate::config::{self, ConfigFiles};
use crate::containers::reader;
use crate::control::{self, Ask, Reloaded};
use crate::doctor;
use crate::hosts::helper;
use crate::listeners::handover;
use crate::memory;
use crate::pair::{self, PairArgs};
use crate::push::COMPANION;
use crate::report::{Row, Selectors, StatusReport, Walk};
use crate::run::{self, Places};
use crate::systemd;

/// How long a running daemon may take to answer a command.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// The longest name of a file that is shown, in characters.
const NAME_CHARS: usize = 1024;

/// Makes what listens in this WSL2 distro reachable from Windows and the local network.
#[derive(Debug, Parser)]
#[command(name = "wslnetd", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    places: PlaceArgs,
}

#[derive(Debug, Args)]
struct PlaceArgs {
    /// The configuration file [default: /etc/wslnetd/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the key and the trusted key are kept
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/wslnetd")]
    state_dir: PathBuf,
    /// Where the running daemon can be reached
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/wslnetd")]
    run_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run {
        /// Where wslnet-companion listens [default: port 9756 of the default gateway]
        #[arg(long, value_name = "IP:PORT")]
        companion: Option<SocketAddr>,
    },
    /// Show what the running daemon is doing
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the listeners of this distro and where they can be reached
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Also list the listeners of other distros
        #[arg(long)]
        all: bool,
        /// Print the labels of each listener
        #[arg(long)]
        labels: bool,
    },
    /// Print the labels of what listens on a port, as selectors of the configuration take them
    Labels {
        /// The port
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say why a port can or cannot be reached, step by step from the socket to the network
    Explain {
        /// The port
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the configuration and print everything that is wrong with it
    Check {
        /// One file alone [default: the daemon's, with the files of config.d beside it]
        file: Option<PathBuf>,
    },
    /// Let the running daemon read its configuration again
    Reload,
    /// Let this distro and the companion on Windows learn each other's keys, and wait until they are connected
    Pair(PairArgs),
    /// Forget the companion's key; the daemon leaves it within a second
    Unpair,
    /// Check everything that the way from this distro to Windows needs, and say what to do about what is wrong
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print this distro's public key, for `wslnet-companion trust NAME KEY`; it is made at the first call
    Key,
    /// Trust the companion's key, as printed by `wslnet-companion key`
    Trust {
        /// The key: 64 hex digits
        key: PublicKey,
    },
    /// Tell the daemon of the containers of one engine; for wslnetd-engines.socket
    #[command(hide = true)]
    Containers,
    /// Open the kernel's tracepoints for the daemon; for wslnetd.service
    #[command(hide = true)]
    Tracepoints,
    /// Put names into /etc/hosts; for wslnetd-hosts.socket
    #[command(hide = true)]
    Hosts {
        /// Take all that wslnetd put there out of it; for uninstallers
        #[arg(long)]
        remove: bool,
    },
}

/// Runs the program with the process's own arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli) {
        Ok(code) => code,
        Err(error) => {
            output::report_error("wslnetd", error.as_ref());
            if error.is::<run::ConfigRefused>() && systemd::is_our_manager() {
                return ExitCode::from(systemd::EX_CONFIG);
            }
            output::Exit::Failure.into()
        }
    }
}

fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    let PlaceArgs {
        config,
        state_dir,
        run_dir,
    } = cli.places;
    let places = Places {
        config_named: config.is_some(),
        config: config.unwrap_or_else(|| config::STANDARD_PATH.into()),
        state_dir,
        run_dir,
    };
    let done: anyhow::Result<()> = match cli.command {
        Command::Pair(args) => return pair::run(&places, args),
        Command::Unpair => pair::unpair(&places),
        Command::Doctor { json } => return doctor::run(&places, json),
        Command::Run { companion } => {
            memory::keep_little();
            let _log = log::init("WSLNETD_LOG")?;
            runtime()?.block_on(run::run(&places, companion))
        }
        Command::Status { json } => {
            let status = ask::<StatusReport>(&places, Ask::Status)?;
            Ok(if json {
                output::print_json(&status)
            } else {
                output::print(&show::status(&status))
            }?)
        }
        Command::List { json, all, labels } => {
            let rows = ask::<Vec<Row>>(&places, Ask::List { all })?;
            Ok(match rows.as_slice() {
                rows if json => output::print_json(rows),
                [] => output::print("Nothing listens in this distro.\n"),
                rows if labels => output::print(&show::labelled(rows)),
                rows => output::print_table(&show::list(rows)),
            }?)
        }
        Command::Labels { port, json } => {
            let selectors = ask::<Vec<Selectors>>(&places, Ask::Labels { port })?;
            Ok(match selectors.as_slice() {
                selectors if json => output::print_json(selectors),
                [] => {
                    bail!("nothing of this distro listens on port {port}; `wslnetd explain {port}` says more")
                }
                selectors => output::print(&show::selectors(selectors)),
            }?)
        }
        Command::Explain { port, json } => {
            let walk = ask::<Walk>(&places, Ask::Explain { port })?;
            Ok(if json {
                output::print_json(&walk)
            } else {
                output::print(&show::walk(&walk))
            }?)
        }
        Command::Check { file } => check(file, &places),
        Command::Reload => {
            if let Some(report) = ask::<Reloaded>(&places, Ask::Reload)?.refused {
                output::print_to_stderr(&report);
                bail!("the changed configuration was refused; the former one stays in force");
            }
            Ok(output::print("wslnetd has read its configuration again\n")?)
        }
        Command::Key => {
            let is_new = !places.state_dir.join(wslnet_link::KEY_FILE).exists();
            let key = wslnet_link::load_or_create(&places.state_dir).context("cannot use the key")?;
            if is_new {
                output::print_to_stderr(
                    "a new key was made; the other side learns it by `sudo wslnetd pair`, or `wslnet-companion trust NAME KEY` on Windows\n",
                );
            }
            Ok(output::print(&format!("{}\n", key.public()))?)
        }
        Command::Trust { key } => {
            let before =
                wslnet_link::trust(&places.state_dir, COMPANION, key).context("cannot trust the key")?;
            let note = match before {
                Some(before) if before != key => "; its former key is no longer trusted",
                _ => "",
            };
            Ok(output::print(&format!(
                "trusted: {COMPANION} {}{note}\n",
                key.fingerprint()
            ))?)
        }
        Command::Containers => reader::run(),
        Command::Tracepoints => handover::give(),
        Command::Hosts { remove } => helper::run(remove),
    };
    done.map(|()| output::Exit::Ok.into())
}

/// Checks one file, or all that the daemon would read.
fn check(file: Option<PathBuf>, places: &Places) -> anyhow::Result<()> {
    let shown = file.as_ref().unwrap_or(&places.config).display().to_string();
    let sources = match &file {
        Some(file) => read_file(file)
            .map(|source| source.into_iter().collect())
            .map_err(Reports::from),
        None => ConfigFiles::new(places.config.clone(), false).read(),
    };
    if !file.as_ref().unwrap_or(&places.config).exists() {
        bail!("{shown} does not exist: wslnetd would run with its defaults");
    }
    let parsed = sources.and_then(|sources| {
        let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
        config::parse(sources).map(|config| (names, config))
    });
    match parsed {
        Ok((names, config)) => {
            for warning in config::warnings(&config) {
                output::print_to_stderr(&format!("warning: {warning}\n"));
            }
            // Each by its name: somebody who has written a file wants to see that it counts.
            let lines = names
                .iter()
                .map(|name| format!("{}: no mistakes\n", clean(name, NAME_CHARS)));
            Ok(output::print(&lines.collect::<String>())?)
        }
        Err(reports) => {
            output::print_to_stderr(&reports.render(output::stderr_is_terminal()));
            bail!("{}", reports.summary())
        }
    }
}

fn ask<T: DeserializeOwned>(places: &Places, ask: Ask) -> anyhow::Result<T> {
    let endpoint = Endpoint::in_run_dir(&places.run_dir, control::NAME);
    let answer = runtime()?.block_on(call::<_, Answer<T>>(&endpoint, &ask, ANSWER_TIME))?;
    Result::from(answer).map_err(anyhow::Error::msg)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}
