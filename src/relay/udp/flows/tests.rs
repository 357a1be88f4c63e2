//! The flows against a model that is a list and nothing else, and the promises that a client feels.
#![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const PATIENCE: Patience = Patience {
    answered: Duration::from_secs(60),
    unanswered: Duration::from_secs(10),
};
/// Two listening addresses with three clients each.
const ENDS: u16 = 6;

fn ends(number: u16) -> Ends {
    let (listening, client) = (number % 2, number / 2);
    Ends {
        listening: SocketAddr::from(([192, 168, 1, 20], 8000 + listening)),
        client: SocketAddr::from(([192, 168, 1, 7], 5000 + client)),
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Wait(Duration),
    Heard(u16),
    Insert(u16),
    /// This and the next two are about a flow that was taken in at some time, as its task may come too late.
    Answered(Index),
    Expire(Index),
    Remove(Index),
    Evict,
    Clear,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..30_000_u64).prop_map(|millis| Event::Wait(Duration::from_millis(millis))),
        4 => (0..ENDS).prop_map(Event::Heard),
        6 => (0..ENDS).prop_map(Event::Insert),
        6 => any::<Index>().prop_map(Event::Answered),
        6 => any::<Index>().prop_map(Event::Expire),
        3 => any::<Index>().prop_map(Event::Remove),
        2 => Just(Event::Evict),
        1 => Just(Event::Clear),
    ]
}

/// A flow as the model has it. What is kept is its number.
#[derive(Debug, Clone, Copy)]
struct Simple {
    ends: u16,
    serial: Serial,
    answered: bool,
    last: Instant,
    kept: u64,
}

#[derive(Debug, Default)]
struct Model {
    /// In the order in which they came.
    flows: Vec<Simple>,
    /// The number of the ends of every flow there ever was; its place is the flow's serial.
    taken_in: Vec<u16>,
}

impl Model {
    /// Some flow that was taken in, and may be gone.
    fn pick(&self, index: Index) -> Option<(u16, Serial)> {
        let place = (!self.taken_in.is_empty()).then(|| index.index(self.taken_in.len()))?;
        Some((self.taken_in[place], Serial(place as u64)))
    }

    fn position(&self, ends: u16, serial: Option<Serial>) -> Option<usize> {
        self.flows
            .iter()
            .position(|flow| flow.ends == ends && serial.is_none_or(|serial| flow.serial == serial))
    }

    fn remove(&mut self, ends: u16, serial: Option<Serial>) -> Option<u64> {
        let position = self.position(ends, serial)?;
        Some(self.flows.remove(position).kept)
    }
}

/// Does the same to both and compares what they answer.
fn step(flows: &mut Flows<u64>, model: &mut Model, now: &mut Instant, event: Event) {
    match event {
        Event::Wait(time) => *now += time,
        Event::Heard(number) => {
            let expected = model.position(number, None).map(|position| {
                let flow = &mut model.flows[position];
                flow.last = *now;
                (flow.serial, flow.kept)
            });
            let heard = flows.heard(&ends(number), *now);
            assert_eq!(heard.map(|(serial, kept)| (serial, *kept)), expected);
        }
        Event::Insert(number) => {
            let former = model.remove(number, None);
            let serial = model.taken_in.len() as u64;
            let flow = Simple {
                ends: number,
                serial: Serial(serial),
                answered: false,
                last: *now,
                kept: 1000 + serial,
            };
            model.taken_in.push(number);
            model.flows.push(flow);
            assert_eq!(flows.insert(ends(number), flow.kept, *now), (flow.serial, former));
        }
        Event::Answered(index) => {
            let Some((number, serial)) = model.pick(index) else {
                return;
            };
            let position = model.position(number, Some(serial));
            if let Some(position) = position {
                model.flows[position].answered = true;
                model.flows[position].last = *now;
            }
            assert_eq!(flows.answered(&ends(number), serial, *now), position.is_some());
        }
        Event::Expire(index) => {
            let Some((number, serial)) = model.pick(index) else {
                return;
            };
            let expected = match model.position(number, Some(serial)) {
                None => Expiry::Unknown,
                Some(position) => {
                    let flow = model.flows[position];
                    let end = flow.last + Duration::from_secs(if flow.answered { 60 } else { 10 });
                    if *now < end {
                        Expiry::Alive(end)
                    } else {
                        Expiry::Expired(model.flows.remove(position).kept)
                    }
                }
            };
            assert_eq!(flows.expire(&ends(number), serial, *now), expected);
        }
        Event::Remove(index) => {
            let Some((number, serial)) = model.pick(index) else {
                return;
            };
            let expected = model.remove(number, Some(serial));
            assert_eq!(flows.remove(&ends(number), serial), expected);
        }
        Event::Evict => {
            let oldest = model.flows.iter().position(|flow| !flow.answered);
            let expected = oldest.map(|position| model.flows.remove(position).kept);
            assert_eq!(flows.evict(), expected);
        }
        Event::Clear => {
            let mut expected: Vec<_> = model.flows.drain(..).map(|flow| flow.kept).collect();
            let mut cleared = flows.clear();
            expected.sort_unstable();
            cleared.sort_unstable();
            assert_eq!(cleared, expected);
        }
    }
}

proptest! {
    #[test]
    fn the_flows_do_what_a_list_would_do(events in prop::collection::vec(event(), 0..40)) {
        let (mut flows, mut model, mut now) = (Flows::new(PATIENCE), Model::default(), Instant::now());

        for event in events {
            step(&mut flows, &mut model, &mut now, event);

            prop_assert_eq!(flows.flows.len(), model.flows.len());
            let unanswered = model.flows.iter().filter(|flow| !flow.answered);
            prop_assert_eq!(flows.unanswered.len(), unanswered.count(), "nothing is left behind");
        }
    }
}

#[test]
fn the_oldest_unanswered_flow_gives_way_however_much_it_says() {
    let (mut flows, now) = (Flows::new(PATIENCE), Instant::now());
    let (answered, _) = flows.insert(ends(0), "answered", now);
    flows.insert(ends(1), "a flood", now);
    flows.insert(ends(2), "a newcomer", now);
    flows.answered(&ends(0), answered, now);
    flows.heard(&ends(1), now + Duration::from_secs(1)).unwrap();

    assert_eq!(flows.evict(), Some("a flood"));
    assert_eq!(flows.evict(), Some("a newcomer"));
    assert_eq!(flows.evict(), None, "an answered flow stays");
    assert!(flows.heard(&ends(0), now).is_some());
}

#[test]
fn silence_ends_a_flow_sooner_if_it_was_never_answered() {
    let (mut flows, now) = (Flows::new(PATIENCE), Instant::now());
    let (one, _) = flows.insert(ends(0), "answered", now);
    let (other, _) = flows.insert(ends(1), "unanswered", now);
    flows.answered(&ends(0), one, now);

    let almost = Duration::from_millis(1);
    let (soon, late) = (now + PATIENCE.unanswered, now + PATIENCE.answered);
    assert_eq!(flows.expire(&ends(1), other, soon - almost), Expiry::Alive(soon));
    assert_eq!(flows.expire(&ends(1), other, soon), Expiry::Expired("unanswered"));
    assert_eq!(flows.expire(&ends(0), one, late - almost), Expiry::Alive(late));
    flows.heard(&ends(0), late - almost).unwrap();
    assert_eq!(
        flows.expire(&ends(0), one, late),
        Expiry::Alive(late - almost + PATIENCE.answered)
    );
}

#[test]
fn a_task_that_comes_too_late_does_nothing_to_the_flow_in_its_place() {
    let (mut flows, now) = (Flows::new(PATIENCE), Instant::now());
    let (former, _) = flows.insert(ends(0), "former", now);
    assert_eq!(flows.insert(ends(0), "present", now).1, Some("former"));

    assert!(!flows.answered(&ends(0), former, now));
    assert_eq!(flows.remove(&ends(0), former), None);
    assert_eq!(
        flows.expire(&ends(0), former, now + PATIENCE.answered),
        Expiry::Unknown
    );
    assert_eq!(flows.evict(), Some("present"), "still unanswered");
}
