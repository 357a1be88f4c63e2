//! The programs of Windows that have ports on behalf of WSL's virtual machine.

use crate::host::PortHolder;

/// `wslservice.exe` and its helpers, the processes of virtual machines, and the host of the device that carries the connections of
/// virtioproxy mode, which is a COM surrogate (microsoft/WSL, `src/windows`). None of them is an ordinary program that happens to listen.
const PROGRAMS: [&str; 7] = [
    "wslservice.exe",
    "wslrelay.exe",
    "wslhost.exe",
    "vmwp.exe",
    "vmmem",
    "vmmemwsl",
    "dllhost.exe",
];

/// Whether the port is held for the virtual machine. A program whose name Windows does not tell is not taken for one.
pub(in crate::host) fn is_of_wsl(holder: &PortHolder) -> bool {
    let image = holder.image.as_deref().unwrap_or_default().to_lowercase();
    PROGRAMS.contains(&image.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_wsl_are_known_by_name_and_nothing_else_is() {
        for (image, expected) in [
            (Some("wslservice.exe"), true),
            (Some("WSLHost.exe"), true),
            (Some("node.exe"), false),
            (Some("System"), false),
            (None, false),
        ] {
            let holder = PortHolder {
                address: ([0, 0, 0, 0], 80).into(),
                pid: Some(4),
                image: image.map(str::to_owned),
            };
            assert_eq!(is_of_wsl(&holder), expected, "{image:?}");
        }
    }
}
