//! The companion's program on a drive of Windows, and how to run it from here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::wsl::Question;

/// Its name.
const PROGRAM: &str = "wslnet-companion.exe";
/// Where an administrator installs it, below the drive of Windows.
const INSTALLED: &str = "Program Files/wslnet";
/// The file that may name another folder for the drives.
const WSL_CONF: &str = "/etc/wsl.conf";
/// Where the drives are otherwise.
const DRIVES: &str = "/mnt/";
/// How long the drives may take: a dead one hangs whoever looks.
const LOOK_LIMIT: Duration = Duration::from_secs(3);
/// How long a pairing may take: the companion gives the distro a minute, Windows gives people two to say yes to an
/// administrator's part, and the companion waits ten seconds for the session.
const PAIR_LIMIT: Duration = Duration::from_secs(240);
/// How often to look whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// `ENOEXEC`: no program of Linux, and nobody runs those of Windows.
const NO_EXEC: i32 = nix::libc::ENOEXEC;

/// Why Windows' half cannot be started from here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// There is no drive of Windows.
    #[error("the drive of Windows is not at {}: it is unmounted, or `[automount]` in /etc/wsl.conf is off", .0.display())]
    NoDrive(PathBuf),
    /// The drive does not answer.
    #[error("the drive of Windows at {} does not answer", .0.display())]
    DeadDrive(PathBuf),
    /// The drive is there, the program not.
    #[error("{PROGRAM} is not installed below {}: install it, or say where it is by --companion PATH", .0.display())]
    NotInstalled(PathBuf),
    /// The name is not known.
    #[error("Windows' name for this distro is not known ({0}): set distro = \"NAME\" in the configuration")]
    Nameless(String),
    /// Programs of Windows do not run here.
    #[error(
        "programs of Windows do not run here: interop is off (`[interop] enabled` in /etc/wsl.conf), or its entry in \
         /proc/sys/fs/binfmt_misc is gone (`wsl --shutdown` brings it back)"
    )]
    NoInterop,
    /// It was not started for another reason.
    #[error("cannot run {}", program.display())]
    Start {
        /// What was to run.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It did not end, and was killed.
    #[error("{} did not end within {PAIR_LIMIT:?}", .0.display())]
    TimedOut(PathBuf),
}

/// Finds the program where `install` puts it, which takes an administrator of Windows. Copies elsewhere are not looked for: whoever may write
/// there, on the drive also every user of this distro, could have root run a program of Linux under that name.
pub(crate) fn find() -> Result<PathBuf, StartError> {
    let drive = drive();
    let (sender, receiver) = mpsc::channel();
    let place = drive.clone();
    // A dead drive keeps the thread, not the command.
    thread::Builder::new()
        .name("drive".to_owned())
        .spawn(move || sender.send(find_below(&place)).unwrap_or_default())
        .map_err(|source| StartError::Start {
            program: drive.clone(),
            source,
        })?;
    receiver
        .recv_timeout(LOOK_LIMIT)
        .unwrap_or(Err(StartError::DeadDrive(drive)))
}

/// Drive C of Windows: where WSL says, or else where its configuration says.
pub(crate) fn drive() -> PathBuf {
    let program = ["/usr/bin/wslpath", "/bin/wslpath"].map(PathBuf::from);
    let asked = program
        .into_iter()
        .find(|path| path.exists())
        .and_then(|program| {
            let question = Question {
                program,
                arguments: &["-u", r"C:\"],
                limit: LOOK_LIMIT / 2,
            };
            question.ask().ok()
        });
    match asked.map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(drive) => drive,
        None => Path::new(&drives_of(&fs::read_to_string(WSL_CONF).unwrap_or_default())).join("c"),
    }
}

/// The folder of the drives, as `wsl.conf` says: `root` in the section `automount`.
fn drives_of(conf: &str) -> String {
    setting(conf, "automount", "root").unwrap_or_else(|| DRIVES.to_owned())
}

/// A setting of `wsl.conf`; of several the last one.
pub(crate) fn setting(conf: &str, section: &str, key: &str) -> Option<String> {
    let mut inside = false;
    let mut found = None;
    for line in conf.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = name.trim().eq_ignore_ascii_case(section);
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside)
            && name.trim().eq_ignore_ascii_case(key)
        {
            let value = value.trim().trim_matches('"');
            found = Some(value.to_owned());
        }
    }
    found
}

fn find_below(drive: &Path) -> Result<PathBuf, StartError> {
    if fs::read_dir(drive).is_ok_and(|mut entries| entries.next().is_none()) || !drive.is_dir() {
        return Err(StartError::NoDrive(drive.to_owned()));
    }
    let installed = drive.join(INSTALLED).join(PROGRAM);
    if installed.is_file() {
        Ok(installed)
    } else {
        Err(StartError::NotInstalled(drive.to_owned()))
    }
}

/// Runs `wslnet-companion.exe pair NAME` on Windows. What it prints is shown as it comes; its exit code becomes ours.
pub(super) fn pair(program: &Path, distro: &str) -> Result<ExitCode, StartError> {
    let failed = |source: io::Error| match source.raw_os_error() {
        Some(NO_EXEC) => StartError::NoInterop,
        _ => StartError::Start {
            program: program.to_owned(),
            source,
        },
    };
    let mut child = Command::new(program)
        // A name that looks like an option is one that the companion refuses, as a name.
        .args(["pair", "--", distro])
        // A folder of Windows: its programs cannot stand in one of Linux.
        .current_dir(program.parent().unwrap_or(Path::new("/")))
        .stdin(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let end = Instant::now() + PAIR_LIMIT;
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(code_of(status));
        }
        if Instant::now() >= end {
            // Fails only if it has just ended.
            child.kill().unwrap_or_default();
            child.wait().map_err(failed)?;
            return Err(StartError::TimedOut(program.to_owned()));
        }
        thread::sleep(POLL);
    }
}

/// The exit code of a program; of one that was killed, that of a failure.
fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(wslnet_console::output::Exit::Failure as u8))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn put(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "MZ").unwrap();
    }

    #[test]
    fn the_installed_program_is_found_and_a_copy_that_its_user_can_exchange_is_not() {
        let drive = tempfile::tempdir().unwrap();
        let drive = drive.path();
        assert!(matches!(
            find_below(&drive.join("c")),
            Err(StartError::NoDrive(_))
        ));
        assert!(
            matches!(find_below(drive), Err(StartError::NoDrive(_))),
            "an empty mount point"
        );
        fs::create_dir_all(drive.join("Users/Public")).unwrap();
        assert!(matches!(find_below(drive), Err(StartError::NotInstalled(_))));

        put(&drive.join("Users/ann/AppData/Local/wslnet").join(PROGRAM));
        assert!(matches!(find_below(drive), Err(StartError::NotInstalled(_))));

        let installed = drive.join(INSTALLED).join(PROGRAM);
        put(&installed);
        assert_eq!(find_below(drive).unwrap(), installed);
    }

    #[test]
    fn settings_of_wsl_conf_are_found_in_their_section() {
        let conf = "# comment\n[network]\nroot = /no\n[ automount ]\nenabled=true\nroot = \"/windir/\"\n[interop]\r\nenabled = false\r\n";

        assert_eq!(drives_of(conf), "/windir/");
        assert_eq!(drives_of("[automount]\nmountFsTab=true\n"), DRIVES);
        assert_eq!(setting(conf, "interop", "Enabled").as_deref(), Some("false"));
        assert_eq!(setting(conf, "boot", "systemd"), None);
        assert_eq!(setting("root=/no\n[automount", "automount", "root"), None);
    }

    #[test]
    fn a_program_that_nobody_can_run_is_told_as_missing_interop() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join(PROGRAM);
        let made = Command::new("/bin/sh")
            .args(["-c", "printf 'MZ\\220\\000' >\"$0\" && chmod 755 \"$0\""])
            .arg(&program)
            .status();
        assert!(made.unwrap().success());

        assert!(matches!(pair(&program, "Ubuntu"), Err(StartError::NoInterop)));
        assert!(matches!(
            pair(&place.path().join("gone.exe"), "Ubuntu"),
            Err(StartError::Start { .. })
        ));
    }
}
