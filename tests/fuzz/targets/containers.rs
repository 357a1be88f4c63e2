//! What engines and the reader say of containers: the same bytes as Docker's list, as Podman's, and as a report.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;
use wslnet_daemon::containers::EngineKind;
use wslnet_daemon::containers::fuzzing::{REPORT_BYTES, reported, understood};

use crate::printable::assert_line;

/// How many labels, and how many published ports, a container may have.
const LABELS: usize = 256;
const PORTS: usize = 4096;

/// A report with a list, as its readers know it.
#[derive(Deserialize)]
struct Report {
    answer: Answer,
}

#[derive(Deserialize)]
struct Answer {
    list: List,
}

#[derive(Deserialize)]
struct List {
    containers: Vec<Told>,
    left_out: usize,
}

#[derive(Deserialize)]
struct Told {
    id: String,
    container: Container,
    #[serde(default)]
    pod: String,
    ports: Vec<Published>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    image: String,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Published {
    ip: Option<IpAddr>,
    ports: (u16, u16),
}

pub(super) fn target(json: &[u8]) {
    for kind in [EngineKind::Docker, EngineKind::Podman] {
        if let Ok(report) = reported(kind, json) {
            assert_report(&report, json);
        }
    }
    if let Ok(line) = str::from_utf8(json)
        && let Ok(once) = understood(line)
    {
        assert_is_understood(&once);
    }
}

/// That a report is one line, which is understood as it was meant.
fn assert_is_understood(report: &[u8]) {
    let line = report
        .strip_suffix(b"\n")
        .and_then(|line| str::from_utf8(line).ok());
    let line = line.filter(|line| !line.contains('\n'));
    let again = line.and_then(|line| understood(line).ok());
    assert_eq!(again.as_deref(), Some(report));
}

fn assert_report(report: &[u8], json: &[u8]) {
    assert!(report.len() <= REPORT_BYTES);
    assert_is_understood(report);
    let Ok(Report { answer }) = serde_json::from_slice::<Report>(report) else {
        panic!("{:?}", String::from_utf8_lossy(report));
    };
    let List { containers, left_out } = answer.list;
    // Every container that the engine told of is there, or counted.
    if let Ok(Value::Array(told)) = serde_json::from_slice(json) {
        assert_eq!(containers.len() + left_out, told.len());
    }
    for told in &containers {
        let Container { name, image, labels } = &told.container;
        assert!(labels.len() <= LABELS && told.ports.len() <= PORTS);
        let texts = labels.iter().flat_map(|(key, value)| [key, value]);
        texts
            .chain([&told.id, &told.pod, name, image])
            .for_each(|text| assert_line(text));
        for port in &told.ports {
            assert!(0 < port.ports.0 && port.ports.0 <= port.ports.1);
            assert!(
                port.ip
                    .is_none_or(|ip| !ip.is_unspecified() && ip.to_canonical() == ip)
            );
        }
    }
}
