//! pasta, which does for a network namespace what wslnetd does for a VM: it looks for listeners and relays their ports.
//!
//! It is started as pasta(1) shows it for a namespace that is there already, with all that it does by default: TCP ports are
//! forwarded both ways as listeners come, UDP too. `--config-net` configures its interface in the namespace, `--runas 0` keeps it
//! root, so that it can enter the namespace, and `--no-netns-quit` makes no difference but that it does not watch for its end.
//!
//! It has a guest of its own, since it copies its host's addresses into it. Connections from Windows' own loopback are
//! spliced to the guest's loopback; those from the network go through its tap interface.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};

use crate::e2e::{Machine, NetNs, World};

/// Where it is when it is installed.
const FILE: &str = "/usr/bin/pasta";

/// A namespace for pasta, and the machine in it.
#[derive(Debug)]
pub struct Guest {
    net: Arc<NetNs>,
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
    /// A guest, without a network yet. None where pasta is not installed.
    pub fn new(world: &World) -> anyhow::Result<Self> {
        ensure!(
            std::path::Path::new(FILE).exists(),
            "{FILE} is not installed (Debian package passt)"
        );
        let net = NetNs::new();
        let machine = Machine::new(Arc::clone(&net), &world.logs(), "");
        Ok(Self { net, machine })
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
            .args(["--netns", &self.net.path()])
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
