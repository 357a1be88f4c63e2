//! Where the guide is run: Windows, two distros and a phone, with the programs under the names that the guide uses.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use super::text::Prompt;
use crate::bench::{Distro, Machine, Program, Ran, Rig, WINDOWS6, World};

/// Somewhere to run a chapter.
pub trait Stage {
    /// Types a command and waits for its end. Its complaints are part of its output.
    fn run(&self, at: Prompt, line: &str) -> Ran;
    /// Starts a service.
    fn start(&mut self, at: Prompt, line: &str);
    /// Ends a service, by the number that it has at its prompt, from 1.
    fn end(&self, at: Prompt, job: usize);
    /// Lays a file into `config.d`.
    fn lay(&self, name: &str, text: &str);
    /// Lays a unit of systemd.
    fn install(&self, name: &str, text: &str);
}

/// The configuration that is installed with the daemon.
pub const INSTALLED: &str = include_str!("../../../systemd/config.toml");
/// Everybody here is root already.
pub const SUDO: &str = "exec \"$@\"";
/// The real one; others may come first on the PATH.
const DOCKER: &str = "/usr/bin/docker";
/// There is no systemd, and no unit but the daemon's.
const SYSTEMCTL: &str = "[ \"$*\" = 'reload wslnetd' ] || exit 1\nexec wslnetd reload >/dev/null 2>&1";

/// Network namespaces, without systemd.
pub struct Bench<'w> {
    // Before the machines, which cannot end while they are there.
    services: Vec<(Prompt, Program)>,
    rig: Rig<'w>,
    other: Distro,
    phone: Machine,
    world: &'w World,
    tools: [(Prompt, String); 4],
}

impl<'w> Bench<'w> {
    /// Both distros are connected. Windows has one address, as in the guide.
    pub fn new(world: &'w World) -> Self {
        world.windows.net.ip(&format!("addr del {WINDOWS6}/64 dev vlan0"));
        let mut rig = Rig::new(world);
        rig.distro.configure(INSTALLED);
        // As Windows has one; the names of the guide go there.
        let hosts = world.new_folder("windows-hosts").join("hosts");
        std::fs::write(&hosts, "127.0.0.1 localhost\r\n").expect("write the hosts file");
        rig.companion.start_with_hosts(&hosts.display().to_string());
        rig.distro.start_connected();
        let mut other = rig.another("debian");
        other.start_connected();
        let call = |line: Vec<&str>| format!("exec {} \"$@\"", line.join(" "));
        let of_distro = |distro: &Distro| {
            [
                ("wslnetd", call(distro.place.line(&[]))),
                ("sudo", SUDO.to_owned()),
                ("systemctl", SYSTEMCTL.to_owned()),
                ("docker", call(vec![DOCKER])),
            ]
        };
        let of_windows = [
            ("wslnet-companion", call(rig.companion.place.line(&[]))),
            ("python", call(vec!["python3"])),
        ];
        let tools = [
            (Prompt::Distro, tools(world, "ubuntu", &of_distro(&rig.distro))),
            (Prompt::Other, tools(world, "debian", &of_distro(&other))),
            (Prompt::Windows, tools(world, "windows", &of_windows)),
            (Prompt::Phone, tools(world, "phone", &[])),
        ];
        Self {
            services: Vec::new(),
            phone: Machine::new(world.client.net.clone(), &world.logs(), ""),
            rig,
            other,
            world,
            tools,
        }
    }

    /// The distro in which the guide's `$` is.
    pub fn machine(&self) -> &Machine {
        &self.rig.distro.machine
    }

    fn at(&self, at: Prompt) -> (&Machine, &str) {
        let machine = match at {
            Prompt::Distro => self.machine(),
            Prompt::Other => &self.other.machine,
            Prompt::Windows => &self.world.windows,
            Prompt::Phone => &self.phone,
        };
        let tools = self.tools.iter().find(|(of, _)| *of == at);
        (machine, tools.map_or("", |(_, folder)| folder))
    }
}

impl Stage for Bench<'_> {
    fn run(&self, at: Prompt, line: &str) -> Ran {
        let (machine, tools) = self.at(at);
        machine.run(&["/bin/sh", "-c", &format!("PATH={tools}:$PATH\nexec 2>&1\n{line}")])
    }

    fn start(&mut self, at: Prompt, line: &str) {
        let (machine, tools) = self.at(at);
        let line = format!("PATH={tools}:$PATH\nexec env {line}");
        let name = format!("service-{}", self.services.len());
        let service = machine.spawn(&name, &["/bin/sh", "-c", &line]);
        self.services.push((at, service));
    }

    fn end(&self, at: Prompt, job: usize) {
        let mut here = self.services.iter().filter(|(of, _)| *of == at);
        let (_, service) = here.nth(job - 1).expect("it was started");
        service.signal(Signal::SIGTERM);
    }

    fn lay(&self, name: &str, text: &str) {
        self.rig.distro.place.drop_in(name, text);
    }

    fn install(&self, name: &str, _: &str) {
        panic!("{name} is a unit: this chapter belongs to guide::systemd");
    }
}

/// Lays scripts into a folder of the PATH.
fn tools(world: &World, name: &str, scripts: &[(&str, String)]) -> String {
    let folder = world.new_folder(&format!("tools-{name}"));
    for (script, text) in scripts {
        let path = folder.join(script);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("write a script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("make it executable");
    }
    folder.display().to_string()
}
