//! WSL's `autoProxy` sets proxy variables in every shell and unit. The companion is never behind a proxy.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use wslnet_daemon::push::LinkState;

use super::daemon::Daemon;
use crate::bench::{Companion, SOON, key};

/// Says to a test that it is the child of another one.
const CHILD: &str = "WSLNET_TEST_CHILD";

#[test]
fn proxy_variables_are_ignored() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "pusher::proxies::in_an_environment_with_a_proxy"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        child.env(name, &url).env(name.to_uppercase(), &url);
    }
    // REQUEST_METHOD would make clients ignore HTTP_PROXY by themselves.
    child
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .env_remove("REQUEST_METHOD");

    let ran = child.output().unwrap();

    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");
    let asked = proxy.accept();
    assert!(
        asked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
        "somebody asked the proxy"
    );
}

/// Does its work in a process of its own, because the environment belongs to a process. By itself it does nothing.
#[tokio::test]
async fn in_an_environment_with_a_proxy() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut daemon = Daemon::start(&debian, companion.address, companion.key);
    daemon.want(&[8000]);

    let view = daemon.sees(SOON, |view| view.forwards.len() == 1).await;

    assert_eq!(view.state, LinkState::Connected);
    daemon.stop().await;
}
