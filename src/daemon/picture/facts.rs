//! All labels of a listener: those of the socket and its holders, and those that only the whole picture knows.

use crate::containers::Container;
use crate::labels::{Labels, value};
use crate::observe::Listener;
use crate::policy::Surroundings;
use crate::units::Said;

/// Joins the labels. What a container or a unit says of wslnetd counts as if its program said it.
pub(super) fn labels(
    listener: &Listener,
    container: Option<&Container>,
    said: &Said<'_>,
    distro: Option<&str>,
    surroundings: &Surroundings,
) -> Labels {
    let mut labels = listener.labels.clone();
    if let Some(interface) = surroundings.interface_of(&listener.socket) {
        labels.insert("interface", interface);
    }
    for container in container.iter().flat_map(|container| container.all()) {
        of_container(&mut labels, container);
    }
    for text in said.values() {
        labels.insert("wslnetd", text);
    }
    if let Some(distro) = distro {
        labels.insert("distro", distro);
    }
    labels
}

fn of_container(labels: &mut Labels, container: &Container) {
    labels.insert("container", container.name.as_str());
    if !container.image.is_empty() {
        labels.insert("image", container.image.as_str());
    }
    let own = |key: &str| container.labels.get(key).filter(|text| !text.is_empty());
    // As Docker Compose and podman-compose set them.
    for (key, label) in [
        ("com.docker.compose.project", "compose.project"),
        ("com.docker.compose.service", "compose.service"),
    ] {
        if let Some(text) = own(key) {
            labels.insert(label, text.as_str());
        }
    }
    // An empty one may have been meant as `off`: it is kept, and means nothing to the policy.
    if let Some(text) = container.labels.get("wslnetd") {
        labels.insert("wslnetd", text.as_str());
    }
    for (key, text) in &container.labels {
        labels.insert(format!("container.label.{}", value(key)), text.as_str());
    }
}
