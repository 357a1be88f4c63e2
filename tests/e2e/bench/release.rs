//! A release as users get it: both programs beside the units and the scripts.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::World;

const PROGRAM: &str = env!("CARGO_BIN_EXE_wslnetd");
const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// Where a distro has it.
pub const RELEASE: &str = "/opt/wslnet";

/// The folder of a release, on this machine.
#[derive(Debug)]
pub struct Release(PathBuf);

impl Release {
    /// Puts one together, with a given program for Windows.
    pub fn new(world: &World, companion: &Path) -> Self {
        let release = Self(world.new_folder("release"));
        for folder in ["systemd", "scripts"] {
            let copied = Command::new("cp")
                .arg("-r")
                .arg(Path::new(PROJECT).join(folder))
                .arg(&release.0)
                .status();
            assert!(copied.expect("run cp").success(), "copy {folder}");
        }
        release.put("wslnetd", &std::fs::read(PROGRAM).expect("the daemon"));
        let companion = std::fs::read(companion).expect("the companion");
        release.put("wslnet-companion.exe", &companion);
        release
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Replaces one of its files.
    pub fn put(&self, name: &str, content: &[u8]) {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("write a file of the release");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("set its mode");
    }

    /// Makes its daemon another build of the same: bytes behind the end change nothing of what it does.
    pub fn rebuild_daemon(&self) {
        let mut program = std::fs::read(self.0.join("wslnetd")).expect("the daemon");
        program.extend(b"another build");
        self.put("wslnetd", &program);
    }
}
