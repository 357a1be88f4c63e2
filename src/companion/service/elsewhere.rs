//! There are no Windows services here.

use std::net::SocketAddr;

use crate::paths::Paths;

pub(crate) fn run(_: &Paths, _: Option<SocketAddr>) -> anyhow::Result<()> {
    anyhow::bail!("`run-service` is for Windows: there the service control manager calls it; here use `run`")
}
