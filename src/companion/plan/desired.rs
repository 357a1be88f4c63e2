//! From claims to what should be: addresses, and who owns which port.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use wslnet_protocol::{Bind, ForwardId, Reach};

use super::means::{Means, Targets, means, targets};
use super::networks::{lan_addresses, left_out, shared_networks};
use super::places::seeks;
use super::{Desired, Opening, Outcome, Places, Relay, Surroundings, Verdict};
use crate::ledger::{Claim, Claims, Key};

/// Decides what should be. Depends on nothing but its arguments; `places` are those that [`super::assign`] found for the
/// same claims and surroundings.
pub fn desired(claims: &Claims<'_>, places: &Places, surroundings: &Surroundings<'_>) -> Desired {
    let Surroundings {
        interfaces,
        control,
        policy,
        ..
    } = *surroundings;
    let addresses = lan_addresses(interfaces, &control, policy);
    let shared = shared_networks(interfaces, policy);
    let targets = targets(claims, surroundings);
    let (mut relays, mut openings) = (BTreeMap::new(), BTreeMap::new());
    let mut outcomes: BTreeMap<(&str, ForwardId), Outcome> = BTreeMap::new();
    for (key, claimants) in placed(claims, places, &targets, surroundings) {
        let mut owner = None;
        for claim in claimants {
            let Claim { distro, forward, .. } = claim;
            let Some(target) = targets.get(distro) else {
                continue;
            };
            let outcome = match (means(key, forward, target, surroundings), owner) {
                (Err(verdict), _) => Outcome::Settled(verdict),
                // Whoever has the port: this one would take another, and needs none.
                (Ok(Means::Nothing(reason)), Some(_)) if forward.auto => {
                    Outcome::Settled(Verdict::without_relay(reason))
                }
                (Ok(_), Some(owner)) => Outcome::Settled(Verdict::conflict(key, distro, owner)),
                (Ok(Means::Nothing(reason)), None) => {
                    owner = Some(distro);
                    Outcome::Settled(Verdict::without_relay(reason))
                }
                (Ok(Means::Relay(way)), None) => {
                    owner = Some(distro);
                    let on_networks = match way.reach {
                        Reach::Host => &[][..],
                        Reach::Lan => &addresses,
                    };
                    let listen = on_networks
                        .iter()
                        .map(|ip| SocketAddr::new(*ip, key.port))
                        .collect();
                    relays.insert(
                        key,
                        Relay {
                            distro: distro.to_owned(),
                            id: forward.id,
                            target: way.target,
                            reach: way.reach,
                            listen,
                            fills_gap: way.fills_gap,
                            note: way.note,
                            place: places.of(distro, Key::of(forward)).cloned(),
                        },
                    );
                    Outcome::Relayed(key)
                }
                (Ok(Means::Open(mode)), None) => {
                    owner = Some(distro);
                    openings.insert(
                        key,
                        Opening {
                            distro: distro.to_owned(),
                            id: forward.id,
                            mode,
                            listen: shared
                                .iter()
                                .map(|(ip, _)| SocketAddr::new(*ip, key.port))
                                .collect(),
                            networks: shared.clone(),
                            is_on_loopback: forward.bind == Bind::Wildcard,
                        },
                    );
                    Outcome::Opened(key)
                }
            };
            outcomes.insert((distro, forward.id), outcome);
        }
    }
    let in_order = claims.distros.iter().map(|(distro, claims)| {
        let granted = claims
            .granted
            .iter()
            .filter_map(|f| Some((f.id, outcomes.remove(&(*distro, f.id))?)));
        let limit = claims.granted.len();
        let over = claims
            .over_limit
            .iter()
            .map(|f| (f.id, Outcome::Settled(Verdict::over_limit(limit))));
        ((*distro).to_owned(), granted.chain(over).collect())
    });
    let outcomes = in_order.collect();
    Desired {
        relays,
        openings,
        outcomes,
        left_out: left_out(interfaces, &control, policy),
    }
}

/// The claims, in order, on each port that they come down to: the wanted one, or the place that was found instead.
fn placed<'a>(
    claims: &Claims<'a>,
    places: &Places,
    targets: &Targets<'_>,
    surroundings: &Surroundings<'_>,
) -> BTreeMap<Key, Vec<Claim<'a>>> {
    let mut placed: BTreeMap<Key, Vec<(bool, Claim<'a>)>> = BTreeMap::new();
    for (wanted, claimants) in &claims.ports {
        for claim in claimants {
            let place = places.of(claim.distro, *wanted);
            let key = place.map_or(*wanted, |place| wanted.at(place.port));
            // One whose search found nothing takes the port from nobody.
            let is_last = place.is_none() && seeks(claim, targets, surroundings);
            placed.entry(key).or_default().push((is_last, *claim));
        }
    }
    let in_order = |mut claimants: Vec<(bool, Claim<'a>)>| {
        claimants.sort_by(|(a_last, a), (b_last, b)| (a_last, a.rank()).cmp(&(b_last, b.rank())));
        claimants.into_iter().map(|(_, claim)| claim).collect()
    };
    placed
        .into_iter()
        .map(|(key, claimants)| (key, in_order(claimants)))
        .collect()
}
