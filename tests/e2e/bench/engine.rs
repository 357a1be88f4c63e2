//! Real container engines in a machine: Docker and Podman, without a registry, systemd or resource control.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::wait::{check, eventually};
use super::{Machine, Program, Ran, World, require_program};

/// Docker's own program; another one of that name may come first on the PATH.
const DOCKER: &str = "/usr/bin/docker";
/// What containers are made of.
const BUSYBOX: &str = "/bin/busybox";
/// The only image.
pub const IMAGE: &str = "bench:1";
/// Starting takes a second; a busy machine may take many.
const START: Duration = Duration::from_secs(60);

/// A running engine. It ends when this goes, which has to be before its machine.
#[derive(Debug)]
pub struct Engine {
    _server: Program,
    /// How its command line begins.
    command: Vec<String>,
    /// The control group of its containers, as the outside finds it.
    group: Option<PathBuf>,
}

impl Engine {
    /// Docker, with further flags for its daemon.
    pub fn docker(world: &World, machine: &Machine, flags: &[&str]) -> Self {
        require_program("dockerd", "docker.io");
        require_program("iptables", "iptables");
        let has_cli = Path::new(DOCKER).exists();
        super::require(
            DOCKER,
            has_cli,
            "apt-get install docker.io, or on newer systems also docker-cli",
        );
        let room = room(world, "docker");
        let group = format!("wslnet-e2e-{}-docker-{}", std::process::id(), machine.init());
        use_cgroup_v2(machine);
        let (data, parent) = (
            format!("--data-root={}", room.join("data").display()),
            // A container's group is called as Docker would call it by itself.
            format!("--cgroup-parent=/{group}/docker"),
        );
        let daemon = [
            "dockerd",
            "--host=unix:///run/docker.sock",
            "--storage-driver=vfs",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            &parent,
            &data,
        ];
        let engine = Self {
            _server: machine.spawn("dockerd", &[&daemon, flags].concat()),
            command: vec![DOCKER.to_owned()],
            group: Some(PathBuf::from(format!(
                "/proc/{}/root/sys/fs/cgroup/{group}",
                machine.init()
            ))),
        };
        engine.until_ready(machine);
        engine.import(machine, &room);
        engine
    }

    /// Podman, and its API, which systemd would start on demand.
    pub fn podman(world: &World, machine: &Machine) -> Self {
        for (program, package) in [
            ("podman", "podman"),
            ("conmon", "conmon"),
            ("crun", "crun"),
            ("iptables", "iptables"),
        ] {
            require_program(program, package);
        }
        let room = room(world, "podman");
        let file = |name: &str, text: &str| {
            let path = room.join(name);
            std::fs::write(&path, text).expect("write a config");
            path.display().to_string()
        };
        // The usual limits are higher than what a root without CAP_SYS_RESOURCE may give.
        let containers = file(
            "containers.conf",
            "[containers]\ncgroups = \"disabled\"\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"crun\"\n\
             [network]\nnetwork_backend = \"netavark\"\n",
        );
        let storage = file(
            "storage.conf",
            &format!(
                "[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"/run/containers/storage\"\n",
                room.join("graph").display()
            ),
        );
        let command = vec![
            "/usr/bin/env".to_owned(),
            format!("CONTAINERS_CONF={containers}"),
            format!("CONTAINERS_STORAGE_CONF={storage}"),
            "podman".to_owned(),
        ];
        use_cgroup_v2(machine);
        machine.run(&["mkdir", "-p", "/run/podman"]).ok();
        let mut server = command.iter().map(String::as_str).collect::<Vec<_>>();
        server.extend(["system", "service", "--time=0", "unix:///run/podman/podman.sock"]);
        let engine = Self {
            _server: machine.spawn("podman", &server),
            command: command.clone(),
            group: None,
        };
        engine.until_ready(machine);
        engine.import(machine, &room);
        engine
    }

    /// Runs the engine's own command line.
    pub fn cli(&self, machine: &Machine, args: &[&str]) -> Ran {
        let command = self.command.iter().map(String::as_str);
        machine.run(&command.chain(args.iter().copied()).collect::<Vec<_>>())
    }

    /// Starts a container with a web server on its port 80, and returns when it runs. The page names the container.
    pub fn web(&self, machine: &Machine, name: &str, args: &[&str]) {
        let page = format!("echo {name} >/index.html; exec httpd -f -p 80 -h /");
        let run = ["run", "--detach", "--name", name];
        let inside = [IMAGE, "/bin/sh", "-c", &page];
        self.cli(machine, &[&run, args, &inside].concat()).ok();
    }

    /// Stops a container.
    pub fn stop(&self, machine: &Machine, name: &str) {
        self.cli(machine, &["stop", "--time=0", name]).ok();
    }

    fn until_ready(&self, machine: &Machine) {
        eventually(START, || {
            let seen = self.cli(machine, &["ps"]);
            check(seen.code == 0, || format!("{seen:?}"))
        });
    }

    fn import(&self, machine: &Machine, room: &Path) {
        let (tree, tar) = (room.join("tree"), room.join("image.tar"));
        let (tree, tar) = (tree.display().to_string(), tar.display().to_string());
        let script = "set -e; mkdir -p \"$0/bin\"; cp \"$2\" \"$0/bin/busybox\"; \
                      for name in sh httpd echo sleep; do ln -s busybox \"$0/bin/$name\"; done; tar -C \"$0\" -cf \"$1\" .";
        machine.run(&["/bin/sh", "-c", script, &tree, &tar, BUSYBOX]).ok();
        self.cli(machine, &["import", &tar, IMAGE]).ok();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let Some(group) = &self.group else { return };
        drop(std::fs::write(group.join("cgroup.kill"), "1"));
        // The processes take a moment to go, and what cannot be removed now the next run removes.
        let deadline = std::time::Instant::now() + Duration::from_secs(2);
        while !remove(group) && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whatever the host has. There are no controllers in it for us.
fn use_cgroup_v2(machine: &Machine) {
    let mount = "umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup";
    machine.run(&["/bin/sh", "-c", mount]).ok();
}

fn room(world: &World, name: &str) -> PathBuf {
    super::require(
        BUSYBOX,
        Path::new(BUSYBOX).exists(),
        "apt-get install busybox-static, as scripts/test.sh does",
    );
    world.new_folder(name)
}

/// Removes control groups from the innermost outwards; whether they are gone.
fn remove(group: &Path) -> bool {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    drop(std::fs::remove_dir(group));
    !group.exists()
}
