//! Windows with a distro of WSL as far as this machine carries it: the distro under its own systemd, Windows under Wine, and
//! between them a stand-in for interop and for `wsl.exe` (`wsl/` and `tests/wsl`, where their limits stand).

use super::wait::{SOON, check, eventually};
use super::{CONTROL_PORT, GATEWAY, Program, RELEASE, Ran, Release, SystemdDistro, UBUNTU, Windows, World};

/// How long an installation may take, in seconds. Each Windows program takes Wine a second to start.
const INSTALL_SECONDS: u32 = 120;

/// Both, with a release in the distro. Nothing of it is installed.
#[derive(Debug)]
pub struct Wsl<'w> {
    /// The distro. It has a user `ann` who may use sudo.
    pub distro: SystemdDistro,
    /// What is to be installed.
    pub release: Release,
    /// Windows.
    pub windows: Windows<'w>,
    _interop: Program,
}

impl<'w> Wsl<'w> {
    /// Makes them in a world that was made by [`Windows::world`].
    pub fn new(world: &'w World) -> Self {
        super::require_program("sudo", "sudo");
        let windows = Windows::new(world);
        // A service alone would not keep it on.
        windows.switch_on();
        // Wine has no adapter of WSL's by which the companion would know where to listen, and calls every network public.
        let settings = windows.local_app_data().join("wslnet");
        std::fs::create_dir_all(&settings).expect("the companion's folder");
        let config = format!("networks = \"any\"\nlisten = \"{GATEWAY}:{CONTROL_PORT}\"\n");
        std::fs::write(settings.join("companion.toml"), config).expect("write the config");
        let run = world.new_folder("run-wsl");
        let interop = windows.open_interop(&run);
        let release = Release::new(world, windows.exe());
        let drive = windows.file("");
        let distro = SystemdDistro::bare(world, &run, &[(release.path(), RELEASE), (&drive, "/mnt/c")]);
        distro.run(&["useradd", "--create-home", "ann"]).ok();
        distro.write("/etc/sudoers.d/ann", "ann ALL=(ALL) NOPASSWD: ALL\n");
        distro.start(
            "wsl",
            &["/usr/bin/python3", "/usr/lib/wsl-stand-in/distro.py", UBUNTU],
        );
        eventually(SOON, || {
            check(run.join("distro").exists(), || {
                "wsl.exe would find nobody".to_owned()
            })
        });
        Self {
            distro,
            release,
            windows,
            _interop: interop,
        }
    }

    /// Runs a program in the distro as one of its users, where Windows programs can be started.
    pub fn run_as(&self, user: &str, args: &[&str]) -> Ran {
        let enter = ["/usr/bin/python3", "/usr/lib/wsl-stand-in/enter.py", user];
        self.distro.run_within(INSTALL_SECONDS, &[&enter, args].concat())
    }
}
