//! What WSL answers.

use wslnet_daemon::labels::fuzzing::distro;
use wslnet_daemon::network::NetworkMode;

use crate::printable::assert_line;

pub(super) fn target(answer: &[u8]) {
    let Ok(word) = str::from_utf8(answer) else {
        return;
    };
    if let Some(name) = distro(word) {
        assert_line(name);
        assert!(!name.contains(['\\', '/', ':']));
        let shares = [r"\\wsl.localhost", r"\\wsl$"].map(|share| format!("{share}\\{name}\\"));
        assert!(shares.iter().any(|share| share == word));
    }
    let Ok(mode) = word.parse::<NetworkMode>();
    let shown = mode.to_string();
    assert_line(&shown);
    match mode {
        NetworkMode::Unknown(_) => assert!(shown.chars().count() <= 64),
        NetworkMode::VirtioProxy => {
            assert!(["virtioproxy", "consomme"].contains(&word.trim().to_ascii_lowercase().as_str()))
        }
        NetworkMode::Nat
        | NetworkMode::Mirrored
        | NetworkMode::Bridged
        | NetworkMode::None
        | NetworkMode::Wsl1 => {
            assert!(shown.eq_ignore_ascii_case(word.trim()));
        }
    }
}
