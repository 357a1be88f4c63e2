#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use tempfile::TempDir;
use tokio::net::UnixListener;

use super::*;
use crate::containers::fake::{self, Fake, Manner, docker_list};
use crate::containers::{EngineKind, Found, fixture};
use crate::observe::Listener;

/// Long enough for everything that must come, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A running watch, and what a test asks of it.
struct Watching {
    demand: watch::Sender<Demand>,
    containers: watch::Receiver<Containers>,
    stop: CancellationToken,
}

impl Watching {
    fn start(sockets: Sockets, reader: &Path) -> Self {
        let stop = CancellationToken::new();
        let places = Places {
            reader: reader.to_path_buf(),
            sockets,
        };
        let (demand, containers) = watch(places, stop.clone());
        Self {
            demand,
            containers,
            stop,
        }
    }

    /// Without a reader of its own.
    fn direct(sockets: Sockets) -> Self {
        Self::start(sockets, Path::new("/nonexistent/reader.sock"))
    }

    fn demand(&self, listeners: &[Listener]) {
        self.demand.send_replace(super::super::demand(listeners));
    }

    /// What is found for a listener, once it satisfies the condition.
    async fn until(&mut self, listener: &Listener, holds: impl Fn(&Found<'_>) -> bool) {
        let now = std::time::Instant::now();
        let found = self
            .containers
            .wait_for(|containers| holds(&containers.of(listener, now)));
        timeout(LIMIT, found).await.unwrap().unwrap();
    }

    async fn until_named(&mut self, listener: &Listener, name: &str) {
        self.until(
            listener,
            |found| matches!(found, Found::Container(one) if one.name == name),
        )
        .await;
    }

    fn found(&self, listener: &Listener) -> Found<'static> {
        match self.containers.borrow().of(listener, std::time::Instant::now()) {
            Found::Waits { reason, until } => Found::Waits { reason, until },
            Found::Nothing => Found::Nothing,
            Found::Container(one) => panic!("a container: {one:?}"),
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn nobody_is_asked_before_there_is_a_listener_of_an_engine() {
    let fake = Fake::start(EngineKind::Docker, docker_list("shop", 80), Manner::Tells);
    let mut watching = Watching::direct(fake.sockets());
    watching.demand(&[listener(80, "nginx")]);
    let proxy = listener(80, "docker-proxy");
    assert!(matches!(watching.found(&proxy), Found::Waits { .. }));
    assert_eq!(fake.follows(), 0);

    watching.demand(std::slice::from_ref(&proxy));

    watching.until_named(&proxy, "shop").await;
    assert_eq!(fake.follows(), 1);
}

#[tokio::test]
async fn a_new_listener_is_answered_by_a_new_list_without_an_event() {
    let fake = Fake::start(EngineKind::Docker, docker_list("shop", 80), Manner::Tells);
    let mut watching = Watching::direct(fake.sockets());
    let before = listener(80, "docker-proxy");
    watching.demand(std::slice::from_ref(&before));
    watching.until_named(&before, "shop").await;

    // Another container gets the same port, and the engine tells nobody.
    fake.list(docker_list("secret", 80));
    let after = listener(80, "docker-proxy");
    assert!(matches!(watching.found(&after), Found::Waits { until: None, .. }));
    watching.demand(std::slice::from_ref(&after));

    watching.until_named(&after, "secret").await;
}

#[tokio::test]
async fn a_container_that_stops_has_its_listener_wait_and_one_whose_engine_stops_keeps_its_facts() {
    let fake = Fake::start(EngineKind::Docker, docker_list("shop", 80), Manner::Tells);
    let mut watching = Watching::direct(fake.sockets());
    let proxy = listener(80, "docker-proxy");
    watching.demand(std::slice::from_ref(&proxy));
    watching.until_named(&proxy, "shop").await;

    fake.list(Manner::Says("[]".to_owned()));
    fake.tell();
    watching
        .until(&proxy, |found| matches!(found, Found::Waits { .. }))
        .await;
    fake.list(docker_list("shop", 80));
    fake.tell();
    watching.until_named(&proxy, "shop").await;

    drop(fake);
    let other = listener(81, "docker-proxy");
    watching.demand(&[proxy.clone(), other.clone()]);
    watching.until(&other, |found| *found == Found::Nothing).await;
    watching.until_named(&proxy, "shop").await;
    let now = std::time::Instant::now();
    assert_eq!(watching.containers.borrow().troubles(&[proxy], now).len(), 0);
    assert_eq!(watching.containers.borrow().troubles(&[other], now).len(), 1);
}

#[tokio::test]
async fn an_engine_that_hangs_does_not_delay_another() {
    let docker = Fake::start(EngineKind::Docker, Manner::Hangs(vec![]), Manner::Hangs(vec![]));
    let list = r#"[{"Id":"a","Names":["pod"],"Ports":[{"host_port":81,"range":1,"protocol":"tcp"}]}]"#;
    let _podman = Fake::start_in(
        docker.folder(),
        EngineKind::Podman,
        Manner::Says(list.to_owned()),
        Manner::Tells,
    );
    let mut watching = Watching::direct(docker.sockets());
    let (proxy, conmon) = (listener(80, "docker-proxy"), listener(81, "conmon"));
    let begun = Instant::now();
    watching.demand(&[proxy.clone(), conmon.clone()]);

    watching.until_named(&conmon, "pod").await;

    assert!(matches!(watching.found(&proxy), Found::Waits { until: None, .. }));
    // The hanging engine is given up after five seconds: it was not waited for.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_reader_of_its_own_is_used_where_there_is_one() {
    let fake = Fake::start(EngineKind::Docker, docker_list("shop", 80), Manner::Tells);
    let folder = fake::folder();
    let path = folder.path().join("reader.sock");
    let (readers, sockets) = (UnixListener::bind(&path).unwrap(), fake.sockets());
    let (sender, mut questions) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = readers.accept().await {
            sender.send(()).unwrap();
            let sockets = sockets.clone();
            tokio::spawn(async move { reader::serve(stream, &sockets).await });
        }
    });
    // By itself the daemon would find nothing.
    let empty = fake::folder();
    let mut watching = Watching::start(fake::sockets(&empty), &path);
    let proxy = listener(80, "docker-proxy");

    watching.demand(std::slice::from_ref(&proxy));

    watching.until_named(&proxy, "shop").await;
    questions.recv().await.unwrap();
    assert!(questions.try_recv().is_err(), "one reader is enough");
}

#[tokio::test]
async fn a_reader_that_misbehaves_is_replaced_and_nothing_is_shared_meanwhile() {
    let folder = fake::folder();
    let path = folder.path().join("reader.sock");
    let readers = UnixListener::bind(&path).unwrap();
    let (sender, mut questions) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        for said in [vec![b'x'; REPORT_BYTES * 2], b"".to_vec(), b"{}\n".to_vec()] {
            let (mut stream, _) = readers.accept().await.unwrap();
            // It may be given up before the end.
            drop(stream.write_all(&said).await);
            sender.send(()).unwrap();
        }
    });
    let mut watching = Watching::start(fake::sockets(&folder), &path);
    let proxy = listener(80, "docker-proxy");
    watching.demand(std::slice::from_ref(&proxy));

    for _ in 0..3 {
        timeout(LIMIT, questions.recv()).await.unwrap().unwrap();
        assert!(matches!(watching.found(&proxy), Found::Waits { until: None, .. }));
    }
    watching
        .until(
            &proxy,
            |found| matches!(found, Found::Waits { reason, .. } if reason.contains("reader.sock")),
        )
        .await;
}

#[tokio::test]
async fn what_is_not_in_demand_is_left_after_a_while() {
    let fake = Fake::start(EngineKind::Docker, docker_list("shop", 80), Manner::Tells);
    let (heard, mut containers) = watch::channel(Containers::default());
    let mut supervisor = supervisor(fake.sockets(), heard);
    let proxy = listener(80, "docker-proxy");
    let (demand, now) = (super::super::demand(std::slice::from_ref(&proxy)), Instant::now());
    supervisor.meet(&demand, now);
    let is_known = |containers: &Containers| *containers != Containers::default();
    timeout(LIMIT, containers.wait_for(is_known))
        .await
        .unwrap()
        .unwrap();

    supervisor.meet(&Demand::new(), now);
    supervisor.part(now + LINGER - Duration::from_secs(1));
    assert_eq!(supervisor.followed.len(), 1);
    // It came back in time: the while begins anew.
    supervisor.meet(&demand, now);
    supervisor.meet(&Demand::new(), now + LINGER);
    supervisor.part(now + LINGER);
    assert_eq!(supervisor.followed.len(), 1);
    supervisor.part(now + LINGER * 2);

    assert_eq!(supervisor.followed.len(), 0);
    assert_eq!(*containers.borrow(), Containers::default());
    timeout(LIMIT, supervisor.tasks.join_next()).await.unwrap();
}

#[tokio::test]
async fn a_crowd_of_users_makes_no_crowd_of_readers_and_does_not_displace_the_system() {
    let folder: TempDir = fake::folder();
    let (heard, containers) = watch::channel(Containers::default());
    let mut supervisor = supervisor(fake::sockets(&folder), heard);
    let of_user = |uid| {
        let mut listener = listener(80, "docker-proxy");
        listener.socket.uid = uid;
        listener
    };
    let mut crowd = (70_000..70_100).map(of_user).collect::<Vec<_>>();
    supervisor.meet(&super::super::demand(&crowd), Instant::now());
    assert_eq!(supervisor.followed.len(), ENGINES);
    let last = crowd.last().unwrap().clone();
    let now = std::time::Instant::now();
    assert!(
        matches!(
            containers.borrow().of(&last, now),
            Found::Waits { until: None, .. }
        ),
        "what a container may say is not known, so it stays private"
    );
    let troubles = containers.borrow().troubles(&[last], now);
    assert!(
        troubles.iter().any(|trouble| trouble.contains("at once")),
        "{troubles:?}"
    );

    crowd.push(of_user(0));
    supervisor.meet(&super::super::demand(&crowd), Instant::now());

    assert_eq!(supervisor.followed.len(), ENGINES);
    let system = Engine {
        kind: EngineKind::Docker,
        uid: 0,
    };
    assert!(supervisor.followed.contains_key(&system));
    // Those that have gone make room at once, and nothing is remembered of those that were refused.
    let others = (80_000..80_008).map(of_user).collect::<Vec<_>>();
    supervisor.meet(&super::super::demand(&others), Instant::now());
    assert_eq!(supervisor.followed.len(), ENGINES);
    assert!(supervisor.followed.keys().all(|engine| engine.uid >= 80_000));
    let nothing_heard = Found::Waits {
        reason: "Docker of user 70099 has not said yet whether a container listens here".to_owned(),
        until: None,
    };
    let last = crowd.iter().find(|one| one.socket.uid == 70_099).unwrap();
    assert_eq!(containers.borrow().of(last, now), nothing_heard);
}

fn supervisor(sockets: Sockets, heard: watch::Sender<Containers>) -> Supervisor {
    Supervisor {
        places: Arc::new(Places {
            reader: "/nonexistent/reader.sock".into(),
            sockets,
        }),
        heard: Arc::new(heard),
        followed: BTreeMap::new(),
        tasks: JoinSet::new(),
    }
}

/// A listener that is seen for the first time now, of the user who runs the tests.
fn listener(port: u16, holder: &str) -> Listener {
    let uid = nix::unistd::geteuid().as_raw();
    fixture::listener(
        &format!("0.0.0.0:{port}"),
        uid,
        &[holder],
        std::time::Instant::now(),
    )
}
