//! UDP: shared by a rule that says so, answered to whoever asked, and never what runs a network.

use std::net::UdpSocket;
use std::time::Duration;

use crate::bench::{
    A_SECOND, Rig, SOON, WINDOWS, World, check, dns_question, eventually, guest, name_server, stays, udp_echo,
};

const RULE: &str = "[[rule]]\nwhen = \"process=dnsmasq,port=5300\"\nudp = true\n";

#[test]
fn a_real_name_server_answers_the_local_network() {
    let world = World::new();
    let rig = Rig::connected(&world);
    rig.distro.reconfigure(RULE);
    let server = name_server(&rig.distro.machine, 5300, "app.test", "192.0.2.53");

    let answer = eventually(SOON, || {
        let answer = rig.client.ask_udp(WINDOWS, 5300, &dns_question("app.test"));
        answer.map_err(|error| error.to_string())
    });

    assert!(answer.ends_with(&[192, 0, 2, 53]), "{answer:?}");
    // dnsmasq serves TCP too, and that needs no rule.
    rig.client.until_open(SOON, WINDOWS, 5300);
    server.kill();
    eventually(SOON, || {
        let answer = rig.client.ask_udp(WINDOWS, 5300, &dns_question("app.test"));
        check(answer.is_err(), || format!("still answers {answer:?}"))
    });
}

#[test]
fn without_a_rule_no_udp_is_shared() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _echo = udp_echo(&rig.distro.machine, "echo", 5000);
    let _web = crate::bench::web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);

    stays(A_SECOND, || {
        let answer = rig.client.ask_udp(WINDOWS, 5000, b"hello");
        check(answer.is_err(), || format!("answers {answer:?}"))
    });
    assert!(rig.distro.listeners(5000).unwrap().is_empty());

    rig.distro
        .reconfigure("[[rule]]\nwhen = \"port=5000\"\nudp = true\n");
    eventually(SOON, || {
        let answer = rig.client.ask_udp(WINDOWS, 5000, b"hello");
        check(
            answer.as_deref().is_ok_and(|answer| answer == b"echo:hello"),
            || format!("{answer:?}"),
        )
    });
    // And a rule that is taken away takes it away.
    rig.distro.reconfigure("");
    eventually(SOON, || {
        let answer = rig.client.ask_udp(WINDOWS, 5000, b"hello");
        check(answer.is_err(), || format!("still answers {answer:?}"))
    });
}

#[test]
fn what_runs_a_network_is_never_shared() {
    let world = World::new();
    let rig = Rig::connected(&world);
    rig.distro
        .reconfigure("[[rule]]\nwhen = \"port=1-65535\"\nudp = true\n");
    let ports = [67, 1900, 5353, 5355];
    let _servers = ports.map(|port| udp_echo(&rig.distro.machine, &format!("echo-{port}"), port));
    let _shared = udp_echo(&rig.distro.machine, "shared", 5000);
    eventually(SOON, || {
        let answer = rig.client.ask_udp(WINDOWS, 5000, b"x");
        check(answer.is_ok(), || format!("{answer:?}"))
    });

    for port in ports {
        let reason = rig.distro.until_withheld(port);

        assert!(reason.contains("never shared"), "{port}: {reason}");
        assert!(rig.client.ask_udp(WINDOWS, port, b"x").is_err(), "{port}");
    }
}

#[test]
fn clients_get_their_own_answers_at_the_same_time() {
    let world = World::new();
    let rig = Rig::connected(&world);
    rig.distro
        .reconfigure("[[rule]]\nwhen = \"port=5000\"\nudp = true\n");
    let _echo = udp_echo(&rig.distro.machine, "echo", 5000);
    eventually(SOON, || {
        let answer = rig.client.ask_udp(WINDOWS, 5000, b"x");
        check(answer.is_ok(), || format!("{answer:?}"))
    });

    let sockets: Vec<UdpSocket> = (0..50)
        .map(|_| {
            let socket = rig.client.net.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            socket.connect((WINDOWS, 5000)).unwrap();
            socket
        })
        .collect();
    for (number, socket) in sockets.iter().enumerate() {
        socket.send(format!("client {number}").as_bytes()).unwrap();
    }
    for (number, socket) in sockets.iter().enumerate() {
        let mut answer = [0; 100];
        let length = socket.recv(&mut answer).unwrap();

        assert_eq!(&answer[..length], format!("echo:client {number}").as_bytes());
    }
}

#[test]
fn ten_thousand_strangers_cost_bounded_memory_and_throw_nobody_out() {
    let world = World::new();
    let rig = Rig::connected(&world);
    rig.distro
        .reconfigure("[[rule]]\nwhen = \"port=5000-5001\"\nudp = true\n");
    let _echo = udp_echo(&rig.distro.machine, "echo", 5000);
    // Never answers, so that nothing but strangers' flows are there.
    let _silent = guest(
        &rig.distro.machine,
        "silent",
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('0.0.0.0', 5001))\nwhile True: s.recvfrom(100)\n",
    );
    rig.distro.until_state(5000, "active");
    rig.distro.until_state(5001, "active");
    let regular = rig.client.net.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    // A datagram may get lost in the crowd; then it is asked again.
    regular
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    regular.connect((WINDOWS, 5000)).unwrap();
    let hello = || {
        regular.send(b"hello").map_err(|error| error.to_string())?;
        let mut answer = [0; 100];
        let length = regular.recv(&mut answer).map_err(|error| error.to_string())?;
        check(&answer[..length] == b"echo:hello", || {
            format!("{:?}", &answer[..length])
        })
    };
    eventually(SOON, hello);
    let before = rig.companion.program().resident();

    // A client is an address and a port, so these are ten thousand of the network that is served.
    rig.client.net.enter(|| {
        for port in 20_000..30_000_u16 {
            let socket = UdpSocket::bind(("192.168.50.2", port)).unwrap();
            let to = if port % 2 == 0 { 5000 } else { 5001 };
            socket.send_to(b"spoofed", (WINDOWS, to)).unwrap();
        }
    });

    eventually(SOON, hello);
    let grown = rig.companion.program().resident().saturating_sub(before);
    assert!(grown < 32 << 20, "it grew by {grown} bytes");
    let flows = rig.companion.forwards(5001).unwrap()[0]["connections"].as_u64();
    assert!(flows.is_some_and(|flows| flows <= 1024), "{flows:?}");
}
