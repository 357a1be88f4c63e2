//! Asks the kernel for links, addresses and default routes and turns the answers into a [`NetworkView`].

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel has dozens of attributes, and adds more"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::{Iface, NetworkView};

/// The whole view. The four answers may be of slightly different moments; a change in between sends a message, which
/// leads to another query.
///
/// # Errors
/// When the kernel refuses one of the requests.
pub(super) async fn view(handle: &Handle) -> Result<NetworkView, rtnetlink::Error> {
    let mut view = NetworkView::default();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await? {
        let (index, iface) = iface(link);
        view.interfaces.insert(index, iface);
    }
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await? {
        let iface = view.interfaces.get_mut(&message.header.index);
        if let (Some(iface), Some(address)) = (iface, address(&message)) {
            iface.addresses.push(address);
        }
    }
    let v4 = routes(handle, RouteMessageBuilder::<Ipv4Addr>::new().build()).await?;
    view.default_gateway_v4 = best_gateway(&v4, |address| match address {
        RouteAddress::Inet(gateway) => Some(*gateway),
        _ => None,
    });
    let v6 = routes(handle, RouteMessageBuilder::<Ipv6Addr>::new().build()).await?;
    view.default_gateway_v6 = best_gateway(&v6, |address| match address {
        RouteAddress::Inet6(gateway) => Some(*gateway),
        _ => None,
    });
    view.default_interfaces = v4.iter().chain(&v6).flat_map(interfaces).collect();
    Ok(view)
}

async fn routes(handle: &Handle, request: RouteMessage) -> Result<Vec<RouteMessage>, rtnetlink::Error> {
    let mut defaults = Vec::new();
    let mut routes = handle.route().get(request).execute();
    while let Some(route) = routes.try_next().await? {
        if is_default(&route) {
            defaults.push(route);
        }
    }
    Ok(defaults)
}

fn iface(link: LinkMessage) -> (u32, Iface) {
    let name = link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    });
    (
        link.header.index,
        Iface {
            name: name.unwrap_or_default(),
            addresses: Vec::new(),
        },
    )
}

/// The interface's own address: IFA_LOCAL where there is one (on point-to-point links IFA_ADDRESS is the peer).
fn address(message: &AddressMessage) -> Option<(IpAddr, u8)> {
    let mut own = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => return Some((*address, message.header.prefix_len)),
            AddressAttribute::Address(address) => own = Some((*address, message.header.prefix_len)),
            _ => {}
        }
    }
    own
}

fn is_default(route: &RouteMessage) -> bool {
    let header = &route.header;
    let table = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    header.destination_prefix_length == 0
        && header.kind == RouteType::Unicast
        && table.unwrap_or_else(|| header.table.into()) == u32::from(RouteHeader::RT_TABLE_MAIN)
}

/// The gateway of the route with the lowest metric; among equals the kernel's order decides.
fn best_gateway<A>(routes: &[RouteMessage], pick: impl Fn(&RouteAddress) -> Option<A>) -> Option<(A, u32)> {
    let best = routes
        .iter()
        .filter_map(|route| gateway(route, &pick).map(|gateway| (metric(route), gateway)))
        .min_by_key(|(metric, _)| *metric);
    best.map(|(_, gateway)| gateway)
}

/// The interfaces by which a route leads, with or without a gateway.
fn interfaces(route: &RouteMessage) -> Vec<u32> {
    let of = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Oif(index) => vec![*index],
        RouteAttribute::MultiPath(hops) => hops.iter().map(|hop| hop.interface_index).collect(),
        _ => vec![],
    };
    route.attributes.iter().flat_map(of).collect()
}

fn metric(route: &RouteMessage) -> u32 {
    let priority = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    priority.unwrap_or(0)
}

fn gateway<A>(route: &RouteMessage, pick: impl Fn(&RouteAddress) -> Option<A>) -> Option<(A, u32)> {
    let mut gateway = None;
    let mut interface = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Gateway(address) => gateway = pick(address),
            RouteAttribute::Oif(index) => interface = Some(*index),
            // Several next hops: the first one with a gateway.
            RouteAttribute::MultiPath(hops) => {
                let hop = hops.iter().find_map(|hop| {
                    let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
                        RouteAttribute::Gateway(address) => pick(address),
                        _ => None,
                    });
                    Some((gateway?, hop.interface_index))
                });
                if hop.is_some() {
                    return hop;
                }
            }
            _ => {}
        }
    }
    gateway.zip(interface)
}
