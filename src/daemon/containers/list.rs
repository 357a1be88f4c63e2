//! The engines' lists of running containers: `GET /containers/json` of Docker, and of Podman the list of its own API, since its
//! imitation of Docker's names only the first port of a range.
//!
//! Whoever may start a container chooses nearly everything in here, so the lists are read within bounds: what exceeds them
//! is left out whole, and that something was left out is told.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use wslnet_console::text::clean;
use wslnet_protocol::Protocol;

use super::{Container, EngineKind};
use crate::labels::value;

/// The longest list that is read, in bytes of JSON.
pub(super) const LIST_BYTES: usize = 16 * 1024 * 1024;
/// How much is kept of all containers of an engine, in bytes. Docker's bridges take 1,023 containers; those of Docker
/// Compose have about 1 KB of labels.
const KEPT_BYTES: usize = 2 * 1024 * 1024;
/// How many labels a container may have.
const LABELS: usize = 256;
/// How many published ports, or ranges of them.
const PORTS: usize = 4096;
/// How many characters of a label's key, a name and an image are kept.
const KEY_CHARS: usize = 256;
/// What a text or a port costs besides its bytes.
const OVERHEAD: usize = 32;

/// The containers of one engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct List {
    /// Those that run.
    pub(super) containers: Vec<Told>,
    /// How many more there are that are too big to be read, or too many.
    pub(super) left_out: usize,
}

/// What an engine tells of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// 64 hexadecimal digits.
    pub(super) id: String,
    pub(super) container: Container,
    /// The id of the pod whose network it shares; empty without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) pod: String,
    /// Whether it does nothing but hold the network of the pod.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_infra: bool,
    /// The ports of this machine that lead to it.
    pub(super) ports: Vec<Published>,
}

/// Published ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Published {
    pub(super) protocol: Protocol,
    /// The address of this machine; `None` is every address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ip: Option<IpAddr>,
    /// The first port, and the last.
    pub(super) ports: (u16, u16),
}

/// An address as [`Published`] has it.
pub(super) fn published_at(ip: IpAddr) -> Option<IpAddr> {
    Some(ip.to_canonical()).filter(|ip| !ip.is_unspecified())
}

/// Reads the list of an engine.
///
/// # Errors
/// When it is not such a list.
pub(super) fn parse(kind: EngineKind, json: &[u8]) -> serde_json::Result<List> {
    match kind {
        EngineKind::Docker => serde_json::from_slice::<Reading<OfDocker>>(json).map(|reading| reading.list),
        EngineKind::Podman => serde_json::from_slice::<Reading<OfPodman>>(json).map(|reading| reading.list),
    }
}

/// A container as Docker tells of it (`ContainerSummary` in its API reference).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfDocker {
    id: String,
    #[serde(default)]
    names: Option<AtMost<String, 1>>,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    labels: Option<Labels>,
    #[serde(default)]
    ports: Option<AtMost<DockerPort, PORTS>>,
}

#[derive(Deserialize)]
struct DockerPort {
    #[serde(rename = "IP", default)]
    ip: Option<String>,
    /// None where the port is not published.
    #[serde(rename = "PublicPort", default)]
    public: Option<u16>,
    #[serde(rename = "Type", default)]
    protocol: String,
}

/// A container as Podman tells of it (`ListContainer` in `pkg/domain/entities` of its source).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfPodman {
    id: String,
    #[serde(default)]
    names: Option<AtMost<String, 1>>,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    pod: String,
    #[serde(default)]
    is_infra: bool,
    #[serde(default)]
    labels: Option<Labels>,
    #[serde(default)]
    ports: Option<AtMost<PodmanPort, PORTS>>,
}

#[derive(Deserialize)]
struct PodmanPort {
    #[serde(default)]
    host_ip: Option<String>,
    #[serde(default)]
    host_port: u16,
    #[serde(default)]
    range: u16,
    #[serde(default)]
    protocol: String,
}

/// What both have in common.
trait Summary: DeserializeOwned {
    /// `None` when it exceeds the bounds.
    fn told(self) -> Option<Told>;
}

impl Summary for OfDocker {
    fn told(self) -> Option<Told> {
        let ports = whole(self.ports)?.into_iter();
        let ports = ports.filter_map(|port| published(&port.protocol, port.ip, port.public?, 1));
        Some(Told {
            id: clean(self.id, KEY_CHARS),
            container: container(self.names, self.image, self.labels)?,
            pod: String::new(),
            is_infra: false,
            ports: ports.collect(),
        })
    }
}

impl Summary for OfPodman {
    fn told(self) -> Option<Told> {
        let ports = whole(self.ports)?.into_iter();
        let ports =
            ports.filter_map(|port| published(&port.protocol, port.host_ip, port.host_port, port.range));
        Some(Told {
            id: clean(self.id, KEY_CHARS),
            container: container(self.names, self.image, self.labels)?,
            pod: clean(self.pod, KEY_CHARS),
            is_infra: self.is_infra,
            ports: ports.collect(),
        })
    }
}

fn whole<T, const N: usize>(items: Option<AtMost<T, N>>) -> Option<Vec<T>> {
    let items = items.unwrap_or_default();
    (!items.is_cut).then_some(items.items)
}

fn container(
    names: Option<AtMost<String, 1>>,
    image: Option<String>,
    labels: Option<Labels>,
) -> Option<Container> {
    // A container that others link to has further names, which are theirs.
    let name = names.unwrap_or_default().items.pop().unwrap_or_default();
    let labels = labels.unwrap_or_default();
    (!labels.is_cut).then(|| Container {
        name: clean(name.strip_prefix('/').unwrap_or(&name), KEY_CHARS),
        image: clean(image.unwrap_or_default(), KEY_CHARS),
        labels: labels.texts,
        pod: Vec::new(),
    })
}

/// `None` for what is no port of TCP or UDP, such as SCTP's.
fn published(protocol: &str, ip: Option<String>, port: u16, count: u16) -> Option<Published> {
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    // Podman leaves out the address that is every address, or says nothing in its place.
    let ip = ip.and_then(|ip| ip.parse().ok()).and_then(published_at);
    (port > 0).then(|| Published {
        protocol,
        ip,
        ports: (port, port.saturating_add(count.saturating_sub(1))),
    })
}

impl Told {
    /// How much it costs to keep.
    fn bytes(&self) -> usize {
        let Container {
            name, image, labels, ..
        } = &self.container;
        let texts = labels.iter().flat_map(|(key, value)| [key, value]);
        let texts = texts.chain([&self.id, &self.pod, name, image]);
        texts.map(|text| text.len() + OVERHEAD).sum::<usize>() + self.ports.len() * 2 * OVERHEAD
    }
}

/// Reads a list, one container after the other, and keeps of each what is wanted.
struct Reading<T> {
    list: List,
    of: PhantomData<T>,
}

impl<'de, T: Summary> Deserialize<'de> for Reading<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self {
            list: List::default(),
            of: PhantomData,
        })
    }
}

impl<'de, T: Summary> Visitor<'de> for Reading<T> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of containers")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Self, A::Error> {
        let mut left = KEPT_BYTES;
        while let Some(summary) = seq.next_element::<T>()? {
            let told = summary.told();
            match told.and_then(|told| Some((left.checked_sub(told.bytes())?, told))) {
                Some((rest, told)) => {
                    left = rest;
                    self.list.containers.push(told);
                }
                None => self.list.left_out += 1,
            }
        }
        Ok(self)
    }
}

/// The first items of a list.
struct AtMost<T, const N: usize> {
    items: Vec<T>,
    is_cut: bool,
}

impl<T, const N: usize> Default for AtMost<T, N> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            is_cut: false,
        }
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for AtMost<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self::default())
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for AtMost<T, N> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Self, A::Error> {
        while self.items.len() < N {
            match seq.next_element()? {
                Some(item) => self.items.push(item),
                None => return Ok(self),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            self.is_cut = true;
        }
        Ok(self)
    }
}

/// Labels, safe to print.
#[derive(Default)]
struct Labels {
    texts: BTreeMap<String, String>,
    is_cut: bool,
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Labels {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while self.texts.len() < LABELS {
            match map.next_entry::<String, Option<String>>()? {
                Some((key, text)) => {
                    let text = value(text.unwrap_or_default());
                    self.texts.insert(clean(key, KEY_CHARS), text);
                }
                None => return Ok(self),
            }
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            self.is_cut = true;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
