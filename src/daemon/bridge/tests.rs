//! Bridges with real sockets, each test in a network namespace of its own, whose loopback interface has the addresses of
//! the VM, of Windows and of strangers: a client is who its source address says.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod world;

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::world::*;
use super::carry::MOST;
use super::*;
use crate::namespace::ip;

#[test]
fn the_companion_arrives_at_the_service_as_a_local_client_at_the_same_port() {
    in_world(async |mut world| {
        let service = listen(SERVICE).await;

        let at = world.open(1, bridge(VM, 5173, SERVICE)).await;
        let (mut client, mut server) = connect(WINDOWS, at, &service).await;

        assert_eq!(at, address("172.20.0.5:5173"));
        assert_eq!(
            server.peer_addr().unwrap().ip(),
            IpAddr::from(Ipv4Addr::LOCALHOST)
        );
        exchange(&mut client, &mut server).await;
        exchange(&mut server, &mut client).await;
    });
}

#[test]
fn nobody_else_reaches_the_service() {
    in_world(async |mut world| {
        let service = listen(SERVICE).await;
        let at = world.open(1, bridge(VM, 5173, SERVICE)).await;

        for stranger in [CONTAINER, VM, "127.0.0.1"] {
            assert_reset(stranger, at).await;
        }
        world.want(|wants| wants.companion = None).await;
        assert_reset(WINDOWS, at).await;
        world.want(|wants| wants.companion = Some(ip_of(CONTAINER))).await;
        assert_reset(WINDOWS, at).await;

        let (mut first, mut server) = connect(CONTAINER, at, &service).await;
        exchange(&mut first, &mut server).await;
    });
}

#[test]
fn a_service_on_ipv6_loopback_is_reached_by_both_families() {
    in_world(async |mut world| {
        let service = listen("[::1]:5173").await;

        let at = world.open(1, bridge(VM, 5173, "[::1]:5173")).await;
        let (mut client, mut server) = connect(WINDOWS, at, &service).await;
        exchange(&mut client, &mut server).await;
        assert!(server.peer_addr().unwrap().ip().is_loopback());

        world.want(|wants| wants.companion = Some(ip_of(WINDOWS6))).await;
        let at = world.open(1, bridge(VM6, 5173, "[::1]:5173")).await;
        let (mut client, mut server) = connect(WINDOWS6, at, &service).await;
        exchange(&mut client, &mut server).await;
        assert_eq!(at, address("[fd00::5]:5173"));
    });
}

#[test]
fn a_service_at_a_mapped_address_is_dialled_by_ipv4() {
    in_world(async |mut world| {
        let service = listen(SERVICE).await;

        let at = world.open(1, bridge(VM, 5173, "[::ffff:127.0.0.1]:5173")).await;
        let (mut client, mut server) = connect(WINDOWS, at, &service).await;

        exchange(&mut client, &mut server).await;
    });
}

#[test]
fn a_port_that_somebody_else_has_is_left_to_him_and_another_one_reported() {
    for holder in ["172.20.0.5:8000", "0.0.0.0:8000", "[::]:8000"] {
        in_world(async move |mut world| {
            let service = listen(SERVICE).await;
            let other = listen(holder).await;

            let at = world.open(1, bridge(VM, 8000, SERVICE)).await;
            let (mut client, mut server) = connect(WINDOWS, at, &service).await;
            exchange(&mut client, &mut server).await;
            let theirs = connect_from(WINDOWS, address("172.20.0.5:8000")).await;

            assert!(at.ip() == ip_of(VM) && at.port() != 8000, "{holder}: {at}");
            assert!(theirs.is_ok(), "{holder} keeps its port");
            in_time(other.accept()).await.unwrap();
        });
    }
}

/// Root may open every port. So this test runs itself again without the capability.
#[test]
fn a_port_below_1024_without_the_capability_gives_way_to_another_one() {
    const AGAIN: &str = "WSLNETD_TEST_WITHOUT_CAPABILITY";
    if std::env::var_os(AGAIN).is_none() {
        let this = "bridge::tests::a_port_below_1024_without_the_capability_gives_way_to_another_one";
        let output = Command::new("setpriv")
            .args([
                "--bounding-set=-net_bind_service",
                "--inh-caps=-net_bind_service",
                "--",
            ])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", this])
            .env(AGAIN, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
        return;
    }
    in_world(async |mut world| {
        assert_eq!(
            std::net::TcpListener::bind("172.20.0.5:80").unwrap_err().kind(),
            ErrorKind::PermissionDenied
        );
        let service = listen(SERVICE).await;

        let at = world.open(1, bridge(VM, 80, SERVICE)).await;
        let (mut client, mut server) = connect(WINDOWS, at, &service).await;

        assert!(at.port() >= 1024, "{at}");
        exchange(&mut client, &mut server).await;
    });
}

#[test]
fn a_bridge_follows_the_address_of_the_vm() {
    in_world(async |mut world| {
        let service = listen(SERVICE).await;
        let before = world.open(1, bridge(VM, 5173, SERVICE)).await;
        let (mut client, _server) = connect(WINDOWS, before, &service).await;
        ip("address add 172.20.0.6/32 dev lo");

        let after = world.open(1, bridge("172.20.0.6", 5173, SERVICE)).await;
        let (mut other, mut server) = connect(WINDOWS, after, &service).await;

        assert_eq!(after, address("172.20.0.6:5173"));
        assert_cut(&mut client).await;
        assert_closed(before).await;
        exchange(&mut other, &mut server).await;
    });
}

#[test]
fn a_revoked_listener_takes_its_port_and_its_connections_with_it() {
    in_world(async |mut world| {
        let service = listen(SERVICE).await;
        let at = world.open(1, bridge(VM, 5173, SERVICE)).await;
        let (mut client, _server) = connect(WINDOWS, at, &service).await;

        let states = world
            .want(|wants| {
                wants.bridges.clear();
                wants.revoked.insert(1);
            })
            .await;

        assert!(states.is_empty(), "{states:?}");
        assert_cut(&mut client).await;
        assert_closed(at).await;
    });
}

#[test]
fn connections_of_a_listener_that_is_gone_go_on_until_it_is_revoked_after_all() {
    in_world(async |mut world| {
        let service = listen(SERVICE).await;
        let at = world.open(1, bridge(VM, 5173, SERVICE)).await;
        let (mut client, mut server) = connect(WINDOWS, at, &service).await;

        world.want(|wants| wants.bridges.clear()).await;
        assert_closed(at).await;
        exchange(&mut client, &mut server).await;
        world
            .want(|wants| {
                wants.revoked.insert(1);
            })
            .await;

        assert_cut(&mut client).await;
    });
}

#[test]
fn a_bridge_comes_back_to_its_port_past_its_former_connections() {
    in_world(async |mut world| {
        let service = listen(SERVICE).await;
        let at = world.open(1, bridge(VM, 5173, SERVICE)).await;
        let (mut drains, mut drains_server) = connect(WINDOWS, at, &service).await;
        // The side that ends first keeps the port in TIME_WAIT: towards Windows, that is the bridge.
        let (mut client, mut server) = connect(WINDOWS, at, &service).await;
        server.shutdown().await.unwrap();
        assert_eq!(in_time(client.read(&mut [0])).await.unwrap(), 0);
        client.shutdown().await.unwrap();
        assert_eq!(in_time(server.read(&mut [0])).await.unwrap(), 0);

        world.want(|wants| wants.bridges.clear()).await;
        let again = world.open(2, bridge(VM, 5173, SERVICE)).await;

        assert_eq!(again, at);
        exchange(&mut drains, &mut drains_server).await;
    });
}

#[test]
fn listeners_that_share_a_port_share_a_bridge() {
    in_world(async |mut world| {
        let service = listen(SERVICE).await;
        world.open(1, bridge(VM, 5173, SERVICE)).await;
        let at = world.open(2, bridge(VM, 5173, SERVICE)).await;
        let (mut client, mut server) = connect(WINDOWS, at, &service).await;

        let states = world
            .want(|wants| {
                wants.bridges.remove(&1);
            })
            .await;

        assert_eq!(at, address("172.20.0.5:5173"));
        assert_eq!(states, BTreeMap::from([(2, BridgeState::Open(at))]));
        exchange(&mut client, &mut server).await;
    });
}

#[test]
fn another_companion_ends_the_connections_of_the_former_and_an_absent_one_does_not() {
    in_world(async |mut world| {
        let service = listen(SERVICE).await;
        let at = world.open(1, bridge(VM, 5173, SERVICE)).await;
        let (mut client, mut server) = connect(WINDOWS, at, &service).await;

        world.want(|wants| wants.companion = None).await;
        exchange(&mut client, &mut server).await;
        world.want(|wants| wants.companion = Some(ip_of(WINDOWS))).await;
        exchange(&mut client, &mut server).await;
        let states = world.want(|wants| wants.companion = Some(ip_of(CONTAINER))).await;

        assert_cut(&mut client).await;
        assert_eq!(states, BTreeMap::from([(1, BridgeState::Open(at))]));
    });
}

#[test]
fn an_address_that_is_missing_is_a_reason_until_it_comes() {
    in_world(async |mut world| {
        let _service = listen(SERVICE).await;
        let wanted = bridge("172.20.0.77", 5173, SERVICE);

        let states = world
            .want(|wants| {
                wants.bridges.insert(1, wanted);
            })
            .await;
        ip("address add 172.20.0.77/32 dev lo");
        let at = world.until_open(1).await;

        assert_eq!(
            reason(&states, 1),
            "172.20.0.77 is not an address of this machine now; it is tried again every second"
        );
        assert_eq!(at, address("172.20.0.77:5173"));
    });
}

#[test]
fn nothing_is_opened_but_a_concrete_address_and_nothing_reached_but_loopback() {
    in_world(async |mut world| {
        let open_ends = ["0.0.0.0", "::", "127.0.0.1", "::1", "::ffff:0.0.0.0", "224.0.0.1"];
        let bridges = open_ends.map(|open_end| bridge(open_end, 5173, SERVICE));
        let elsewhere = ["172.20.0.1:80", "0.0.0.0:80", "[::]:80"];
        let bridges = bridges
            .into_iter()
            .chain(elsewhere.map(|target| bridge(VM, 5173, target)));

        let states = world
            .want(|wants| wants.bridges = (0..).zip(bridges).collect())
            .await;

        assert_eq!(states.len(), 9);
        for id in 0..6 {
            assert!(
                reason(&states, id).contains("not the address of a network interface"),
                "{states:?}"
            );
        }
        for id in 6..9 {
            assert!(reason(&states, id).contains("is not on loopback"), "{states:?}");
        }
    });
}

#[test]
fn there_are_only_so_many_bridges_and_the_open_ones_stay() {
    in_world(async |mut world| {
        let last = bridge(VM, 60000, SERVICE);
        world.open(9999, last).await;
        let ports = 3000..3000 + u16::try_from(MOST).unwrap();
        let many = ports.map(|port| (u64::from(port), bridge(VM, port, SERVICE)));

        let states = world.want(|wants| wants.bridges.extend(many)).await;

        let failed = states
            .iter()
            .filter(|(_, state)| matches!(state, BridgeState::Failed { .. }));
        assert_eq!(failed.count(), 1);
        assert!(
            reason(&states, 3000 + MOST as u64 - 1).contains("256 bridges already"),
            "{states:?}"
        );
        assert!(matches!(states[&9999], BridgeState::Open(_)));
    });
}

#[test]
fn the_end_closes_every_port_and_cuts_every_connection() {
    for by_token in [true, false] {
        in_world(async move |mut world| {
            let service = listen(SERVICE).await;
            let at = world.open(1, bridge(VM, 5173, SERVICE)).await;
            let (mut client, _server) = connect(WINDOWS, at, &service).await;
            let World {
                wants,
                mut states,
                stop,
            } = world;

            // Either the token ends the task, or that nobody is left to want anything.
            let kept = by_token.then_some(wants);
            if by_token {
                stop.cancel();
            }
            while in_time(states.changed()).await.is_ok() {}

            assert_cut(&mut client).await;
            assert_closed(at).await;
            drop(kept);
        });
    }
}
