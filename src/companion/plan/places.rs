//! Which port of Windows each forward gets that would take another one than it wants (`auto`). Pure, like the rest of the
//! plan: it depends on the claims, the surroundings, what came of earlier tries, and the places of the pass before.
//!
//! **Search.** The wanted port comes first, then the ports after it, in the order of [`candidates`]. Passed over is what
//! policy refuses, what another forward wants or has, and what could not be opened at every address: all addresses of one
//! forward have the same port. Each pass moves on by one port, and the next one sees what came of it.
//!
//! **A place stays.** Once a forward was served at a port it keeps that port for as long as its distro asks for it, though the
//! wanted one becomes free: somebody uses the address. It moves only if it can be served there at no address any more, or
//! if somebody with an older claim comes back. While the distro is away, or the forward needs no port, its place is
//! remembered and free for others; a set without the forward forgets it.
//!
//! **When all ports were tried** in vain, the search goes round again, one port with each pass, as other conflicts are tried
//! again; and a port that can be had at one address will do then.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use wslnet_protocol::{Forward, Reach};

use super::means::{Target, Targets, means, refused, targets};
use super::networks::lan_addresses;
use super::{Actual, Applied, Surroundings};
use crate::ledger::{Claim, Claims, DistroClaims, Key};

/// How many ports after the wanted one are candidates.
const NEAR: u16 = 100;
/// How many further steps of [`NEAR`] ports follow: Windows reserves ports for Hyper-V by the hundred, often several hundred
/// in a row (`netsh interface ipv4 show excludedportrange tcp`).
const FAR: u16 = 20;
/// Below it are the ports of well-known services. No search ends up there unless it began there.
const WELL_KNOWN: u16 = 1024;

/// Where a forward is that would take another port than it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its port of Windows.
    pub port: u16,
    /// The port that it wants.
    pub wanted: u16,
    /// Why it could not have that one when it was last tried, as a sentence of its own.
    pub why: Option<String>,
    /// How sure the place is.
    pub stage: Stage,
}

/// How sure a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The forward is not there now. If it comes back it gets this port, unless somebody else wants it.
    Remembered,
    /// It is being tried, and has to do at every address.
    Tried,
    /// It is being tried after all others were, and has to do at one address.
    TriedAgain,
    /// The forward was served there.
    Held,
}

/// The places of all distros, by the ports that their forwards want.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<String, BTreeMap<Key, Place>>);

impl Places {
    /// The place that counts now; `None` for a forward that insists on its port, needs none, or finds none.
    pub fn of(&self, distro: &str, wanted: Key) -> Option<&Place> {
        self.recall(distro, wanted)
            .filter(|place| place.stage != Stage::Remembered)
    }

    /// Whether a search has gone on since those places, so that another pass may bring it to its end. One that goes round
    /// again has time.
    pub fn search_on(&self, since: &Self) -> bool {
        let goes_on = |distro: &str, wanted: Key, place: &Place| {
            let before = since.of(distro, wanted);
            let moved = before.map(|before| before.port) != Some(place.port);
            let is_first_round =
                place.stage == Stage::Tried || before.is_some_and(|before| before.stage == Stage::Tried);
            moved && is_first_round
        };
        self.0.iter().any(|(distro, places)| {
            places
                .iter()
                .any(|(wanted, place)| goes_on(distro, *wanted, place))
        })
    }

    /// Forgets the places of a distro that will not come back.
    pub fn forget(&mut self, distro: &str) {
        self.0.remove(distro);
    }

    fn recall(&self, distro: &str, wanted: Key) -> Option<&Place> {
        self.0.get(distro)?.get(&wanted)
    }

    fn put(&mut self, distro: &str, wanted: Key, place: Place) {
        self.0.entry(distro.to_owned()).or_default().insert(wanted, place);
    }

    /// What is remembered of these places whatever becomes of the forwards now.
    fn remembered(&self, claims: &Claims<'_>) -> Self {
        let mut kept = Self::default();
        for (distro, places) in &self.0 {
            let wishes = claims.distros.get(distro.as_str()).filter(|wishes| wishes.heard);
            let asked_for = wishes.map(auto_keys);
            for (wanted, place) in places {
                if asked_for.as_ref().is_none_or(|keys| keys.contains(wanted)) {
                    let place = Place {
                        stage: Stage::Remembered,
                        ..place.clone()
                    };
                    kept.put(distro, *wanted, place);
                }
            }
        }
        kept
    }
}

fn auto_keys(wishes: &DistroClaims<'_>) -> BTreeSet<Key> {
    let wishes = wishes.granted.iter().chain(wishes.over_limit);
    wishes.filter(|forward| forward.auto).map(Key::of).collect()
}

/// Decides the places, given those of the pass before. Depends on nothing but its arguments.
pub fn assign(
    claims: &Claims<'_>,
    surroundings: &Surroundings<'_>,
    actual: &Actual,
    former: &Places,
) -> Places {
    let mut places = former.remembered(claims);
    let all = claims
        .ports
        .iter()
        .flat_map(|(key, claimants)| claimants.iter().map(|claim| (*key, *claim)));
    if !all.clone().any(|(_, claim)| claim.forward.auto) {
        return places;
    }
    let targets = targets(claims, surroundings);
    let mut search = Search::new(claims, surroundings, &targets);
    let mut seekers: Vec<_> = all
        .filter(|(_, claim)| seeks(claim, &targets, surroundings))
        .collect();
    seekers.sort_by_key(|(_, claim)| claim.rank());

    // First those who stay, so that nobody else gets their ports.
    let mut movers = Vec::new();
    for (wanted, claim) in seekers {
        match former.of(claim.distro, wanted) {
            Some(place) => match search.stays(wanted, &claim, place, actual) {
                Ok(place) => {
                    search.take(wanted.at(place.port), claim.distro);
                    places.put(claim.distro, wanted, place);
                }
                Err(origin) => movers.push((wanted, claim, origin)),
            },
            None => {
                let origin = match former.recall(claim.distro, wanted) {
                    Some(place) => Origin::Memory(place.clone()),
                    None => Origin::Nothing,
                };
                movers.push((wanted, claim, origin));
            }
        }
    }
    for (wanted, claim, origin) in movers {
        if let Some(place) = search.find(wanted, &claim, origin) {
            search.take(wanted.at(place.port), claim.distro);
            places.put(claim.distro, wanted, place);
        }
    }
    places
}

/// Whether a claim is one that a search could help: it needs a relay, may have one, and another port will do.
pub(super) fn seeks(claim: &Claim<'_>, targets: &Targets<'_>, surroundings: &Surroundings<'_>) -> bool {
    let Forward {
        auto,
        reach,
        protocol,
        ..
    } = *claim.forward;
    auto && reach.min(surroundings.policy.reach) == Reach::Lan
        && surroundings.backend.carries(protocol)
        && matches!(targets.get(claim.distro), Some(Target::Dialled(Ok(_))))
}

/// Where a search begins.
enum Origin {
    /// At the wanted port.
    Nothing,
    /// At the port that the forward had before it went away, then at the wanted one.
    Memory(Place),
    /// After the place that would not do, for this reason if it is the wanted one.
    Failed(Place, String),
    /// At the wanted port, because the place was lost. The reason is for the case that it is the wanted one.
    Lost(Place, String),
}

/// What a search must know of the others.
struct Search<'a> {
    claims: &'a Claims<'a>,
    surroundings: &'a Surroundings<'a>,
    addresses: BTreeSet<IpAddr>,
    /// The first claim on each port that insists on it and could be applied.
    fixed: BTreeMap<Key, Claim<'a>>,
    /// Who has which port by a place.
    taken: BTreeMap<Key, &'a str>,
}

impl<'a> Search<'a> {
    fn new(claims: &'a Claims<'a>, surroundings: &'a Surroundings<'a>, targets: &Targets<'_>) -> Self {
        let first = |(key, claimants): (&Key, &Vec<Claim<'a>>)| {
            let fixed = claimants.iter().find(|claim| {
                let could_be = |target| means(*key, claim.forward, target, surroundings).is_ok();
                !seeks(claim, targets, surroundings) && targets.get(claim.distro).is_some_and(could_be)
            });
            fixed.map(|claim| (*key, *claim))
        };
        let Surroundings {
            interfaces,
            control,
            policy,
            ..
        } = *surroundings;
        Self {
            claims,
            surroundings,
            addresses: lan_addresses(interfaces, &control, policy).into_iter().collect(),
            fixed: claims.ports.iter().filter_map(first).collect(),
            taken: BTreeMap::new(),
        }
    }

    fn take(&mut self, key: Key, distro: &'a str) {
        self.taken.insert(key, distro);
    }

    /// The place as it is now if the forward stays there, or where it has to search.
    fn stays(&self, wanted: Key, claim: &Claim<'_>, place: &Place, actual: &Actual) -> Result<Place, Origin> {
        let key = wanted.at(place.port);
        if let Some(why) = self.unavailable(key, claim) {
            return Err(Origin::Lost(place.clone(), why));
        }
        let applied = actual
            .relays
            .get(&key)
            .filter(|applied| applied.distro == claim.distro);
        let Some(applied) = applied else {
            return Ok(place.clone());
        };
        let serves = applied
            .listening
            .iter()
            .any(|address| self.addresses.contains(&address.ip()));
        match (self.conflict(applied, key), place.stage, serves) {
            (Some(why), Stage::Tried, _) | (Some(why), Stage::TriedAgain, false) => {
                Err(Origin::Failed(place.clone(), why))
            }
            (Some(why), Stage::Held, false) => Err(Origin::Lost(place.clone(), why)),
            (_, _, true) => Ok(Place {
                stage: Stage::Held,
                ..place.clone()
            }),
            (None, _, false) | (Some(_), Stage::Remembered, false) => Ok(place.clone()),
        }
    }

    /// Why the relay cannot have its port at one of the present addresses, if somebody else is the reason.
    fn conflict(&self, applied: &Applied, key: Key) -> Option<String> {
        let mut failed = applied
            .failed
            .iter()
            .filter(|(address, _)| self.addresses.contains(&address.ip()));
        let conflict = failed.find_map(|(_, failure)| failure.conflict.as_deref())?;
        Some(format!("port {} was {conflict}", key.port))
    }

    /// Why the claim cannot have this port, as far as that is known without trying.
    fn unavailable(&self, key: Key, claim: &Claim<'_>) -> Option<String> {
        if let Some(refused) = refused(key, self.surroundings) {
            return Some(refused.what);
        }
        let older = self.fixed.get(&key).filter(|fixed| fixed.rank() < claim.rank());
        let holder = older
            .map(|fixed| fixed.distro)
            .or_else(|| self.taken.get(&key).copied())?;
        Some(if holder == claim.distro {
            format!("port {} was taken by another forward of the distro", key.port)
        } else {
            format!("port {} was taken by distro `{holder}`", key.port)
        })
    }

    fn find(&self, wanted: Key, claim: &Claim<'_>, origin: Origin) -> Option<Place> {
        let is_free = |port: u16| {
            let key = wanted.at(port);
            // What anybody wants is theirs, though they may not have it now.
            let is_wanted = port != wanted.port && self.claims.ports.contains_key(&key);
            !is_wanted && self.unavailable(key, claim).is_none()
        };
        let order: Vec<u16> = candidates(wanted.port).collect();
        // What was lost a moment ago is not to be had again at once.
        let lost = match &origin {
            Origin::Lost(place, _) => Some(place.port),
            Origin::Nothing | Origin::Memory(_) | Origin::Failed(..) => None,
        };
        let (after, mut why, again) = match origin {
            Origin::Memory(place) if is_free(place.port) => {
                return Some(Place {
                    stage: Stage::Tried,
                    ..place
                });
            }
            Origin::Nothing | Origin::Memory(_) => (None, None, false),
            Origin::Failed(place, why) if place.port == wanted.port => {
                (Some(place.port), Some(why), place.stage == Stage::TriedAgain)
            }
            Origin::Failed(place, _) => (Some(place.port), place.why, place.stage == Stage::TriedAgain),
            Origin::Lost(place, why) if place.port == wanted.port => (Some(place.port), Some(why), false),
            Origin::Lost(..) => (None, None, false),
        };
        let begin = after
            .and_then(|port| order.iter().position(|candidate| *candidate == port))
            .map_or(0, |index| index + 1);
        for step in begin..begin + order.len() {
            let port = order[step % order.len()];
            if is_free(port) && lost != Some(port) {
                let stage = if again || step >= order.len() {
                    Stage::TriedAgain
                } else {
                    Stage::Tried
                };
                return Some(Place {
                    port,
                    wanted: wanted.port,
                    why,
                    stage,
                });
            }
            if port == wanted.port {
                why = self.unavailable(wanted, claim);
            }
        }
        None
    }
}

/// The ports at which a forward may end up that wants this one, in the order of the search: the port itself, the
/// [`NEAR`] ones after it, then every [`NEAR`]th. After the last port comes the first one that is not well known.
fn candidates(wanted: u16) -> impl Iterator<Item = u16> {
    let steps = (0..=NEAR).chain((2..=FAR + 1).map(|step| step * NEAR));
    steps.map(move |step| {
        wanted
            .checked_add(step)
            .unwrap_or_else(|| wanted.wrapping_add(step) + WELL_KNOWN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_begin_with_the_wanted_port_and_are_all_different() {
        for wanted in [1, 80, 1023, 1024, 8000, 63_000, 65_500, u16::MAX] {
            let all: Vec<u16> = candidates(wanted).collect();

            assert_eq!(all[0], wanted);
            assert_eq!(all.len(), usize::from(1 + NEAR + FAR));
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
            assert!(
                wanted < WELL_KNOWN || all.iter().all(|port| *port >= WELL_KNOWN),
                "{wanted}"
            );
            assert!(!all.contains(&0));
        }
    }

    #[test]
    fn candidates_count_up_and_then_step_over_reserved_hundreds() {
        let all: Vec<u16> = candidates(8000).collect();

        assert_eq!(all[..4], [8000, 8001, 8002, 8003]);
        assert_eq!(all[100..103], [8100, 8200, 8300]);
        assert_eq!(all.last(), Some(&10_100));
        assert_eq!(
            candidates(u16::MAX).take(3).collect::<Vec<_>>(),
            [u16::MAX, 1024, 1025]
        );
    }
}
