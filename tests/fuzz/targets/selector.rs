//! Selectors: from text and back, and from labels. What stands in the text is a selector, and the value of labels.

use wslnet_console::text::clean;
use wslnet_daemon::config::{Key, Selector, term_for};
use wslnet_daemon::labels::{Label, Labels};

use crate::printable::assert_line;

/// The longest value of a label, in characters.
const VALUE_CHARS: usize = 4096;

pub(super) fn target(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        from_text(text);
    }
    from_labels(bytes);
}

fn from_text(text: &str) {
    let selector = match Selector::parse(text) {
        Ok(selector) => selector,
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert!(
                    text.get(error.span.clone()).is_some(),
                    "{error:?} lies outside of {text:?}"
                );
            }
            return;
        }
    };
    let written = selector.to_string();
    assert_line(&written);
    assert_eq!(Selector::parse(&written).as_ref(), Ok(&selector), "{written:?}");
    assert!(selector.terms().is_sorted_by_key(|term| &term.key));
    // The labels that it asks for by their exact value, it finds.
    let labels: Labels = selector
        .terms()
        .iter()
        .map(|term| (term.key.name().to_owned(), term.matcher.to_string()))
        .collect();
    for term in selector.terms() {
        let one = Selector::parse(&term.to_string());
        assert_eq!(one.as_ref().map(Selector::terms), Ok(std::slice::from_ref(term)));
    }
    let each_holds = selector
        .terms()
        .iter()
        .all(|term| Selector::parse(&term.to_string()).is_ok_and(|one| one.matches(&labels)));
    assert_eq!(selector.matches(&labels), each_holds);
}

/// All labels that can have any value, with this one: each that has a term is selected by it, and all of them by all of these.
fn from_labels(bytes: &[u8]) {
    let value = clean(bytes, VALUE_CHARS);
    let mut labels = Labels::default();
    let by_kernel = [Key::Port, Key::Proto, Key::Bind, Key::Family, Key::Uid];
    for key in Key::NAMED.iter().filter(|key| !by_kernel.contains(key)) {
        labels.insert(key.name(), value.as_str());
    }
    labels.insert("container.label.com.example/team", value.as_str());
    // The value as a key of a container's own.
    labels.insert(format!("container.label.{value}"), "web");
    let mut terms = Vec::new();
    for label in labels.iter() {
        if let Some(term) = term_for(label) {
            assert_line(&term);
            assert_selects(&term, label);
            terms.push(term);
        } else {
            // Whatever people call a container can be written, as long as it has room for brackets.
            let is_free = label.key == "container" && !value.is_empty();
            assert!(!is_free || value.chars().count() * 3 > VALUE_CHARS, "{label:?}");
        }
    }
    if !terms.is_empty() {
        let all = Selector::parse(&terms.join(","));
        assert!(all.is_ok_and(|all| all.matches(&labels)), "{terms:?}");
    }
}

/// That a term selects its label and no other.
fn assert_selects(term: &str, label: &Label) {
    let one = |value: String| Labels::from_iter([(label.key.as_ref(), value)]);
    match Selector::parse(term) {
        Ok(selector) => {
            assert!(
                selector.matches(&one(label.value.to_string())),
                "{term:?} for {label:?}"
            );
            assert!(
                !selector.matches(&one(format!("{}x", label.value))),
                "{term:?} for {label:?}"
            );
        }
        Err(errors) => panic!("{term:?} for {label:?}: {errors:?}"),
    }
}
