//! Windows as far as Wine carries it: the Windows program in the Windows namespace of a world.
//!
//! Under Wine the sockets belong to the wineserver, so each world has its own prefix, whose wineserver starts inside its
//! namespace. A prefix is copied with hard links, which takes a moment.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine::PATH;
use super::wait::{SOON, check, eventually};
use super::{CONTROL_PORT, Client, Distro, Distros, GATEWAY, Interop, Program, World, require};

const INTEROP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/bench/wsl/windows.py");

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
        std::fs::create_dir(prefix.join("drive_c/companion")).expect("a folder");
        let windows = Self {
            world,
            exe: from_environment("WSLNET_WINDOWS_EXE"),
            prefix,
        };
        windows.configure("");
        windows
    }

    /// The program that is tried, on this machine.
    pub fn exe(&self) -> &Path {
        &self.exe
    }

    /// Runs a verb to its end and hands out what it printed.
    pub fn cli(&self, args: &[&str]) -> String {
        self.run(&self.exe, &self.with_places(args))
    }

    /// Switches it on, for programs that nobody waits for: otherwise this Windows ends with the last program that somebody started.
    /// What starts with Windows has been started when this returns.
    pub fn switch_on(&self) {
        let mut command = self.environment(Command::new("wineserver"));
        command.arg("-p");
        let status = self.world.windows.start("wineserver", command).wait();
        assert!(status.success(), "wineserver -p ended with {status}");
        self.system("reg", &["query", r"HKLM\SYSTEM"]);
    }

    /// Runs a verb with the program's own places, and hands out what it printed.
    pub fn bare(&self, args: &[&str]) -> String {
        self.run(&self.exe, &strings(args))
    }

    /// Runs a program of Windows', and hands out what it printed.
    pub fn system(&self, program: &str, args: &[&str]) -> String {
        self.run(Path::new(program), &strings(args))
    }

    /// The same, whether it succeeds or not.
    pub fn try_system(&self, program: &str, args: &[&str]) -> (bool, String) {
        self.try_run(Path::new(program), &strings(args))
    }

    /// Runs a verb with the program's own places that is to fail, and hands out what it says.
    pub fn refused(&self, args: &[&str]) -> String {
        let (done, said) = self.try_run(&self.exe, &strings(args));
        assert!(!done, "{args:?} was done: {said}");
        said
    }

    /// Replaces companion.toml. Under Wine every network is public, so all are allowed unless the text says which.
    pub fn configure(&self, text: &str) {
        let networks = if text.contains("networks") {
            ""
        } else {
            "networks = \"any\"\n"
        };
        let text = format!("{networks}{text}");
        std::fs::write(self.file("companion/companion.toml"), text).expect("write the config");
    }

    /// A file of drive C.
    pub fn file(&self, path: &str) -> PathBuf {
        self.prefix.join("drive_c").join(path)
    }

    /// The folder of Windows' variable LOCALAPPDATA.
    pub fn local_app_data(&self) -> PathBuf {
        self.file("users/root/AppData/Local")
    }

    /// Runs Windows' own `reg.exe` and hands out what it printed.
    pub fn reg(&self, args: &[&str]) -> String {
        self.run(Path::new("reg"), &strings(args))
    }

    /// All that is in a key of the registry and below it, as `reg export` writes it.
    pub fn export(&self, key: &str) -> Vec<u8> {
        self.reg(&["export", key, r"C:\export.reg", "/y"]);
        std::fs::read(self.file("export.reg")).expect("the exported key")
    }

    /// Has the stand-in for IP Helper do something: `install`, `start` or `stop`.
    pub fn ip_helper(&self, verb: &str) {
        self.run(&from_environment("WSLNET_IPHLPSVC_EXE"), &strings(&[verb]));
    }

    /// Registers distros as WSL does, and puts the stand-in for `wsl.exe` where Windows has the real one.
    pub fn install_wsl(&self, distros: &[&Distro]) -> Interop {
        const LXSS: &str = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Lxss";
        for (at, distro) in distros.iter().enumerate() {
            let key = format!(r"{LXSS}\{{00000000-0000-0000-0000-{at:012}}}");
            self.reg(&["add", &key, "/v", "DistributionName", "/d", &distro.name, "/f"]);
            self.reg(&["add", &key, "/v", "Version", "/t", "REG_DWORD", "/d", "2", "/f"]);
        }
        let program = self.file("windows/system32/wsl.exe");
        std::fs::copy(from_environment("WSLNET_WSL_EXE"), program).expect("put wsl.exe there");
        let distros = Distros::new(distros);
        let service = move |arguments: &[String], input: &[u8]| distros.wsl(arguments, input);
        Interop::under_wine(&self.world.windows.net, Box::new(service))
    }

    /// Runs a verb to its end, and hands out its exit code and all that it printed.
    pub fn try_cli(&self, args: &[&str]) -> (i32, String) {
        let out = self.world.logs().join("wine-output");
        let line = format!("exec \"$@\" >{} 2>&1", out.display());
        let mut command = self.environment(Command::new("/bin/sh"));
        command.args(["-c", &line, "sh", "wine"]).arg(&self.exe);
        command.args(self.with_places(args));
        let status = self.world.windows.start("wine", command).wait();
        let printed = std::fs::read(out).expect("its output");
        (
            status.code().unwrap_or(-1),
            String::from_utf8_lossy(&printed).into_owned(),
        )
    }

    /// Ends all of Windows at once. What it has not put on the disk is lost.
    pub fn cut_power(&self) {
        let mut command = self.environment(Command::new("wineserver"));
        command.arg("-k9");
        let status = self.world.windows.start("wineserver", command).wait();
        assert!(status.success(), "wineserver -k9 ended with {status}");
    }

    /// Runs a Windows program to its end and hands out what it printed.
    fn run(&self, program: &Path, args: &[String]) -> String {
        let (done, said) = self.try_run(program, args);
        assert!(done, "{} {args:?} failed: {said}", program.display());
        said
    }

    /// Runs a Windows program to its end, and says whether it succeeded: then what it printed, or else what it complained of.
    fn try_run(&self, program: &Path, args: &[String]) -> (bool, String) {
        let [out, complaints] = ["wine-output", "wine-complaints"].map(|name| self.world.logs().join(name));
        let line = format!("exec \"$@\" >{} 2>{}", out.display(), complaints.display());
        let mut command = self.environment(Command::new("/bin/sh"));
        command.args(["-c", &line, "sh", "wine"]).arg(program).args(args);
        let done = self
            .world
            .windows
            .start("wine", command)
            .wait_within(SOON * 3)
            .success();
        let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        let said = if done {
            read(&out)
        } else {
            read(&complaints) + &read(&out)
        };
        (done, said.trim().to_owned())
    }

    /// The hosts file of this Windows, as Linux sees it.
    pub fn hosts(&self) -> PathBuf {
        self.prefix.join("drive_c/windows/system32/drivers/etc/hosts")
    }

    /// Lets its distro in both ways, as WSL does (`wsl/`): its programs start from there, and `wsl.exe` starts those there.
    /// `run` is the distro's /run/WSL.
    pub fn open_interop(&self, run: &Path) -> Program {
        let wsl = from_environment("WSLNET_WSL_EXE");
        // A new file, because the prefix shares its files with the one it was copied from.
        std::fs::copy(wsl, self.file("windows/system32/wsl.exe")).expect("lay wsl.exe");
        let distro =
            r"HKCU\Software\Microsoft\Windows\CurrentVersion\Lxss\{d1570000-0000-4000-8000-000000000001}";
        self.reg(&["add", distro, "/v", "DistributionName", "/d", super::UBUNTU, "/f"]);
        self.reg(&["add", distro, "/v", "Version", "/t", "REG_DWORD", "/d", "2", "/f"]);
        let mut command = self.environment(Command::new("/usr/bin/python3"));
        command.arg(INTEROP).arg(run).arg(self.file(""));
        let program = self.world.windows.start("interop", command);
        eventually(SOON, || {
            check(run.join("1_interop").exists(), || {
                format!("it does not listen: {}", program.log())
            })
        });
        program
    }

    /// Starts the companion and waits until it listens.
    pub fn start(&self) -> Program {
        let listen = format!("{GATEWAY}:{CONTROL_PORT}");
        let mut command = self.environment(Command::new("wine"));
        command
            .arg(&self.exe)
            .args(self.with_places(&["run", "--listen", &listen]));
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

    /// The arguments, and where the companion has its files.
    fn with_places(&self, args: &[&str]) -> Vec<String> {
        let mut all = strings(args);
        for (flag, name) in [
            ("--config", "companion.toml"),
            ("--state-dir", "state"),
            ("--run-dir", "run"),
        ] {
            all.extend([flag.to_owned(), format!(r"C:\companion\{name}")]);
        }
        all
    }

    fn environment(&self, mut command: Command) -> Command {
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

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn from_environment(name: &str) -> PathBuf {
    let value = std::env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let remedy = "run scripts/test.sh wine, which builds the Windows program and the Wine prefix";
    require(name, Path::new(&value).exists(), remedy);
    value
}
