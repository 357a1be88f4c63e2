//! What must hold on the way and at its end, judged from the machine, the policy and the ledger, not from the plan's own desired state.

use super::*;

/// Judged from the machine, the policy and the ledger, not from the plan's own desired state.
pub(super) fn lawful(bench: &Bench, before: &Before, action: &Action) -> Result<(), TestCaseError> {
    let claims = bench.ledger.claims();
    match action {
        Action::Listen { key, address } => {
            let ip = address.ip();
            let carriers: Vec<_> = bench
                .interfaces
                .iter()
                .filter(|i| i.addresses.iter().any(|a| a.address == ip && a.preferred))
                .collect();
            prop_assert!(
                !carriers.is_empty() && carriers.iter().all(|i| i.up && !i.loopback),
                "{address}"
            );
            prop_assert!(carriers.iter().all(|i| i.name != "vEthernet (WSL)"), "{address}");
            prop_assert!(
                carriers.iter().all(|i| !bench.policy.excludes(&i.name)),
                "{address}"
            );
            prop_assert!(
                !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast(),
                "{address}"
            );
            prop_assert!(
                !ip.to_string().starts_with("169.254.") && !ip.to_string().starts_with("fe80"),
                "{address}"
            );
            prop_assert_eq!(key.port, address.port());
            prop_assert_eq!(bench.policy.reach, Reach::Lan);
            may_be_open(bench, *key)?;
        }
        Action::FillGap { key } => {
            let filled = &bench.actual.relays[key];
            let claims = &claims.distros[filled.distro.as_str()];
            let forward = claims.granted.iter().find(|f| f.id == filled.id).unwrap();
            // WSL has not said a word about any other port than the wanted one.
            prop_assert!(
                forward.loopback_gap && Key::of(forward) == *key,
                "{action:?} for {forward:?}"
            );
            prop_assert!(has_loopback(bench), "{action:?}");
            may_be_open(bench, *key)?;
        }
        Action::Open {
            key,
            distro,
            id,
            target,
        } => {
            may_be_open(bench, *key)?;
            let forward = claims.distros[distro.as_str()]
                .granted
                .iter()
                .find(|f| f.id == *id)
                .unwrap();
            let wanted = Key::of(forward);
            let is_for_windows = forward.loopback_gap && !forward.auto && has_loopback(bench);
            prop_assert!(
                forward.reach.min(bench.policy.reach) == Reach::Lan || is_for_windows,
                "{action:?}"
            );
            prop_assert_eq!(wanted.protocol, key.protocol);
            dialled(bench, distro, forward, *target)?;
            let rivals = claims.ports.get(key).map_or(&[][..], Vec::as_slice);
            let is_other = |claim: &&Claim<'_>| claim.distro != *distro || claim.forward.id != *id;
            if *key == wanted {
                // Whoever came before could not have it, or is elsewhere.
                let earlier = rivals.iter().take_while(is_other);
                for claim in earlier {
                    let place = bench.places.of(claim.distro, *key);
                    let seeks = claim.forward.auto && claim.forward.reach == Reach::Lan;
                    prop_assert!(
                        !is_neighbour(claims.distros[claim.distro].peer)
                            || (seeks && place.is_none_or(|place| place.port != key.port)),
                        "{action:?} before {claim:?}"
                    );
                }
            } else {
                prop_assert!(forward.auto, "{action:?}");
                prop_assert!(
                    key.port > wanted.port && key.port - wanted.port <= 2_100,
                    "{action:?}"
                );
                // A port that somebody else wants is not chosen, though one that was chosen before is kept.
                let is_kept = before.places.of(distro, wanted).map(|p| p.port) == Some(key.port);
                prop_assert!(
                    is_kept || rivals.iter().filter(is_other).count() == 0,
                    "{action:?}"
                );
            }
        }
        Action::Adopt { key, id } => {
            let former = &before.actual.relays[key];
            let claims = &claims.distros[former.distro.as_str()];
            prop_assert!(!claims.revoked.contains(&former.id), "{action:?}");
            prop_assert!(
                claims
                    .granted
                    .iter()
                    .any(|f| f.id == *id && f.protocol == key.protocol),
                "{action:?}"
            );
        }
        Action::Retarget { key, target } => {
            let now = &bench.actual.relays[key];
            let claims = &claims.distros[now.distro.as_str()];
            let forward = claims.granted.iter().find(|f| f.id == now.id).unwrap();
            dialled(bench, &now.distro, forward, *target)?;
        }
        Action::Close { key, connections } => {
            let closed = &before.actual.relays[key];
            let Some(distro) = claims.distros.get(closed.distro.as_str()) else {
                prop_assert_eq!(*connections, Connections::Cut);
                return Ok(());
            };
            if distro.revoked.contains(&closed.id) {
                prop_assert_eq!(*connections, Connections::Cut);
            } else if distro
                .granted
                .iter()
                .chain(distro.over_limit)
                .all(|f| f.id != closed.id)
            {
                prop_assert_eq!(*connections, Connections::Drain);
            }
        }
        Action::Unlisten { .. } => {}
    }
    Ok(())
}

fn may_be_open(bench: &Bench, key: Key) -> Result<(), TestCaseError> {
    prop_assert!(key.port != 3389, "{key}");
    match key.protocol {
        Protocol::Tcp => prop_assert!(key.port != bench.control.port(), "{key}"),
        Protocol::Udp => prop_assert!(key.port != 5050, "{key}"),
    }
    prop_assert!(bench.policy.refusal(key.protocol, key.port).is_none(), "{key}");
    Ok(())
}

/// Whether Windows' own 127.0.0.1 is there and nobody excluded it.
fn has_loopback(bench: &Bench) -> bool {
    bench
        .interfaces
        .iter()
        .any(|i| i.loopback && !bench.policy.excludes(&i.name))
}

fn dialled(bench: &Bench, distro: &str, forward: &Forward, target: SocketAddr) -> Result<(), TestCaseError> {
    let peer = bench.ledger.claims().distros[distro].peer;
    prop_assert_eq!(target, SocketAddr::new(peer, forward.port));
    prop_assert!(is_neighbour(peer), "{target}");
    Ok(())
}

/// Of the peers of this test.
fn is_neighbour(peer: IpAddr) -> bool {
    ["172.20.0.2", "172.20.0.3"].contains(&peer.to_string().as_str())
}

pub(super) fn converged(bench: &Bench) -> Result<(), TestCaseError> {
    let desired = bench.desired();
    prop_assert!(bench.actual.relays.keys().eq(desired.relays.keys()));
    for (key, relay) in &desired.relays {
        let applied = &bench.actual.relays[key];
        prop_assert_eq!(
            (&applied.distro, applied.id, applied.target),
            (&relay.distro, relay.id, relay.target)
        );
        let met: BTreeSet<_> = applied
            .listening
            .iter()
            .chain(applied.failed.keys())
            .copied()
            .collect();
        let gap = relay.fills_gap.then(|| loopback_gap(key.port));
        let wanted: BTreeSet<_> = relay.listen.iter().copied().chain(gap).collect();
        prop_assert_eq!(&met, &wanted);
        prop_assert!(
            applied
                .listening
                .iter()
                .all(|address| !applied.failed.contains_key(address))
        );
    }
    Ok(())
}

/// Each forward has a state, in order, and a reason unless all is well; what is said to be open is open. One that would take
/// another port says which it has, and gives up on none that could be had.
pub(super) fn told(bench: &Bench) -> Result<(), TestCaseError> {
    let desired = bench.desired();
    let mut open = BTreeSet::new();
    for (distro, claims) in &bench.ledger.claims().distros {
        let statuses = statuses(&desired, &bench.actual, &Opinions::new(), distro);
        let wanted: Vec<&Forward> = claims.granted.iter().chain(claims.over_limit).collect();
        prop_assert!(
            statuses
                .iter()
                .map(|status| status.id)
                .eq(wanted.iter().map(|forward| forward.id))
        );
        for (status, forward) in statuses.iter().zip(wanted) {
            prop_assert!(
                status.state == ForwardState::Active || !status.reason.is_empty(),
                "{status:?}"
            );
            prop_assert!(
                status
                    .listen
                    .iter()
                    .all(|address| open.insert((forward.protocol, *address))),
                "{status:?}"
            );
            let elsewhere = status.listen.iter().find(|a| a.port() != forward.listen_port);
            if let Some(address) = elsewhere {
                let said = format!("; listens at {} instead", address.port());
                prop_assert!(status.reason.contains(&said), "{status:?}");
            }
            if forward.auto && status.state == ForwardState::Conflict {
                prop_assert!(
                    bench.all_busy || in_force(bench).all(|(d, f, _)| (d, f.id) != (*distro, forward.id))
                );
            }
        }
    }
    let listening: BTreeSet<(Protocol, SocketAddr)> = bench
        .actual
        .relays
        .iter()
        .flat_map(|(key, applied)| applied.listening.iter().map(|address| (key.protocol, *address)))
        .collect();
    prop_assert_eq!(open, listening);
    Ok(())
}
