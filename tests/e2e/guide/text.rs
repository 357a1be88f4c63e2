//! GUIDE.md as the tests read it: chapters, and in each the blocks in their order. Whatever looks like an example and is
//! none that can be run is a mistake, so that nothing stands there which nobody runs.
//!
//! A chapter begins at each heading but the title of the page. Its blocks:
//! - ```` ```toml ```` is a file of `config.d`: `mine.toml`, or the name that follows. With the word `wrong` it is one that
//!   must be refused.
//! - ```` ```ini NAME ```` is a unit of systemd.
//! - ```` ```console ```` is a transcript: commands after a prompt, each followed by what it prints. A command that ends with
//!   ` &` is a service, which goes on until the chapter ends.

/// What stands under one heading.
#[derive(Debug, PartialEq, Eq)]
pub struct Chapter {
    /// The heading.
    pub title: String,
    /// Its examples.
    pub blocks: Vec<Block>,
}

/// One fenced block.
#[derive(Debug, PartialEq, Eq)]
pub enum Block {
    /// A file of `config.d`.
    File {
        /// Its name there.
        name: String,
        /// What is in it.
        text: String,
        /// Whether it must be refused.
        is_wrong: bool,
        /// The line of the guide at which it begins.
        line: usize,
    },
    /// A unit of systemd.
    Unit {
        /// The name of its file.
        name: String,
        /// What is in it.
        text: String,
    },
    /// What somebody types, and sees.
    Transcript(Vec<Command>),
}

/// One command of a transcript.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Where it is typed.
    pub at: Prompt,
    /// What is typed.
    pub text: String,
    /// Whether it goes on.
    pub is_service: bool,
    /// What it prints, line by line.
    pub expected: Vec<String>,
    /// The line of the guide in which it stands.
    pub line: usize,
}

/// Who types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// Root in the distro.
    Distro,
    /// Root in another distro.
    Other,
    /// Somebody on Windows.
    Windows,
    /// Somebody on the local network.
    Phone,
}

const PROMPTS: [(&str, Prompt); 4] = [
    ("$ ", Prompt::Distro),
    ("debian$ ", Prompt::Other),
    ("windows> ", Prompt::Windows),
    ("phone$ ", Prompt::Phone),
];
const FENCE: &str = "```";

/// Reads the guide.
///
/// # Errors
/// The first thing that cannot be run, with its line.
pub fn read(guide: &str) -> Result<Vec<Chapter>, String> {
    let mut chapters: Vec<Chapter> = Vec::new();
    let mut lines = (1..).zip(guide.lines());
    while let Some((number, line)) = lines.next() {
        let mistake = |what: &str| Err(format!("GUIDE.md:{number}: {what}: {line}"));
        if let Some(kind) = line.strip_prefix(FENCE) {
            let inside: Vec<(usize, &str)> = lines.by_ref().take_while(|(_, line)| *line != FENCE).collect();
            let block = match block(kind, number, &inside) {
                Ok(block) => block,
                Err(what) => return mistake(&what),
            };
            let Some(chapter) = chapters.last_mut() else {
                return mistake("an example outside of a chapter");
            };
            chapter.blocks.push(block);
        } else if let Some(title) = line.strip_prefix("##") {
            chapters.push(Chapter {
                title: title.trim_start_matches('#').trim().to_owned(),
                blocks: Vec::new(),
            });
        } else if line.contains(FENCE) || line.contains("~~~") || line.contains("<pre") {
            return mistake("a block that the test does not know");
        } else if line.starts_with("    ") || line.contains('\t') {
            return mistake("an indented line, which would be a block");
        }
    }
    Ok(chapters)
}

fn block(kind: &str, line: usize, inside: &[(usize, &str)]) -> Result<Block, String> {
    let text: String = inside.iter().map(|(_, line)| format!("{line}\n")).collect();
    let words: Vec<&str> = kind.split(' ').collect();
    match words.as_slice() {
        ["toml", rest @ ..] => {
            let is_wrong = rest.last() == Some(&"wrong");
            let name = match &rest[..rest.len() - usize::from(is_wrong)] {
                [] => "mine.toml",
                [name] => name,
                _ => return Err("more than a name".to_owned()),
            };
            Ok(Block::File {
                name: name.to_owned(),
                text,
                is_wrong,
                line,
            })
        }
        ["ini", name] => Ok(Block::Unit {
            name: (*name).to_owned(),
            text,
        }),
        ["console"] => transcript(inside).map(Block::Transcript),
        _ => Err("a block that the test does not run".to_owned()),
    }
}

fn transcript(inside: &[(usize, &str)]) -> Result<Vec<Command>, String> {
    let mut commands: Vec<Command> = Vec::new();
    for (number, line) in inside {
        let typed = PROMPTS
            .iter()
            .find_map(|(prompt, at)| Some((*at, line.strip_prefix(prompt)?)));
        match (typed, commands.last_mut()) {
            (Some((at, text)), _) => commands.push(Command {
                at,
                text: text.strip_suffix(" &").unwrap_or(text).to_owned(),
                is_service: text.ends_with(" &"),
                expected: Vec::new(),
                line: *number,
            }),
            (None, Some(command)) if !command.is_service => command.expected.push((*line).to_owned()),
            (None, Some(_) | None) => return Err(format!("output of nothing, in line {number}")),
        }
    }
    if commands.is_empty() {
        return Err("a transcript of nothing".to_owned());
    }
    Ok(commands)
}

#[test]
fn chapters_have_files_units_and_transcripts() {
    let guide = "# Title\n\nText.\n\n## One\n```toml\na = 1\n```\n```toml x.toml wrong\nb\n```\n### Two\n\
                 ```ini a.service\n[Unit]\n```\n```console\n$ serve 1 &\nphone$ ask\nyes\n\nno\nwindows> x\n```\n";

    let chapters = read(guide).unwrap();

    assert_eq!(chapters.len(), 2);
    let file = |name: &str, text: &str, is_wrong, line| Block::File {
        name: name.to_owned(),
        text: text.to_owned(),
        is_wrong,
        line,
    };
    assert_eq!(
        chapters[0].blocks,
        [
            file("mine.toml", "a = 1\n", false, 6),
            file("x.toml", "b\n", true, 9)
        ]
    );
    let Block::Transcript(commands) = &chapters[1].blocks[1] else {
        panic!("{chapters:?}")
    };
    let seen: Vec<_> = commands
        .iter()
        .map(|one| (one.at, one.text.as_str(), one.is_service, one.line))
        .collect();
    assert_eq!(
        seen,
        [
            (Prompt::Distro, "serve 1", true, 17),
            (Prompt::Phone, "ask", false, 18),
            (Prompt::Windows, "x", false, 22)
        ]
    );
    assert_eq!(commands[1].expected, ["yes", "", "no"]);
}

#[test]
fn nothing_stands_there_that_nobody_runs() {
    for (wrong, line) in [
        ("```console\n$ a\n```\n", 1),
        ("## One\n```sh\na\n```\n", 2),
        ("## One\n```\na\n```\n", 2),
        ("## One\n```ini\na\n```\n", 2),
        ("## One\n```toml a b\n```\n", 2),
        ("## One\n```console\nout\n```\n", 2),
        ("## One\n```console\n$ a &\nout\n```\n", 2),
        ("## One\n```console\n```\n", 2),
        ("## One\n - a\n   ```console\n$ a\n", 3),
        ("## One\n~~~\na\n~~~\n", 2),
        ("## One\n\n    $ a\n", 3),
        ("## One\n<pre>a</pre>\n", 2),
    ] {
        let told = read(wrong).unwrap_err();

        assert!(
            told.starts_with(&format!("GUIDE.md:{line}: ")),
            "{wrong:?}: {told}"
        );
    }
}
