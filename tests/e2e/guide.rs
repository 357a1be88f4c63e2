//! GUIDE.md: every example in it, run as it stands there, against the real programs and real services.
//!
//! Each chapter is a test: it starts with nothing but the two programs, lays the files, types the commands and compares what
//! they print. A command is typed again until it prints what the guide says or the time is over, because what it looks at
//! may be on its way; one that changes something is typed once.

mod containers;
mod expected;
mod stage;
mod systemd;
mod text;

use std::collections::BTreeSet;
use std::time::Duration;

use self::stage::{Bench, Stage};
use self::text::{Block, Chapter, Command, Prompt};
use crate::bench::{SOON, World, check, eventually};

const GUIDE: &str = include_str!("../../GUIDE.md");
/// What begins a command that changes something.
const ONCE: [&str; 2] = ["sudo ", "docker "];
/// For what takes several steps, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(2 * SOON.as_secs());

/// The chapters that are run on a stage, each as a test, and the list of their titles.
macro_rules! chapters {
    ($run:path: $($test:ident = $title:literal,)*) => {
        pub(super) const TITLES: &[&str] = &[$($title),*];
        $(
            #[test]
            fn $test() {
                $run($title);
            }
        )*
    };
}
use chapters;

mod plain {
    super::chapters! { super::on_the_bench:
        the_first_service = "The first service",
        why_is_it_not_reachable = "Why is it (not) reachable?",
        keep_something_private = "Keep something private",
        what_can_a_selector_say = "What can a selector say?",
        another_port = "Another port, a name, a shorter reach",
        udp = "UDP",
        what_programs_say = "What programs say of themselves",
        private_from_the_start = "What is private from the start",
        only_what_you_name = "Share only what you name",
        wildcards = "Wildcards, and not",
        a_port_that_is_taken = "A port that is taken",
        several_distros = "Several distros",
        a_team = "Rules for a team",
    }
}

#[test]
fn every_chapter_with_examples_has_its_test() {
    let tested = [plain::TITLES, systemd::TITLES, containers::TITLES].concat();
    let there: Vec<String> = chapters_of_the_guide()
        .into_iter()
        .filter(|chapter| !chapter.blocks.is_empty())
        .map(|chapter| chapter.title)
        .collect();

    let in_order: BTreeSet<&str> = there.iter().map(String::as_str).collect();
    assert_eq!(
        in_order.len(),
        there.len(),
        "two chapters of one title: {there:?}"
    );
    assert_eq!(in_order, tested.into_iter().collect());
}

fn on_the_bench(title: &str) {
    let world = World::new();
    play(title, &mut Bench::new(&world));
}

/// Runs the examples of a chapter.
fn play(title: &str, stage: &mut dyn Stage) {
    let mut chapters = chapters_of_the_guide().into_iter();
    let chapter = chapters.find(|chapter| chapter.title == title);
    for block in chapter.expect("the guide has this chapter").blocks {
        match block {
            Block::File {
                name,
                text,
                is_wrong,
                line,
            } => {
                stage.lay(&name, &text);
                let reloaded = stage.run(Prompt::Distro, "wslnetd reload");
                let is_refused = reloaded.code != 0;
                assert_eq!(
                    is_refused, is_wrong,
                    "GUIDE.md:{line}, in \"{title}\": {reloaded:?}"
                );
            }
            Block::Unit { name, text } => stage.install(&name, &text),
            Block::Transcript(commands) => {
                for command in commands {
                    type_in(title, &command, stage);
                }
            }
        }
    }
}

fn type_in(title: &str, command: &Command, stage: &mut dyn Stage) {
    if command.is_service {
        return stage.start(command.at, &command.text);
    }
    if let Some(job) = command.text.strip_prefix("kill %") {
        assert!(command.expected.is_empty(), "`kill` says nothing");
        return stage.end(command.at, job.parse().expect("the number of a job"));
    }
    let attempt = || {
        let ran = stage.run(command.at, &command.text);
        // Where its output says nothing of it, it must at least have worked.
        let says_nothing = command.expected.iter().all(|line| line == expected::ANY);
        let met = expected::is_met(&command.expected, &ran.stdout) && (!says_nothing || ran.code == 0);
        check(met, || {
            format!(
                "GUIDE.md:{}, in \"{title}\": {}\n---- it should print\n{}\n---- it printed, and ended with {}\n{}",
                command.line,
                command.text,
                command.expected.join("\n"),
                ran.code,
                ran.stdout
            )
        })
    };
    if ONCE.iter().any(|start| command.text.starts_with(start)) {
        attempt().unwrap_or_else(|seen| panic!("{seen}"));
    } else {
        eventually(PATIENCE, attempt);
    }
}

fn chapters_of_the_guide() -> Vec<Chapter> {
    text::read(GUIDE).unwrap_or_else(|mistake| panic!("{mistake}"))
}
