//! pasta, which does for a network namespace what wslnetd does for a VM: it looks for listeners and relays their ports.
//!
//! It is started as pasta(1) shows it for a namespace that is there already, with all that it does by default: TCP ports are
//! forwarded both ways as listeners come, UDP too. `--config-net` configures its interface in the namespace, `--runas 0` keeps it
//! root, so that it can enter the namespace, and `--no-netns-quit` makes no difference but that it does not watch for its end.
//!
//! It has a guest of its own, since it copies its host's addresses into it. Connections from Windows' own loopback are
//! spliced to the guest's loopback; those from the network go through its tap interface.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};

use crate::e2e::{Machine, NetNs, World};

/// Where it is when it is installed.
const FILE: &str = "/usr/bin/pasta";

/// A namespace for pasta, and the machine in it.
#[derive(Debug)]
pub struct Guest {
    /// Its network by a name in the file system: pasta gives up the right to look into other processes first.
    name: PathBuf,
    /// Its processes.
    pub machine: Machine,
}

/// A running pasta; it ends when this goes.
#[derive(Debug)]
pub struct Pasta<'w> {
    world: &'w World,
    child: Child,
}

impl Guest {
    /// A guest, without a network yet.
    ///
    /// # Errors
    /// Where pasta is not installed.
    pub fn new(world: &World) -> anyhow::Result<Self> {
        ensure!(
            std::path::Path::new(FILE).exists(),
            "{FILE} is not installed (Debian package passt)"
        );
        let net = NetNs::new();
        let name = world.new_folder("guest").join("net");
        std::fs::write(&name, "")?;
        mount(&["--bind", &net.path(), path_text(&name)])?;
        let machine = Machine::new(Arc::clone(&net), &world.logs(), "");
        Ok(Self { name, machine })
    }

    /// Starts pasta for it, on Windows.
    pub fn start<'w>(&self, world: &'w World) -> anyhow::Result<Pasta<'w>> {
        let log = std::fs::File::create(world.logs().join("pasta.log"))?;
        // It copies the addresses of the interface with the default route.
        world.windows.net.ip("route replace default via 192.168.50.2");
        let mut command = Command::new(FILE);
        command
            .args([
                "--foreground",
                "--netns-only",
                "--runas",
                "0",
                "--config-net",
                "--no-netns-quit",
            ])
            .args(["--netns", path_text(&self.name)])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = world
            .windows
            .net
            .enter(|| command.spawn())
            .context("cannot start pasta")?;
        Ok(Pasta { world, child })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.name).status());
    }
}

fn mount(args: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("mount")
        .args(args)
        .status()
        .context("cannot run mount")?;
    ensure!(done.success(), "mount {args:?} failed");
    Ok(())
}

fn path_text(path: &std::path::Path) -> &str {
    path.to_str().expect("the bench's own folders are in UTF-8")
}

impl Pasta<'_> {
    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Pasta<'_> {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        self.world.windows.net.ip("route del default");
    }
}
