//! The chapter about containers, with a real Docker. The image is made here, of the busybox of this machine.

use super::play;
use super::stage::Bench;
use crate::bench::{Engine, IMAGE, World};

super::chapters! { with_docker:
    containers = "Containers",
}

fn with_docker(title: &str) {
    let world = World::new();
    let mut stage = Bench::new(&world);
    let docker = Engine::docker(&world, stage.machine(), &[]);
    docker.cli(stage.machine(), &["tag", IMAGE, "busybox"]).ok();
    play(title, &mut stage);
}
