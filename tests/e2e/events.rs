//! How the daemon learns of new listeners: from the kernel where that can be had, and by looking where not.

use std::time::Duration;

use crate::bench::{A_SECOND, Distro, Rig, SOON, SystemdDistro, WINDOWS, World, check, eventually, web};

#[test]
fn status_says_that_the_kernel_tells_and_listeners_appear_by_it() {
    let world = World::new();
    let rig = Rig::connected(&world);

    let told = wake_up(&rig.distro);
    let web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);
    web.kill();

    assert!(told.starts_with("events of the kernel"), "{told}");
    rig.client.until_closed(A_SECOND, WINDOWS, 8000);
}

#[test]
fn without_the_right_to_trace_listeners_are_looked_for_and_status_says_why() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    rig.companion.start();
    // All but what tracing takes.
    rig.distro
        .start_without(&["perfmon", "sys_admin", "dac_override", "dac_read_search"]);
    rig.distro.until_connected();

    let told = wake_up(&rig.distro);
    let web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);
    web.kill();

    assert!(told.starts_with("looks ten times a second: "), "{told}");
    assert!(
        told.contains("not permitted") || told.contains("denied"),
        "{told}"
    );
    rig.client.until_closed(A_SECOND, WINDOWS, 8000);
}

#[test]
fn the_unit_is_handed_the_events_and_has_no_right_to_open_any() {
    const TWO: &str = "0000000000080004"; // CAP_DAC_READ_SEARCH is 2, CAP_SYS_PTRACE 19.
    let world = World::new();
    let distro = SystemdDistro::boot(&world, "network-mode = \"nat\"\n");

    distro.systemctl(&["start", "wslnetd.service"]).ok();

    let told = || {
        let status = distro.status()?;
        Ok::<_, String>(status["wake_up"].as_str().unwrap_or_default().to_owned())
    };
    let told_of = |words: &str| {
        eventually(SOON, || {
            let told = told()?;
            check(told.starts_with(words), || told.clone())
        });
    };
    told_of("events of the kernel");
    for set in ["Inh", "Prm", "Eff", "Bnd", "Amb"] {
        let pid = distro.property("MainPID");
        let status = distro.run(&["cat", &format!("/proc/{pid}/status")]).ok();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(&format!("Cap{set}:")));
        assert_eq!(line.map(str::trim), Some(TWO), "{set}");
    }

    // The next daemon gets fresh ones, and no old ones beside them.
    let count = distro.property("NFileDescriptorStore");
    distro.systemctl(&["restart", "wslnetd.service"]).ok();
    told_of("events of the kernel");
    assert_eq!(distro.property("NFileDescriptorStore"), count);
    assert_ne!(count, "0");

    // Killed, it comes back with them, too.
    let pid = distro.property("MainPID");
    distro.run(&["kill", "-KILL", &pid]).ok();
    eventually(SOON, || {
        let now = distro.property("MainPID");
        check(now != pid && now != "0", || now.clone())
    });
    told_of("events of the kernel");
    assert_eq!(distro.property("NFileDescriptorStore"), count);

    // Without the program that opens them the unit works all the same.
    let without = "[Service]\nExecStartPre=\n";
    distro.write("/etc/systemd/system/wslnetd.service.d/without.conf", without);
    distro.systemctl(&["daemon-reload"]).ok();
    distro.systemctl(&["stop", "wslnetd.service"]).ok();
    distro.systemctl(&["start", "wslnetd.service"]).ok();
    told_of("looks ten times a second: systemd handed over no tracepoints");
}

#[test]
fn a_holder_that_becomes_another_program_is_noticed_by_the_kernels_word() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    rig.distro.configure("opt-out = [\"process=sleep\"]\n");
    rig.companion.start();
    rig.distro.start_connected();
    let go = "import os, socket, time\ns = socket.socket()\ns.bind((\"0.0.0.0\", 8000))\ns.listen()\n\
              s.set_inheritable(True)\nwhile not os.path.exists(\"/run/go\"): time.sleep(0.01)\n\
              os.execv(\"/bin/sleep\", [\"sleep\", \"600\"])";
    let _holder = crate::bench::guest(&rig.distro.machine, "holder", go);
    rig.client.until_open(SOON, WINDOWS, 8000);

    rig.distro.machine.run(&["touch", "/run/go"]).ok();

    rig.client
        .until_closed(A_SECOND + Duration::from_secs(1), WINDOWS, 8000);
}

/// Of the daemon no such thing can be seen from here: the kernel tells it of all processes and sockets of the machine, those of
/// other tests too.
#[test]
fn the_companion_sleeps_while_nothing_changes() {
    const LOOK: Duration = Duration::from_secs(15);
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);
    let pid = rig.companion.program().outer_pid();

    let before = switches(pid);
    std::thread::sleep(LOOK);
    let count = switches(pid) - before;

    // A renewal every five seconds wakes up a few of its threads. Looking around four times a second did that 60 times.
    assert!(count < 2 * LOOK.as_secs(), "{count} wake-ups in {LOOK:?}");
}

/// How often the threads of a process went to sleep.
fn switches(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_task = |task: std::path::PathBuf| -> u64 {
        let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    };
    tasks.map(|task| of_task(task.unwrap().path())).sum()
}

fn wake_up(distro: &Distro) -> String {
    eventually(SOON, || {
        let status = distro.status()?;
        let told = status["wake_up"].as_str().map(str::to_owned);
        told.ok_or_else(|| status.to_string())
    })
}
