//! Windows as far as Wine carries it: the Windows program in the Windows namespace of a world.
//!
//! Under Wine the sockets belong to the wineserver, so each world has its own prefix, whose wineserver starts inside its
//! namespace. A prefix is copied with hard links, which takes a moment.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine::PATH;
use super::wait::{SOON, check, eventually};
use super::{CONTROL_PORT, Client, GATEWAY, Program, World, require};

/// The Windows program of a world.
#[derive(Debug)]
pub struct Windows<'w> {
    world: &'w World,
    exe: PathBuf,
    prefix: PathBuf,
}

impl<'w> Windows<'w> {
    /// A world for it. Its files lie beside the prefix, since hard links do not cross file systems.
    pub fn world() -> World {
        let prefix = from_environment("WSLNET_WINEPREFIX");
        World::in_folder(prefix.parent().expect("a prefix has a parent"))
    }

    /// Makes the prefix of `world`, which was made by [`Windows::world`].
    pub fn new(world: &'w World) -> Self {
        let model = from_environment("WSLNET_WINEPREFIX");
        let prefix = world.new_folder("prefix");
        let copy = |what: &str, how: &str| {
            let from = model.join(what);
            let done = Command::new("cp").arg(how).arg(&from).arg(&prefix).status();
            assert!(done.expect("run cp").success(), "copy {}", from.display());
        };
        copy("drive_c", "-al");
        for plain in [
            "system.reg",
            "user.reg",
            "userdef.reg",
            "dosdevices",
            ".update-timestamp",
        ] {
            copy(plain, "-a");
        }
        Self {
            world,
            exe: from_environment("WSLNET_WINDOWS_EXE"),
            prefix,
        }
    }

    /// Runs a verb to its end and hands out what it printed.
    pub fn cli(&self, args: &[&str]) -> String {
        let out = self.world.logs().join("wine-output");
        let line = format!("exec \"$@\" >{}", out.display());
        let mut command = self.command(&["/bin/sh", "-c", &line, "sh"], args);
        command.env("WINEDEBUG", "-all");
        let mut ran = self.world.windows.start("wine", command);
        let status = ran.wait();
        assert!(
            status.success(),
            "wslnet-companion {args:?} ended with {status}: {}",
            ran.log()
        );
        std::fs::read_to_string(out)
            .expect("its output")
            .trim()
            .to_owned()
    }

    /// The hosts file of this Windows, as Linux sees it.
    pub fn hosts(&self) -> PathBuf {
        self.prefix.join("drive_c/windows/system32/drivers/etc/hosts")
    }

    /// Starts the companion and waits until it listens.
    pub fn start(&self) -> Program {
        let listen = format!("{GATEWAY}:{CONTROL_PORT}");
        let command = self.command(&[], &["run", "--listen", &listen]);
        let mut program = self.world.windows.start("companion", command);
        let here = Client::new(self.world.windows.net.clone());
        eventually(SOON * 3, || {
            check(program.is_alive(), || format!("it ended: {}", program.log()))?;
            let open = here.open_among(GATEWAY, &[CONTROL_PORT]);
            check(!open.is_empty(), || {
                format!("it does not listen: {}", program.log())
            })
        });
        program
    }

    fn command(&self, before: &[&str], args: &[&str]) -> Command {
        let folder = r"C:\companion";
        let mut line: Vec<&str> = before.to_vec();
        line.push("wine");
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).arg(&self.exe).args(args);
        for (flag, name) in [
            ("--config", "companion.toml"),
            ("--state-dir", "state"),
            ("--run-dir", "run"),
        ] {
            command.arg(flag).arg(format!(r"{folder}\{name}"));
        }
        let on_disk = self.prefix.join("drive_c/companion");
        if !on_disk.exists() {
            std::fs::create_dir(&on_disk).expect("a folder");
            std::fs::write(on_disk.join("companion.toml"), "").expect("its config");
        }
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/root")
            .env("WINEPREFIX", &self.prefix)
            .env("WINEDEBUG", "-all")
            .current_dir("/");
        command
    }
}

fn from_environment(name: &str) -> PathBuf {
    let value = std::env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let remedy = "run scripts/test.sh wine, which builds the Windows program and the Wine prefix";
    require(name, Path::new(&value).exists(), remedy);
    value
}
