//! The usual case: one world, one companion, one distro that it trusts.

use super::{Client, Companion, Distro, World};

/// Builds the usual case, and holds what a test needs of it.
#[derive(Debug)]
pub struct Rig<'w> {
    /// The companion.
    pub companion: Companion<'w>,
    /// The distro, `ubuntu`.
    pub distro: Distro,
    /// Somebody on the local network.
    pub client: &'w Client,
    world: &'w World,
}

impl<'w> Rig<'w> {
    /// Both programs run and know each other.
    pub fn connected(world: &'w World) -> Self {
        let mut rig = Self::new(world);
        rig.companion.start();
        rig.distro.start_connected();
        rig
    }

    /// Both know each other; neither runs.
    pub fn new(world: &'w World) -> Self {
        let companion = Companion::new(world);
        let distro = Distro::new(world, "ubuntu");
        pair(&companion, &distro);
        Self {
            companion,
            distro,
            client: &world.client,
            world,
        }
    }

    /// Another distro that the companion trusts; its daemon does not run.
    pub fn another(&self, name: &str) -> Distro {
        let distro = Distro::new(self.world, name);
        pair(&self.companion, &distro);
        distro
    }
}

/// Makes the two trust each other, by the verbs that work everywhere.
pub fn pair(companion: &Companion<'_>, distro: &Distro) {
    companion.trust(&distro.name, &distro.key());
    distro.cli(&["trust", &companion.key()]).ok();
}
