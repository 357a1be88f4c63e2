//! Labels and their order.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use wslnet_protocol::Protocol;

use super::*;

#[test]
fn labels_come_in_a_fixed_order_with_each_value_once() {
    let owner = Owner {
        holders: vec![
            process(7, "nginx", Some("/usr/sbin/nginx")),
            process(8, "nginx", Some("/usr/sbin/nginx")),
            process(1, "systemd", None),
        ],
        uid: 33,
        user: Some("www-data".into()),
        declared: Declared::Known,
    };

    let labels = labels_of(&socket("0.0.0.0:80", 33), Some(&owner));

    assert_eq!(
        labels.to_string(),
        "proto=tcp port=80 bind=wildcard family=ipv4 process=nginx process=systemd exe=/usr/sbin/nginx user=www-data uid=33"
    );
    assert_eq!(labels.get("process"), Some("nginx"));
    assert!(labels.contains("process", "systemd"));
    assert!(!labels.contains("process", "www-data"));
    assert_eq!(labels.get("unit"), None);
}

#[test]
fn all_labels_there_are_come_in_a_fixed_order() {
    let holder = |name: &str, unit: &str, says: Option<&str>| Process {
        name: name.into(),
        exe: Some(format!("/bin/{name}")),
        group: Some("www".into()),
        units: vec![unit.into(), "user@1000.service".into()],
        slices: vec!["app.slice".into(), "user.slice".into()],
        says: says.map(Into::into),
        ..Process::default()
    };
    let owner = Owner {
        holders: vec![
            holder("a", "x.service", Some("off")),
            holder("b", "y.socket", None),
            holder("c", "x.service", Some("name=shop")),
        ],
        uid: 1000,
        user: Some("ann".into()),
        declared: Declared::Known,
    };

    let labels = labels_of(&socket("[::]:80", 1000), Some(&owner));

    assert_eq!(
        labels.to_string(),
        "proto=tcp port=80 bind=wildcard family=ipv4 family=ipv6 process=a process=b process=c \
         exe=/bin/a exe=/bin/b exe=/bin/c unit=x.service unit=user@1000.service unit=y.socket \
         slice=app.slice slice=user.slice user=ann uid=1000 group=www wslnetd=off wslnetd=name=shop"
    );
}

#[test]
fn the_family_is_that_of_the_addresses_that_reach_the_socket() {
    let families = |address, v6only| {
        let socket = Socket {
            v6only,
            ..socket(address, 0)
        };
        let labels = labels_of(&socket, None);
        labels.values("family").collect::<Vec<_>>().join(",")
    };

    assert_eq!(families("0.0.0.0:1", None), "ipv4");
    assert_eq!(families("[::]:1", Some(false)), "ipv4,ipv6");
    assert_eq!(families("[::]:1", None), "ipv4,ipv6");
    assert_eq!(families("[::]:1", Some(true)), "ipv6");
    assert_eq!(families("[::1]:1", Some(false)), "ipv6");
    assert_eq!(families("[::ffff:127.0.0.1]:1", Some(false)), "ipv4");
    assert_eq!(families("[::ffff:0.0.0.0]:1", None), "ipv4");
}

#[test]
fn thousands_of_holders_are_labelled_in_no_time() {
    let holders = (0..30_000).map(|pid| process(pid, &format!("worker{pid}"), None));
    let owner = Owner {
        holders: holders.collect(),
        uid: 0,
        user: None,
        declared: Declared::Known,
    };
    let start = std::time::Instant::now();

    let labels = labels_of(&socket("[::]:80", 0), Some(&owner));

    assert_eq!(labels.values("process").count(), 30_000);
    // One by one they would be compared half a billion times.
    assert!(
        start.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_foreign_listener_has_no_process_and_no_user_name() {
    let labels = labels_of(&socket("[::1]:631", 0), None);

    assert_eq!(
        labels.to_string(),
        "proto=tcp port=631 bind=loopback family=ipv6 uid=0"
    );
}

#[test]
fn bind_is_wildcard_loopback_or_the_address() {
    let bind_of = |address| {
        labels_of(&socket(address, 0), None)
            .get("bind")
            .unwrap()
            .to_owned()
    };

    let binds = [
        "[::]:1",
        "[::ffff:0.0.0.0]:1",
        "127.8.0.1:1",
        "[::ffff:127.0.0.1]:1",
        "172.20.1.5:1",
    ]
    .map(bind_of);

    assert_eq!(
        binds,
        ["wildcard", "wildcard", "loopback", "loopback", "172.20.1.5"]
    );
    assert_eq!(bind_of("[::ffff:172.20.1.5]:1"), "172.20.1.5");
    assert_eq!(bind_of("[fd00::5]:1"), "fd00::5");
}

#[test]
fn a_long_value_is_kept_whole_and_shown_in_part() {
    let path = format!("/{}", "long/".repeat(200));
    let holder = process(7, "a", Some(&path));
    let owner = Owner {
        holders: vec![holder],
        uid: 0,
        user: None,
        declared: Declared::Known,
    };

    let labels = labels_of(&socket("[::]:80", 0), Some(&owner));

    assert_eq!(labels.get("exe"), Some(path.as_str()));
    let exe = labels
        .iter()
        .find(|label| label.key == "exe")
        .unwrap()
        .to_string();
    assert_eq!(exe.chars().count(), "exe=".len() + SHOWN_LIMIT);
    assert!(exe.ends_with('…'), "{exe}");
}

#[test]
fn hostile_characters_are_not_shown_even_if_somebody_labels_with_them() {
    let labels = Labels::from_iter([("process", "a\u{1b}[2Jb")]);

    assert_eq!(labels.to_string(), "process=a\u{fffd}[2Jb");
}

fn socket(address: &str, uid: u32) -> Socket {
    let address = address.parse().unwrap();
    Socket {
        protocol: Protocol::Tcp,
        address,
        v6only: None,
        uid,
        inode: 5,
        cookie: Some(1),
        interface: None,
    }
}

fn process(pid: i32, name: &str, exe: Option<&str>) -> Process {
    Process {
        pid,
        start_time: 1,
        name: name.into(),
        exe: exe.map(Into::into),
        ..Process::default()
    }
}
