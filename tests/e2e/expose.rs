//! The main job: a listener appears and is reachable from the local network at the same port; it goes, the port closes.

use std::io::{Read, Write};

use crate::bench::{
    A_SECOND, GATEWAY, Rig, SOON, VM, WINDOWS, WINDOWS6, World, check, eventually, guest, listen_on,
    require_program, stays, web,
};

#[test]
fn a_python_server_appears_and_disappears() {
    let world = World::new();
    let rig = Rig::connected(&world);

    let server = web(&rig.distro.machine, 8000);
    let listener = rig.distro.until_state(8000, "active");

    let page = rig.client.fetch(WINDOWS, 8000, "/").unwrap();
    assert!(page.contains("Directory listing"), "{page}");
    assert_eq!(listener["verdict"], "expose");
    assert_eq!(listener["process"], "python3");
    assert_eq!(listener["user"], "root");
    assert!(
        listener["windows"]
            .as_array()
            .unwrap()
            .contains(&"192.168.50.1:8000".into()),
        "{listener}"
    );

    server.kill();
    rig.client.until_closed(A_SECOND, WINDOWS, 8000);
    eventually(A_SECOND, || {
        let left = rig.distro.listeners(8000)?;
        check(left.is_empty(), || format!("{left:?}"))?;
        let left = rig.companion.list()?;
        check(left.is_empty(), || format!("{left:?}"))
    });
}

#[test]
fn nothing_but_the_exposed_ports_is_open_on_windows() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let _web = web(&rig.distro.machine, 8000);
    let _private = listen_on(&rig.distro.machine, "127.0.0.1", 8001);
    rig.distro.until_state(8000, "active");
    rig.distro.until_withheld(8001);

    assert_eq!(rig.client.all_open(WINDOWS), [8000].into());
    assert_eq!(rig.client.all_open(WINDOWS6), [8000].into());
    // The side of the VM carries the control port alone: a relay there would answer the VM with itself.
    let vm = crate::bench::Client::new(world.vm.clone());
    assert_eq!(vm.all_open(GATEWAY), [9756].into());
}

#[test]
fn nginx_with_its_workers_is_one_listener() {
    require_program("nginx", "nginx-light");
    let world = World::new();
    let rig = Rig::connected(&world);
    let folder = world.new_folder("nginx").display().to_string();
    let config = format!(
        "daemon off; user www-data; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;\n\
         events {{}}\n\
         http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;\n\
         fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
         server {{ listen 8081; location / {{ return 200 'hello from nginx'; }} }} }}\n"
    );
    std::fs::write(format!("{folder}/nginx.conf"), config).unwrap();

    let conf = format!("{folder}/nginx.conf");
    let nginx = rig
        .distro
        .machine
        .spawn("nginx", &["nginx", "-c", &conf, "-p", &folder]);
    let listener = rig.distro.until_state(8081, "active");

    assert_eq!(listener["process"], "nginx");
    assert_eq!(rig.client.fetch(WINDOWS, 8081, "/").unwrap(), "hello from nginx");

    nginx.stop();
    rig.client.until_closed(A_SECOND, WINDOWS, 8081);
}

#[test]
fn redis_still_sees_a_stranger_in_a_lan_client() {
    require_program("redis-server", "redis-server");
    let world = World::new();
    let rig = Rig::connected(&world);
    let redis = |port: &str, protected: &str| {
        let line = [
            "redis-server",
            "--port",
            port,
            "--bind",
            "0.0.0.0",
            "--protected-mode",
            protected,
        ];
        let quiet = ["--save", "", "--appendonly", "no", "--dir", "/tmp"];
        rig.distro
            .machine
            .spawn(&format!("redis-{port}"), &[&line[..], &quiet].concat())
    };

    let open = redis("6379", "no");
    let _protected = redis("6380", "yes");
    rig.distro.until_state(6379, "active");
    rig.distro.until_state(6380, "active");

    let answer = rig.client.ask(WINDOWS, 6379, "PING\r\nQUIT\r\n").unwrap();
    assert_eq!(answer, "+PONG\r\n+OK\r\n");
    // A relay that dialled from the VM's own loopback would switch this protection off.
    // Redis says so without being asked.
    let answer = rig.client.ask(WINDOWS, 6380, "").unwrap();
    assert!(answer.starts_with("-DENIED"), "{answer}");

    open.stop();
    rig.client.until_closed(A_SECOND, WINDOWS, 6379);
}

#[test]
fn what_a_listener_is_bound_to_decides() {
    let world = World::new();
    let rig = Rig::connected(&world);
    let machine = &rig.distro.machine;
    world.vm.ip("link add docker0 type veth peer name container0");
    world.vm.ip("addr add 172.17.0.1/16 dev docker0");
    world.vm.ip("link set docker0 up");

    let script = |port: u16, address: &str, only_v6: &str| {
        let script = format!("serve(listener({port}, {address:?}, only_v6={only_v6}), b'port {port}')");
        guest(machine, &format!("guest-{port}"), &script)
    };
    let _all = script(8010, "0.0.0.0", "None");
    let _dual = script(8011, "::", "0");
    let _vm = script(8012, VM, "None");
    let _only_v6 = script(8013, "::", "1");
    let _loopback = script(8014, "127.0.0.1", "None");
    let _loopback6 = script(8015, "::1", "None");
    let _docker = script(8016, "172.17.0.1", "None");
    let _loopback_alias = script(8017, "127.0.0.53", "None");
    for port in [8010, 8011, 8012] {
        rig.distro.until_state(port, "active");
    }
    let reason = rig.distro.until_withheld(8013);
    assert!(reason.contains("IPv6"), "{reason}");
    for port in 8014..=8017 {
        rig.distro.until_withheld(port);
    }

    let ports: Vec<u16> = (8010..=8017).collect();
    for address in [WINDOWS, WINDOWS6] {
        assert_eq!(
            rig.client.open_among(address, &ports),
            (8010..=8012).collect(),
            "on {address}"
        );
        for port in 8010..=8012 {
            assert_eq!(rig.client.ask(address, port, "").unwrap(), format!("port {port}"));
        }
    }
}

#[test]
fn both_sources_of_listeners_do_the_job() {
    for source in ["sock-diag", "procfs", "auto"] {
        let world = World::new();
        let mut rig = Rig::new(&world);
        rig.distro.configure(&format!("source = \"{source}\"\n"));
        rig.companion.start();
        rig.distro.start_connected();

        let four = web(&rig.distro.machine, 8000);
        let six = listen_on(&rig.distro.machine, "::", 8001);
        rig.client.until_open(SOON, WINDOWS, 8000);
        rig.client.until_open(SOON, WINDOWS, 8001);

        four.kill();
        six.kill();
        rig.client.until_closed(A_SECOND, WINDOWS, 8000);
        rig.client.until_closed(A_SECOND, WINDOWS, 8001);
    }
}

#[test]
fn what_already_listened_is_exposed_at_the_start() {
    let world = World::new();
    let mut rig = Rig::new(&world);
    let _web = web(&rig.distro.machine, 8000);

    rig.companion.start();
    rig.distro.start_connected();

    rig.client.until_open(SOON, WINDOWS, 8000);
}

#[test]
fn a_loopback_listener_stays_private_when_its_port_moves_to_the_wildcard_and_back() {
    let world = World::new();
    let rig = Rig::connected(&world);

    let public = web(&rig.distro.machine, 8000);
    rig.client.until_open(SOON, WINDOWS, 8000);
    public.kill();
    let _private = listen_on(&rig.distro.machine, "127.0.0.1", 8000);

    rig.client.until_closed(A_SECOND, WINDOWS, 8000);
    rig.distro.until_withheld(8000);
    stays(A_SECOND, || {
        let open = rig.client.open_among(WINDOWS, &[8000]);
        check(open.is_empty(), || "a loopback listener is open".to_owned())
    });
}

#[test]
fn bytes_half_close_and_reset_are_carried_through() {
    let world = World::new();
    let rig = Rig::connected(&world);
    // Answers with what came, once the client has ended its half; and on 8021 ends every connection with a reset.
    let _echo = guest(
        &rig.distro.machine,
        "echo",
        "s = listener(8020)\nwhile True:\n c, _ = s.accept(); d = b''\n\
         \x20while (part := c.recv(65536)): d += part\n c.sendall(d); c.close()\n",
    );
    let _reset = guest(
        &rig.distro.machine,
        "reset",
        "import struct\ns = listener(8021)\nwhile True:\n c, _ = s.accept(); c.recv(1)\n\
         \x20c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()\n",
    );
    rig.distro.until_state(8020, "active");
    rig.distro.until_state(8021, "active");

    let sent: Vec<u8> = (0..3_000_000u32)
        .map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1])
        .collect();
    let mut stream = rig.client.connect(WINDOWS, 8020).unwrap();
    stream.write_all(&sent).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert!(back == sent, "{} of {} bytes came back", back.len(), sent.len());

    let mut stream = rig.client.connect(WINDOWS, 8021).unwrap();
    stream.write_all(b"x").unwrap();
    let ended = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset);

    let moved = rig.companion.forwards(8020).unwrap();
    let total = moved[0]["bytes_in"].as_u64().unwrap() + moved[0]["bytes_out"].as_u64().unwrap();
    assert!(total >= 6_000_000, "{moved:?}");
}
