//! What the holders of listeners say of themselves: `WSLNETD=…` in the environment of a program. Each program is asked
//! once; the answer is kept for as long as the process runs it and holds a listener. What a process forks and what then runs
//! on in the same program has the same environment, so it is not asked: workers come and go often.
//!
//! An answer can take for ever to come ([`super::environ`]), so it is fetched by other threads. A scan waits a moment for
//! those that are fresh, and not for users who let it wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::environ::variable;
use super::processes::{Holder, Places, Processes};
use super::readers::{Limits, Readers};
use super::value;

/// The variable.
const VARIABLE: &str = "WSLNETD";
/// The threads for all this; the unit allows for them (`TasksMax=`).
pub(super) const LIMITS: Limits = Limits {
    per_user: 3,
    total: 18,
};
/// Long enough for many, as a read takes well under a millisecond; short enough for nobody to notice.
const PATIENCE: Duration = Duration::from_millis(20);
/// When to listen again for an answer that was not there.
const SOON: Duration = Duration::from_millis(50);
/// When an answer is not expected any more.
const OVERDUE: Duration = Duration::from_secs(2);
/// When to ask again after an error.
const RETRY: Duration = Duration::from_secs(10);

/// A process, and which of the questions to it.
type Question = ((i32, u64), u64);
type Answer = Result<Option<String>, String>;

/// What is known of the word of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// This, or nothing; it is safe to print.
    Said(Option<&'a str>),
    /// The answer is still to come.
    Pending,
    /// There is none, for this reason.
    Unreadable(String),
}

/// The answers of all holders.
#[derive(Debug)]
pub(super) struct Declarations {
    processes: Arc<Processes>,
    readers: Readers<Question, Answer>,
    known: BTreeMap<(i32, u64), Known>,
    /// The number of the latest question, and so of all questions.
    pub(super) asked: u64,
    /// What was asked in this round and is worth to be waited for.
    fresh: BTreeSet<Question>,
    /// How long one scan waits for those.
    pub(super) patience: Duration,
}

#[derive(Debug)]
struct Known {
    program: Program,
    /// The number of the latest question to it.
    question: u64,
    /// When that was.
    since: Instant,
    answer: Option<Answer>,
}

/// What changes when a process executes another program, or the same one again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    places: Places,
    exe: Option<String>,
}

impl Program {
    fn of(holder: &Holder) -> Self {
        Self {
            places: holder.description.places,
            exe: holder.process().exe.clone(),
        }
    }
}

impl Known {
    /// Asks next what was not told. The last word stays until there is another one.
    fn is_to_be_asked_again(&self, now: Instant) -> bool {
        matches!(self.answer, Some(Err(_))) && now.saturating_duration_since(self.since) >= RETRY
    }
}

impl Declarations {
    pub(super) fn new(processes: Arc<Processes>) -> Self {
        Self {
            processes,
            readers: Readers::new(LIMITS),
            known: BTreeMap::new(),
            asked: 0,
            fresh: BTreeSet::new(),
            patience: PATIENCE,
        }
    }

    /// Asks those of the holders who were not asked yet or run another program by now, and forgets all others.
    /// `responsible` tells which user answers for a process of a user.
    pub(super) fn follow<'a>(
        &mut self,
        holders: impl Iterator<Item = &'a Holder>,
        responsible: impl Fn(u32) -> u32,
        now: Instant,
    ) {
        let holders: BTreeMap<(i32, u64), &Holder> =
            holders.map(|holder| (holder.identity(), holder)).collect();
        self.known.retain(|identity, _| holders.contains_key(identity));
        let mut lets_wait = BTreeMap::new();
        for (identity, holder) in holders {
            let program = Program::of(holder);
            let question = self.asked + 1;
            let same = self
                .known
                .get_mut(&identity)
                .filter(|known| known.program == program);
            if let Some(known) = same {
                if !known.is_to_be_asked_again(now) {
                    continue;
                }
                (known.question, known.since) = (question, now);
            } else {
                let answer = self.word_of_parent(holder, &program);
                let is_known = answer.is_some();
                let known = Known {
                    program,
                    question,
                    since: now,
                    answer,
                };
                self.known.insert(identity, known);
                if is_known {
                    continue;
                }
            }
            self.asked = question;
            let user = responsible(holder.process().uid);
            let lets_wait = lets_wait
                .entry(user)
                .or_insert_with(|| self.readers.is_busy_for(user));
            if !*lets_wait {
                self.fresh.insert((identity, question));
            }
            self.ask(holder, question, user);
        }
        let known = &self.known;
        self.readers.keep(|(identity, question)| {
            known
                .get(identity)
                .is_some_and(|known| known.question == *question)
        });
    }

    /// When there may be more to hear, or something is to be asked again.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let of_each = self.known.values().filter_map(|known| match known.answer {
            None if now.saturating_duration_since(known.since) < OVERDUE => Some(now + SOON),
            // It may come yet, and nobody waits for it.
            None => Some(now + OVERDUE),
            Some(Err(_)) => Some((known.since + RETRY).max(now + SOON)),
            Some(Ok(_)) => None,
        });
        of_each.min()
    }

    /// What the parent of a process said, if both run in the same program.
    fn word_of_parent(&self, holder: &Holder, program: &Program) -> Option<Answer> {
        let parent = holder.description.parent;
        let mut known = self.known.range((parent, 0)..=(parent, u64::MAX));
        let (_, known) = known.next()?;
        let is_same = known.program == *program && program.places != Places::default();
        let word = known.answer.as_ref()?;
        (is_same && word.is_ok()).then(|| word.clone())
    }

    /// Takes the answers that are there, after a moment's wait for those to fresh questions.
    pub(super) fn listen(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        let answers = self.readers.answers(&fresh, Instant::now() + self.patience);
        for ((identity, question), answer) in answers {
            if let Some(known) = self.known.get_mut(&identity)
                && known.question == question
            {
                known.answer = Some(answer);
            }
        }
    }

    /// The word of a holder. One that was never asked has nothing to say here.
    pub(super) fn of(&self, holder: &Holder, now: Instant) -> Heard<'_> {
        let Some(known) = self.known.get(&holder.identity()) else {
            return Heard::Said(None);
        };
        let unreadable = |why: &str| {
            let title = holder.process().title();
            Heard::Unreadable(format!(
                "what process {title} says by {VARIABLE} in its environment cannot be read: {why}"
            ))
        };
        match &known.answer {
            Some(Ok(said)) => Heard::Said(said.as_deref()),
            Some(Err(why)) => unreadable(why),
            None if now.saturating_duration_since(known.since) < OVERDUE => Heard::Pending,
            None => unreadable(
                "reading it takes too long, as a process of its user does not let its memory be looked at; end or restart \
                 that process",
            ),
        }
    }

    fn ask(&self, holder: &Holder, question: u64, user: u32) {
        let processes = Arc::clone(&self.processes);
        let (pid, start_time) = holder.identity();
        let environ = holder.environ();
        let read = move || {
            let process = processes
                .process(pid)
                .filter(|process| process.start_time() == Some(start_time));
            // One that is gone says nothing; that it holds nothing any more is for others to find out.
            let Some(process) = process else {
                return Ok(None);
            };
            let said = variable(&process, &environ, VARIABLE).map_err(|error| error.to_string())?;
            Ok(said.map(value))
        };
        self.readers.ask(((pid, start_time), question), user, read);
    }
}
