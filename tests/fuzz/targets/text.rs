//! [`clean`], which every foreign text goes through. The first byte says how long the text may get.

use wslnet_console::text::{clean, is_hostile};

pub(super) fn target(bytes: &[u8]) {
    let Some((limit, foreign)) = bytes.split_first() else {
        return;
    };
    let limit = usize::from(*limit);

    let cleaned = clean(foreign, limit);

    assert_eq!(cleaned, naive(foreign, limit));
    assert_eq!(clean(&cleaned, limit), cleaned);
}

/// Takes no care of what that costs.
fn naive(foreign: &[u8], limit: usize) -> String {
    let shown: Vec<char> = String::from_utf8_lossy(foreign)
        .chars()
        .map(|c| {
            if is_hostile(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    if shown.len() <= limit {
        return shown.into_iter().collect();
    }
    match limit {
        0 => String::new(),
        limit => shown.into_iter().take(limit - 1).chain(['…']).collect(),
    }
}
