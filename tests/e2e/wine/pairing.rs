//! Pairing by the Windows program: the distros from the registry, `wsl.exe` from the system's folder, pipes of Windows. What stands
//! there for WSL is `tests/wsl`, whose page says what that does not show.

use crate::bench::{Distro, Windows, web};

#[test]
fn one_command_pairs_with_distros_of_the_registry() {
    let world = Windows::world();
    let windows = Windows::new(&world);
    let mut ubuntu = Distro::new(&world, "Ubuntu");
    let mut debian = Distro::new(&world, "Debian-12");
    let _wsl = windows.install_wsl(&[&ubuntu, &debian]);
    let _companion = windows.start();
    ubuntu.start();

    // In another case than Windows has it.
    let (code, said) = windows.try_cli(&["pair", "ubuntu"]);

    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Ubuntu: paired and connected"), "{said}");
    assert_eq!(said.matches("fingerprint").count(), 2, "one of each side: {said}");
    let _web = web(&ubuntu.machine, 8000);
    ubuntu.until_state(8000, "active");

    let (code, said) = windows.try_cli(&["pair", "Arch"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("there are: ") && said.contains("Debian-12"),
        "{said}"
    );

    debian.start();
    let (code, said) = windows.try_cli(&["pair", "--all"]);
    assert_eq!(code, 0, "{said}");
    for name in ["Ubuntu", "Debian-12"] {
        assert!(said.contains(&format!("{name}: paired and connected")), "{said}");
    }
    debian.until_connected();
}
