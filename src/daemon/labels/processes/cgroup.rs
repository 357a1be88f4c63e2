//! What the control group of a process tells: its systemd units and slices, and its container. Parses
//! `/proc/PID/cgroup`, cgroups(7); what systemd names its groups after is in "Control Group APIs and Delegation"
//! (systemd.io/CGROUP_DELEGATION) and in `cg_escape()` of its source.
//!
//! A user may make groups of any name below the one that was delegated to him, and go there with his own processes. So
//! an inner name says no more than a process's name does; the outer ones he cannot choose.

use crate::labels::value;

/// How many units, and how many slices, a process keeps. systemd nests no more than a handful; of more than this the
/// outer ones are kept, which the user of the inner ones cannot choose.
const LIMIT: usize = 16;

/// What systemd makes groups for, by the ends of their names; slices apart.
const UNITS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];
const SLICE: &str = ".slice";

/// What Docker and Podman put before the id of a container in the name of its group: with systemd's help, and (Podman)
/// without it, inside a unit (`--cgroups=split`), and for the process that watches the container.
const CONTAINERS: [&str; 4] = ["docker-", "libpod-conmon-", "libpod-payload-", "libpod-"];
/// Docker without systemd's help: a folder of this name, and below it one that is named by the id alone.
const DOCKER: &str = "docker";
/// The length of a container's id, in hexadecimal digits.
const ID_LENGTH: usize = 64;

/// Where a process belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cgroup {
    /// The systemd units, the innermost first.
    pub(super) units: Vec<String>,
    /// The systemd slices, the innermost first.
    pub(super) slices: Vec<String>,
    /// The id of the outermost container, which is the one that an engine of this distro knows.
    pub(super) container: Option<String>,
}

impl Cgroup {
    /// Reads the text of `/proc/PID/cgroup`: the group of cgroup v2; where that tells nothing (cgroup v1, or both side by
    /// side), the one of systemd's own hierarchy.
    pub(super) fn parse(file: &[u8]) -> Self {
        let lines = || file.split(|byte| *byte == b'\n');
        let unified = lines()
            .find_map(|line| line.strip_prefix(b"0::"))
            .map(Self::of_path);
        if let Some(unified) = unified.filter(|cgroup| *cgroup != Self::default()) {
            return unified;
        }
        // The number of this hierarchy can be any.
        let named = |line: &'_ [u8]| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            line.get(colon..)?
                .strip_prefix(b":name=systemd:")
                .map(Self::of_path)
        };
        lines().find_map(named).unwrap_or_default()
    }

    fn of_path(path: &[u8]) -> Self {
        // The kernel marks a group that was removed while a process was still on its way out of it.
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        let mut cgroup = Self::default();
        let mut parent = String::new();
        for part in path.split(|byte| *byte == b'/') {
            let name = value(part);
            if cgroup.container.is_none() {
                cgroup.container = container(&name, &parent).map(str::to_owned);
            }
            // systemd protects names that would clash with the kernel's by a `_`.
            let unit = name.strip_prefix('_').unwrap_or(&name);
            if is_named(unit, SLICE) {
                keep(&mut cgroup.slices, unit);
            } else if UNITS.iter().any(|end| is_named(unit, end)) {
                keep(&mut cgroup.units, unit);
            }
            parent = name;
        }
        cgroup.units.reverse();
        cgroup.slices.reverse();
        cgroup
    }
}

fn is_named(name: &str, end: &str) -> bool {
    name.strip_suffix(end).is_some_and(|name| !name.is_empty())
}

fn keep(names: &mut Vec<String>, name: &str) {
    if names.len() < LIMIT {
        names.push(name.to_owned());
    }
}

/// The container whose group has this name below this parent.
fn container<'a>(name: &'a str, parent: &str) -> Option<&'a str> {
    let bare = name.strip_suffix(".scope").unwrap_or(name);
    let prefixed = CONTAINERS.iter().find_map(|prefix| bare.strip_prefix(prefix));
    let id = prefixed.or_else(|| (parent == DOCKER).then_some(name))?;
    let is_id = id.len() == ID_LENGTH && id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then_some(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wslnet_console::text::is_hostile;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_system_service_has_its_unit_and_slice() {
        let cgroup = Cgroup::parse(b"0::/system.slice/nginx.service\n");

        assert_eq!(cgroup.units, ["nginx.service"]);
        assert_eq!(cgroup.slices, ["system.slice"]);
        assert_eq!(cgroup.container, None);
    }

    #[test]
    fn a_user_service_belongs_to_its_manager_too_the_innermost_first() {
        let cgroup =
            Cgroup::parse(b"0::/user.slice/user-1000.slice/user@1000.service/app.slice/demo.service\n");

        assert_eq!(cgroup.units, ["demo.service", "user@1000.service"]);
        assert_eq!(cgroup.slices, ["app.slice", "user-1000.slice", "user.slice"]);
    }

    #[test]
    fn templates_slices_of_slices_and_escapes_keep_the_names_that_systemctl_shows() {
        let cgroup = Cgroup::parse(
            b"0::/system.slice/system-getty.slice/getty@tty1.service\n1:name=systemd:/other.service\n",
        );
        let escaped =
            Cgroup::parse(b"0::/_cpu.slice/_cgroup.service/dev-disk\\x2dby.mount/.service/_.slice\n");

        assert_eq!(cgroup.units, ["getty@tty1.service"]);
        assert_eq!(cgroup.slices, ["system-getty.slice", "system.slice"]);
        assert_eq!(escaped.units, ["dev-disk\\x2dby.mount", "cgroup.service"]);
        assert_eq!(escaped.slices, ["cpu.slice"]);
    }

    #[test]
    fn groups_that_are_no_units_are_left_out() {
        let cgroup = Cgroup::parse(b"0::/../wsl-user/Debian/init.scope/payload/x.timer/a.services\n");

        assert_eq!(cgroup.units, ["init.scope"]);
        assert!(cgroup.slices.is_empty());
    }

    #[test]
    fn version_1_is_read_from_systemds_own_hierarchy() {
        let hybrid = Cgroup::parse(
            b"12:memory:/system.slice/wrong.service\n1:name=systemd:/system.slice/right.service\n0::/\n",
        );
        let legacy = Cgroup::parse(b"9:name=systemd:/user.slice/user-1000.slice/session-2.scope\n8:pids:/\n");
        let both = Cgroup::parse(b"1:name=systemd:/a.service\n0::/b.service\n");
        let none = Cgroup::parse(b"8:pids:/x.service\n7:net_cls,net_prio:/x.service\n");

        assert_eq!(hybrid.units, ["right.service"]);
        assert_eq!(legacy.units, ["session-2.scope"]);
        assert_eq!(both.units, ["b.service"]);
        assert_eq!(none, Cgroup::default());
    }

    #[test]
    fn a_container_is_known_however_its_engine_names_the_group() {
        for path in [
            "/system.slice/docker-ID.scope",
            "/docker/ID",
            "/docker/ID/init.scope",
            "/machine.slice/libpod-ID.scope/container",
            "/machine.slice/machine-libpod_pod_1.slice/libpod-ID.scope",
            "/machine.slice/libpod-conmon-ID.scope",
            "/libpod_parent/libpod-ID",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/system.slice/x.service",
            "/system.slice/app.service/libpod-payload-ID",
            "/user.slice/docker-ID.scope (deleted)",
        ] {
            for line in ["0::", "3:name=systemd:"] {
                let file = format!("{line}{path}\n").replace("ID", ID);

                assert_eq!(
                    Cgroup::parse(file.as_bytes()).container.as_deref(),
                    Some(ID),
                    "{path}"
                );
            }
        }
    }

    #[test]
    fn nothing_else_is_a_container() {
        for path in [
            "/ID",
            "/other/ID",
            "/docker/IDa",
            "/docker/ID.scope",
            "/docker-0123.scope",
            "/system.slice/docker.service",
            "/cri-ID.scope",
            "/docker",
        ] {
            let file = format!("0::{path}\n").replace("ID", ID);

            assert_eq!(Cgroup::parse(file.as_bytes()).container, None, "{path}");
        }
        let upper = format!("0::/docker/{}\n", ID.to_uppercase());
        assert_eq!(Cgroup::parse(upper.as_bytes()).container, None);
    }

    #[test]
    fn of_nested_containers_the_outer_one_counts() {
        let inner = ID.replace('0', "f");
        let file = format!("0::/docker/{ID}/docker/{inner}\n");

        assert_eq!(Cgroup::parse(file.as_bytes()).container.as_deref(), Some(ID));
    }

    #[test]
    fn a_user_who_nests_units_without_end_does_not_hide_the_outer_ones() {
        let nested = "/x.service".repeat(400);
        let file = format!("0::/user.slice/user@1000.service{nested}/deepest.service\n");

        let cgroup = Cgroup::parse(file.as_bytes());

        assert_eq!(cgroup.units.len(), LIMIT);
        assert_eq!(cgroup.units.last().map(String::as_str), Some("user@1000.service"));
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic_or_keep_what_is_not_printable(
            lines in proptest::collection::vec(("0::|1:name=systemd:|[0-9]:", any::<Vec<u8>>(), "(\\.slice|\\.service|)"), 0..8),
        ) {
            let mut file = Vec::new();
            for (start, path, end) in lines {
                file.extend(start.into_bytes());
                file.push(b'/');
                file.extend(path);
                file.extend(end.into_bytes());
                file.push(b'\n');
            }

            let cgroup = Cgroup::parse(&file);

            prop_assert!(cgroup.units.len() <= LIMIT && cgroup.slices.len() <= LIMIT);
            for name in cgroup.units.iter().chain(&cgroup.slices) {
                prop_assert!(!name.chars().any(is_hostile));
            }
        }

        #[test]
        fn the_units_of_a_path_come_out_reversed(names in proptest::collection::vec("[a-z]{1,9}", 1..LIMIT)) {
            let path: String = names.iter().map(|name| format!("/{name}.slice/{name}@1.service")).collect();
            let units: Vec<String> = names.iter().rev().map(|name| format!("{name}@1.service")).collect();

            let cgroup = Cgroup::parse(format!("0::{path}\n").as_bytes());

            prop_assert_eq!(cgroup.units, units);
            prop_assert_eq!(cgroup.slices.len(), names.len());
        }
    }
}
