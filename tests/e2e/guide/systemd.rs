//! The chapters that speak of systemd, in a distro that has a real one.

use super::play;
use super::stage::{INSTALLED, SUDO, Stage};
use super::text::Prompt;
use crate::bench::{Companion, Machine, Ran, SOON, SystemdDistro, WINDOWS6, World, check, eventually};
use crate::systemd::paired;

super::chapters! { under_systemd:
    changing_the_configuration = "Changing the configuration",
    is_everything_in_order = "Is everything in order?",
    loopback = "Services that listen on 127.0.0.1",
    a_unit = "In a unit of systemd",
}

fn under_systemd(title: &str) {
    let world = World::new();
    world.windows.net.ip(&format!("addr del {WINDOWS6}/64 dev vlan0"));
    let (companion, distro) = paired(&world);
    distro.write("/usr/local/bin/sudo", &format!("#!/bin/sh\n{SUDO}\n"));
    distro.run(&["chmod", "0755", "/usr/local/bin/sudo"]).ok();
    distro.write(
        "/etc/wslnetd/config.toml",
        &format!("network-mode = \"nat\"\n{INSTALLED}"),
    );
    distro.systemctl(&["start", "wslnetd.service"]).ok();
    eventually(SOON, || {
        let status = distro.status()?;
        check(status["companion"]["state"] == "connected", || status.to_string())
    });
    let mut stage = Booted {
        phone: Machine::new(world.client.net.clone(), &world.logs(), ""),
        distro,
        _companion: companion,
        services: 0,
    };
    play(title, &mut stage);
}

/// A distro under systemd.
struct Booted<'w> {
    phone: Machine,
    distro: SystemdDistro,
    _companion: Companion<'w>,
    services: u32,
}

impl Stage for Booted<'_> {
    fn run(&self, at: Prompt, line: &str) -> Ran {
        let line = format!("exec 2>&1\n{line}");
        let line = ["/bin/sh", "-c", &line];
        match at {
            Prompt::Distro => self.distro.run(&line),
            Prompt::Phone => self.phone.run(&line),
            Prompt::Other | Prompt::Windows => panic!("nobody is there in guide::systemd"),
        }
    }

    fn start(&mut self, at: Prompt, line: &str) {
        assert_eq!(at, Prompt::Distro, "services of others are for the bench");
        self.services += 1;
        let unit = format!("guide-{}", self.services);
        let line = format!("exec env {line}");
        self.distro.start(&unit, &["/bin/sh", "-c", &line]);
    }

    fn end(&self, _: Prompt, job: usize) {
        self.distro.systemctl(&["stop", &format!("guide-{job}")]).ok();
    }

    fn lay(&self, name: &str, text: &str) {
        self.distro.write(&format!("/etc/wslnetd/config.d/{name}"), text);
    }

    fn install(&self, name: &str, text: &str) {
        self.distro.write(&format!("/etc/systemd/system/{name}"), text);
    }
}
