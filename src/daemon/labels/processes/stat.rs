//! `/proc/PID/stat`, proc_pid_stat(5).

/// The fields that tell one program of a process from the next one, by their numbers in the manual: `startcode`, `endcode`,
/// `startstack`, `start_data`, `arg_start`, `env_start` and `env_end`.
const PROGRAM: [usize; PLACES] = [26, 27, 28, 45, 48, 50, 51];
/// How many they are.
pub(super) const PLACES: usize = 7;

/// What is used of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// When the process started, in clock ticks since boot.
    pub(super) start_time: u64,
    /// Where the program and its environment lie in memory. The kernel chooses these places anew, at random, whenever the
    /// process executes a program, be it the same one. Zeros where we may not look.
    ///
    /// Where a process has switched that off (personality(2), ADDR_NO_RANDOMIZE) and executes the same program with an
    /// environment of the very same size, nothing shows it.
    pub(super) places: [u64; PLACES],
}

impl Stat {
    /// Reads the text. The name in field 2 may contain blanks and parentheses: fields are counted from the last one.
    pub(super) fn parse(stat: &[u8]) -> Option<Self> {
        let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(stat.get(end_of_name + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse().ok();
        Some(Self {
            start_time: field(22)?,
            places: PROGRAM.map(|number| field(number).unwrap_or_default()),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_start_time_behind_a_hostile_name() {
        let stat = b"42 (a) S 1 (x) R 9) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 0 0\n";

        assert_eq!(Stat::parse(stat).unwrap().start_time, 987_654);
        assert_eq!(Stat::parse(b"42 (cat) S 1"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn knows_where_the_environment_of_a_real_process_lies() {
        let stat = Stat::parse(&fs::read("/proc/self/stat").unwrap()).unwrap();
        let environment = fs::read("/proc/self/environ").unwrap().len() as u64;

        let [start, end] = [stat.places[5], stat.places[6]];

        assert!(start > 0);
        assert_eq!(end - start, environment);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<Vec<u8>>(), name in "\\PC{0,12}") {
            Stat::parse(&text);
            Stat::parse(format!("1 ({name}) {}", String::from_utf8_lossy(&text)).as_bytes());
        }

        #[test]
        fn every_name_is_skipped(name in any::<Vec<u8>>(), start_time: u64) {
            let mut stat = b"1 (".to_vec();
            stat.extend(name);
            stat.extend(format!(") S {}{start_time} 0\n", "0 ".repeat(18)).into_bytes());

            prop_assert_eq!(Stat::parse(&stat).unwrap().start_time, start_time);
        }
    }
}
