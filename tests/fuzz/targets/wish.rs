//! What programs and containers say of themselves: one says a line.

use wslnet_console::text::clean;
use wslnet_daemon::policy::fuzzing::wish;
use wslnet_protocol::{Reach, name};

use crate::printable::assert_line;

/// The longest value of a label, in characters.
const VALUE_CHARS: usize = 4096;

pub(super) fn target(bytes: &[u8]) {
    let said: Vec<String> = bytes
        .split(|byte| *byte == b'\n')
        .map(|text| clean(text, VALUE_CHARS))
        .collect();
    let said: Vec<&str> = said.iter().map(String::as_str).collect();

    match wish(&said) {
        Ok((reach, name)) => {
            let words = || said.iter().flat_map(|text| text.split(',')).map(str::trim);
            assert!(words().all(is_word));
            let narrowest = [
                ("off", None),
                ("host", Some(Reach::Host)),
                ("lan", Some(Reach::Lan)),
            ]
            .into_iter()
            .find(|(word, _)| words().any(|said| said == *word));
            assert_eq!(reach, narrowest.map(|(_, reach)| reach));
            assert_eq!(
                name.as_deref(),
                words().find_map(|word| word.strip_prefix("name="))
            );
        }
        Err(why) => {
            assert_line(&why);
            assert!(
                !said
                    .iter()
                    .flat_map(|text| text.split(','))
                    .all(|word| is_word(word.trim()))
            );
        }
    }
}

fn is_word(word: &str) -> bool {
    let is_name = |text| name::check(text).is_ok();
    ["off", "host", "lan"].contains(&word) || word.strip_prefix("name=").is_some_and(is_name)
}
