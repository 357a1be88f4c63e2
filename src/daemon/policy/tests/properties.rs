//! What holds of all sockets and all configurations.

use super::*;

/// Sockets on few ports, so that many share one.
fn sockets() -> impl Strategy<Value = Vec<Socket>> {
    let address = prop_oneof![
        Just("0.0.0.0"),
        Just("127.0.0.1"),
        Just("172.20.0.2"),
        Just("172.17.0.1"),
        Just("::"),
        Just("::1"),
        Just("fd00::2"),
        Just("::ffff:172.20.0.2"),
    ];
    let one = (
        address,
        1u16..5,
        0u32..5,
        prop::option::of(any::<bool>()),
        prop::option::of(1u32..4),
    );
    prop::collection::vec(one, 0..10).prop_map(|parts| {
        let sockets = parts
            .into_iter()
            .zip(1u64..)
            .map(|((address, port, uid, v6only, interface), id)| {
                let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
                let v6only = address.is_ipv6().then_some(v6only).flatten();
                Socket {
                    uid,
                    v6only,
                    interface,
                    address,
                    ..socket(id, "0.0.0.0:1")
                }
            });
        sockets.collect()
    })
}

fn opt_outs(selectors: &[String]) -> String {
    let mut selectors: Vec<String> = selectors
        .iter()
        .map(|text| config::Selector::parse(text).unwrap().to_string())
        .collect();
    selectors.sort();
    selectors.dedup();
    format!("opt-out = {selectors:?}\n")
}

/// What would be open: protocol, port, reach.
fn open(config: &str, sockets: &[Socket], surroundings: &Surroundings) -> Vec<String> {
    let ports = ports(config, sockets, surroundings);
    ports.into_iter().filter(|port| !port.contains(':')).collect()
}

proptest! {
    #[test]
    fn what_is_opted_out_is_never_shared(selectors in prop::collection::vec(selector_text(), 1..4), sockets in sockets()) {
        let policy = policy(&opt_outs(&selectors));
        for socket in &sockets {
            let labels = labels_of(socket, None);
            let matched = selectors.iter().any(|text| config::Selector::parse(text).unwrap().matches(&labels));
            let verdict = policy.decide(socket, &labels, &Declared::Known, &by_v4());

            prop_assert!(!(matched && verdict.is_expose()), "{:?}", socket);
            prop_assert_eq!(matched, matches!(verdict.decided_by(), Some(DecidedBy::OptOut { .. })));
        }
    }

    #[test]
    fn one_opt_out_more_never_shares_more(
        selectors in prop::collection::vec(selector_text(), 0..3),
        more in selector_text(),
        sockets in sockets(),
    ) {
        let before = open(&opt_outs(&selectors), &sockets, &by_v4());
        let after = open(&opt_outs(&[selectors, vec![more]].concat()), &sockets, &by_v4());

        prop_assert!(after.iter().all(|port| before.contains(port)), "{:?} after {:?}", after, before);
    }

    #[test]
    fn the_order_of_the_sockets_does_not_matter(sockets in sockets(), v6: bool) {
        let surroundings = if v6 { by_v6() } else { by_v4() };
        let reversed: Vec<Socket> = sockets.iter().rev().cloned().collect();

        prop_assert_eq!(ports("", &sockets, &surroundings), ports("", &reversed, &surroundings));
    }

    #[test]
    fn a_forward_leads_only_to_shared_sockets(
        selectors in prop::collection::vec(selector_text(), 0..3),
        sockets in sockets(),
        v6: bool,
    ) {
        let surroundings = if v6 { by_v6() } else { by_v4() };
        let policy = policy(&opt_outs(&selectors));
        let verdicts: Vec<Verdict> = sockets.iter().map(|socket| decide(&policy, socket, &surroundings)).collect();
        let decided: Vec<Decided<'_>> =
            sockets.iter().zip(&verdicts).map(|(socket, verdict)| Decided { socket, verdict }).collect();

        for port in wanted(&decided, &surroundings) {
            if let Outcome::Wanted(wanted) = &port.outcome {
                prop_assert_eq!(Some(&wanted.id), port.receivers.iter().min());
                for one in decided.iter().filter(|one| port.receivers.contains(&one.socket.id())) {
                    prop_assert!(one.verdict.is_expose(), "{:?}", one);
                }
            }
        }
    }
}
