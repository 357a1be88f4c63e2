//! The services of the other tests without wslnetd: what a stranger gets from them by themselves. Else a test could pass
//! for a reason of theirs.

use std::io::ErrorKind;

use crate::bench::{
    Client, Machine, SOON, VM, World, check, dns_question, eventually, listen_on, name_server, stock_redis,
    udp_echo,
};

#[test]
fn a_udp_server_answers_whoever_reaches_it() {
    let place = Place::new();
    let echo = udp_echo(&place.distro, "echo", 5000);

    eventually(SOON, || {
        let answer = place
            .windows
            .ask_udp(VM, 5000, b"hello")
            .map_err(|error| error.to_string())?;
        check(answer == b"echo:hello", || format!("{answer:?}"))
    });
    echo.kill();
    let error = place.windows.ask_udp(VM, 5000, b"hello").unwrap_err();

    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn dnsmasq_knows_its_name() {
    let place = Place::new();
    let _server = name_server(&place.distro, 5300, "app.test", "192.0.2.53");

    let answer = eventually(SOON, || {
        let answer = place.windows.ask_udp(VM, 5300, &dns_question("app.test"));
        answer.map_err(|error| error.to_string())
    });

    assert!(
        answer.starts_with(&[0x2a, 0x2a]) && answer.ends_with(&[192, 0, 2, 53]),
        "{answer:?}"
    );
}

#[test]
fn stock_redis_is_local_and_protects_itself_when_it_is_not() {
    const PING: &str = "PING\r\nQUIT\r\n";
    let place = Place::new();
    let _stock = stock_redis(&place.distro, 6390, None);
    let _wide = stock_redis(&place.distro, 6391, Some("0.0.0.0"));
    for port in [6390, 6391] {
        eventually(SOON, || match place.inside.ask("127.0.0.1", port, PING) {
            Ok(answer) if answer.starts_with("+PONG") => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    place.windows.until_closed(SOON, VM, 6390);
    // It says so without being asked; a question that it left unread would make its goodbye a reset.
    let answer = place.windows.ask(VM, 6391, "").unwrap();

    assert!(answer.starts_with("-DENIED"), "{answer}");
}

#[test]
fn a_development_server_on_loopback_serves_its_own_machine_only() {
    let place = Place::new();
    let _server = listen_on(&place.distro, "127.0.0.1", 5173);

    place.inside.until_open(SOON, "127.0.0.1", 5173);

    place.windows.until_closed(SOON, VM, 5173);
}

/// A distro without wslnetd, seen from inside the VM and from Windows.
struct Place {
    distro: Machine,
    inside: Client,
    windows: Client,
    _world: World,
}

impl Place {
    fn new() -> Self {
        let world = World::new();
        Self {
            distro: Machine::new(world.vm.clone(), &world.logs(), ""),
            inside: Client::new(world.vm.clone()),
            windows: Client::new(world.windows.net.clone()),
            _world: world,
        }
    }
}
