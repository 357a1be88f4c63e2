//! The watcher in network namespaces of its own.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::namespace::{in_namespace_with_runtime, ip};

const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn the_first_view_is_complete() {
    in_namespace(async |watcher| {
        let view = watcher.views().borrow().clone();

        let eth0 = view
            .interfaces
            .values()
            .find(|iface| iface.name == "eth0")
            .unwrap();
        assert!(eth0.addresses.contains(&("172.20.0.5".parse().unwrap(), 24)));
        assert_eq!(gateway(&view), Some(Ipv4Addr::new(172, 20, 0, 1)));
        assert_eq!(view.vm_address(), Some(Ipv4Addr::new(172, 20, 0, 5)));
        assert!(view.interfaces.values().any(|iface| iface.name == "lo"));
    });
}

#[test]
fn addresses_come_and_go() {
    in_namespace(async |watcher| {
        let extra: (IpAddr, u8) = ("10.9.8.7".parse().unwrap(), 16);
        let has_extra = |view: &NetworkView| {
            view.interfaces
                .values()
                .any(|iface| iface.addresses.contains(&extra))
        };

        ip("address add 10.9.8.7/16 dev eth0");
        wait_for(watcher, has_extra).await;
        ip("address del 10.9.8.7/16 dev eth0");
        wait_for(watcher, |view| !has_extra(view)).await;
    });
}

#[test]
fn interfaces_without_addresses_come_and_go() {
    in_namespace(async |watcher| {
        let has = |view: &NetworkView, name: &str| view.interfaces.values().any(|iface| iface.name == name);

        ip("link add docker0 type bridge");
        wait_for(watcher, |view| has(view, "docker0")).await;
        ip("link set docker0 name docker1");
        wait_for(watcher, |view| has(view, "docker1") && !has(view, "docker0")).await;
        ip("link del docker1");
        wait_for(watcher, |view| !has(view, "docker1")).await;
    });
}

#[test]
fn a_moved_vm_gets_its_new_address_and_gateway() {
    in_namespace(async |watcher| {
        ip("address add 172.30.0.9/24 dev eth0");
        ip("address del 172.20.0.5/24 dev eth0");
        ip("route replace default via 172.30.0.1");

        let view = wait_for(watcher, |view| {
            gateway(view) == Some(Ipv4Addr::new(172, 30, 0, 1))
        })
        .await;

        assert_eq!(view.vm_address(), Some(Ipv4Addr::new(172, 30, 0, 9)));
    });
}

#[test]
fn the_route_with_the_lowest_metric_wins() {
    in_namespace(async |watcher| {
        ip("route replace default via 172.20.0.1 metric 100");
        ip("route del default via 172.20.0.1 metric 0");
        ip("route add default via 172.20.0.2 metric 50");
        wait_for(watcher, |view| {
            gateway(view) == Some(Ipv4Addr::new(172, 20, 0, 2))
        })
        .await;
        ip("route del default via 172.20.0.2");
        wait_for(watcher, |view| {
            gateway(view) == Some(Ipv4Addr::new(172, 20, 0, 1))
        })
        .await;
    });
}

#[test]
fn routes_of_other_tables_do_not_count() {
    in_namespace(async |watcher| {
        ip("route add default via 172.20.0.3 table 100");
        ip("route replace default via 172.20.0.2");

        let view = wait_for(watcher, |view| {
            gateway(view) != Some(Ipv4Addr::new(172, 20, 0, 1))
        })
        .await;

        assert_eq!(gateway(&view), Some(Ipv4Addr::new(172, 20, 0, 2)));
    });
}

#[test]
fn a_default_route_that_vanishes_without_a_message_is_noticed() {
    in_namespace(async |watcher| {
        ip("link set eth0 down");
        let down = wait_for(watcher, |view| gateway(view).is_none()).await;
        ip("link set eth0 up");
        ip("route add default via 172.20.0.1");
        let back = wait_for(watcher, |view| gateway(view).is_some()).await;
        ip("address del 172.20.0.5/24 dev eth0");
        wait_for(watcher, |view| gateway(view).is_none()).await;

        assert_eq!(down.vm_address(), None);
        assert_eq!(back.vm_address(), Some(Ipv4Addr::new(172, 20, 0, 5)));
    });
}

#[test]
fn an_ipv6_gateway_is_seen() {
    in_namespace(async |watcher| {
        let own: (IpAddr, u8) = ("fd00::5".parse().unwrap(), 64);
        ip("-6 address add fd00::5/64 dev eth0 nodad");
        wait_for(watcher, |view| {
            view.interfaces
                .values()
                .any(|iface| iface.addresses.contains(&own))
        })
        .await;
        ip("-6 route add default via fd00::1 dev eth0");

        let view = wait_for(watcher, |view| view.default_gateway_v6.is_some()).await;

        assert_eq!(
            view.default_gateway_v6.unwrap().0,
            "fd00::1".parse::<std::net::Ipv6Addr>().unwrap()
        );
    });
}

#[test]
fn many_changes_at_once_end_in_the_right_view() {
    in_namespace(async |watcher| {
        for host in 1..=200 {
            ip(&format!("address add 10.0.0.{host}/32 dev eth0"));
        }

        wait_for(watcher, |view| {
            view.interfaces.values().any(|iface| iface.addresses.len() >= 201)
        })
        .await;
    });
}

#[test]
fn a_lost_connection_is_opened_again() {
    on_own_thread(async || {
        let mut connection = Connection::open().unwrap();
        connection.hints = futures_util::stream::empty().boxed();
        let (sender, mut views) = watch::channel(NetworkView::default());
        let task = tokio::spawn(keep_watching(connection, sender));

        timeout(DEADLINE, views.wait_for(|view| !view.interfaces.is_empty()))
            .await
            .unwrap()
            .unwrap();
        // Until it is open again, changes come from the query at its start: the next one needs a message.
        for host in 1..=3 {
            ip(&format!("address add 10.0.0.{host}/32 dev eth0"));
            let address: IpAddr = format!("10.0.0.{host}").parse().unwrap();
            let there = |view: &NetworkView| {
                view.interfaces
                    .values()
                    .any(|iface| iface.addresses.contains(&(address, 32)))
            };
            timeout(DEADLINE, views.wait_for(there)).await.unwrap().unwrap();
        }
        task.abort();
    });
}

/// Runs a test with a watcher, in a new namespace with one interface, one address and a default route.
fn in_namespace(test: impl AsyncFnOnce(&Watcher) + Send + 'static) {
    on_own_thread(async || {
        let watcher = Watcher::open().await.unwrap();
        test(&watcher).await;
    });
}

/// Runs a test in that namespace, without a watcher.
fn on_own_thread(test: impl AsyncFnOnce() + Send + 'static) {
    in_namespace_with_runtime(async move || {
        for command in [
            "link set lo up",
            "link add eth0 type veth peer name windows",
            // No link-local addresses: their checks for duplicates would send messages in the middle of a test.
            "link set eth0 addrgenmode none",
            "link set windows addrgenmode none",
            "link set windows up",
            "address add 172.20.0.5/24 dev eth0",
            "link set eth0 up",
            "route add default via 172.20.0.1",
        ] {
            ip(command);
        }
        test().await;
    });
}

async fn wait_for(watcher: &Watcher, condition: impl Fn(&NetworkView) -> bool) -> NetworkView {
    let mut views = watcher.views();
    match timeout(DEADLINE, views.wait_for(|view| condition(view))).await {
        Ok(view) => view.unwrap().clone(),
        Err(_) => panic!("not within {DEADLINE:?}: {:?}", watcher.views().borrow()),
    }
}

fn gateway(view: &NetworkView) -> Option<Ipv4Addr> {
    view.default_gateway_v4.map(|(gateway, _)| gateway)
}
