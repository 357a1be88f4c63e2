//! Crowds in front of the door: connections that never begin a handshake, and many that come and go.
//!
//! Loopback has millions of source addresses, which here stand for as many neighbours.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::bench::{
    A_SECOND, Companion, Request, Session, Wire, check, client_config, connect_from, eventually, hello, key,
    set,
};

/// How many handshakes may run at once, in all and from one address: SECURITY.md.
const AT_ONCE: usize = 32;
const OF_ONE_ADDRESS: usize = 4;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_silent_crowd_does_not_keep_a_new_distro_waiting() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let crowd = Crowd::gather(&companion, 4, 16).await;
    crowd.shrinks_to(4 * OF_ONE_ADDRESS).await;

    let start = Instant::now();
    let mut session = Session::open(&companion, &debian).await;
    session.put(1, &set(&[8000])).await.unwrap();

    assert!(start.elapsed() < A_SECOND, "{:?}", start.elapsed());
    assert_eq!(companion.ports().await, [8000]);
    assert_eq!(crowd.open(), 4 * OF_ONE_ADDRESS, "it was there all the time");
}

#[tokio::test]
async fn whoever_is_inside_does_not_notice_a_full_door() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut session = Session::open(&companion, &debian).await;
    let crowd = Crowd::gather(&companion, 16, 4).await;
    crowd.shrinks_to(AT_ONCE).await;

    let start = Instant::now();
    session.put(1, &set(&[8000])).await.unwrap();
    session.renew(0).await.unwrap();

    assert!(start.elapsed() < A_SECOND, "{:?}", start.elapsed());
    assert_eq!(crowd.open(), AT_ONCE, "the door was full all the time");
}

#[tokio::test]
async fn a_silent_crowd_makes_way_for_its_neighbour_and_ends_after_three_seconds() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let source = neighbour(0);
    let begun = Instant::now();
    let crowd = Crowd::gather(&companion, 1, 64).await;

    // The distro comes from the same address as the crowd, as all programs of one VM do.
    let attempt = async || {
        let stream = connect_from(source, companion.address).await?;
        let mut wire = Wire::over(stream, client_config(&companion, &debian)).await?;
        wire.call(&Request::open(&hello())).await
    };
    let answer = eventually(A_SECOND, async || {
        attempt().await.map_err(|error: io::Error| error.to_string())
    })
    .await;

    assert_eq!(answer.status, 200);
    assert!(crowd.open() > 0, "the crowd was there");
    eventually(HANDSHAKE + A_SECOND, async || match crowd.open() {
        0 => Ok(()),
        open => Err(format!("{open} are open")),
    })
    .await;
    assert!(
        begun.elapsed() > HANDSHAKE - Duration::from_millis(500),
        "those who stayed had their time: {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_flood_leaves_nothing_behind() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);
    let mut flood = JoinSet::new();
    for n in 0..600 {
        let to = companion.address;
        flood.spawn(async move {
            // Some are reset at once: that is the point.
            if let Ok(stream) = connect_from(neighbour(n % 40), to).await {
                let _written = stream.try_write(&[22, 3, 1][..usize::from(n % 4 == 0)]);
            }
        });
    }
    flood.join_all().await;

    // The flood is before it in the queue, so once this is in, the companion has seen all of them.
    eventually(A_SECOND, async || {
        let mut wire = Wire::connect(&companion, &debian)
            .await
            .map_err(|error| error.to_string())?;
        let opened = wire.call(&Request::open(&hello())).await;
        opened.map_err(|error| error.to_string())
    })
    .await;
    let crowd = Crowd::gather(&companion, 16, 4).await;

    // Were one place of the flood still taken, fewer would be let in.
    crowd.shrinks_to(AT_ONCE).await;
    assert_eq!(companion.distros().await, ["debian"]);
}

#[tokio::test]
async fn sessions_that_come_and_go_leave_nothing_behind() {
    let debian = key();
    let companion = Companion::start(&[("debian", debian.public())]);

    for _ in 0..100 {
        let mut session = Session::open(&companion, &debian).await;
        session.put(1, &set(&[8000])).await.unwrap();
    }

    let (status, list) = companion.report().await;
    assert_eq!((status.distros.len(), list.len()), (1, 1));
    let mut last = Session::open(&companion, &debian).await;
    let goodbye = Request::close(last.id());
    assert_eq!(last.wire.call(&goodbye).await.unwrap().status, 204);
    assert_eq!(companion.ports().await, [0; 0]);
}

/// Connections that say nothing. They end when this is dropped.
struct Crowd(Vec<TcpStream>);

impl Crowd {
    async fn gather(companion: &Companion, addresses: u16, of_each: usize) -> Self {
        let mut crowd = Vec::new();
        for n in 0..addresses {
            for _ in 0..of_each {
                // One that is refused may be reset before it knows that it was connected.
                crowd.extend(connect_from(neighbour(n), companion.address).await);
            }
        }
        Self(crowd)
    }

    /// Waits until the companion has refused all but so many.
    async fn shrinks_to(&self, expected: usize) {
        eventually(A_SECOND, async || {
            let open = self.open();
            check(open == expected, || format!("{open} are open"))
        })
        .await;
    }

    /// How many the companion has not ended.
    fn open(&self) -> usize {
        let is_open = |stream: &&TcpStream| {
            let read = stream.try_read(&mut [0; 16]);
            read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        self.0.iter().filter(is_open).count()
    }
}

fn neighbour(n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    Ipv4Addr::new(127, 9, high, low.wrapping_add(1)).into()
}
