//! What a program or a container says of itself: `WSLNETD=off`, `host`, `lan`, `name=shop`, or several with commas between,
//! in its environment or as its label `wslnetd`.

use wslnet_protocol::{Reach, name};

/// What they say together. They can narrow each other only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// How far it wants to go; `Some(None)` is `off`.
    pub(super) reach: Option<Option<Reach>>,
    /// Its name; of several the first.
    pub(super) name: Option<String>,
}

impl Wish {
    /// Reads what all holders and the container say.
    ///
    /// # Errors
    /// What cannot be understood, and what could be written instead. It may have been meant as `off`, so the listener must
    /// stay private.
    pub(super) fn read<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut wish = Self::default();
        for text in texts {
            for word in text.split(',').map(str::trim) {
                wish.add(word).map_err(|why| {
                    format!("it says WSLNETD={text}, {why}; write off, host, lan or name=NAME, with commas between")
                })?;
            }
        }
        Ok(wish)
    }

    fn add(&mut self, word: &str) -> Result<(), String> {
        let reach = match word.split_once('=') {
            None if word == "off" => None,
            None if word == "host" => Some(Reach::Host),
            None if word == "lan" => Some(Reach::Lan),
            Some(("name", text)) => {
                name::check(text).map_err(|why| format!("and `{text}` is no name: {why}"))?;
                self.name.get_or_insert_with(|| text.to_owned());
                return Ok(());
            }
            None | Some(_) => return Err(format!("and `{word}` means nothing here")),
        };
        // `None`, which is off, is less than any reach.
        self.reach = Some(self.reach.map_or(reach, |before| before.min(reach)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_the_narrowest_counts() {
        let read = |texts: &[&str]| Wish::read(texts.iter().copied()).map(|wish| (wish.reach, wish.name));
        let shop = Some("shop".to_owned());

        assert_eq!(read(&[]), Ok((None, None)));
        assert_eq!(read(&["off"]), Ok((Some(None), None)));
        assert_eq!(read(&["lan"]), Ok((Some(Some(Reach::Lan)), None)));
        assert_eq!(
            read(&["host, name=shop"]),
            Ok((Some(Some(Reach::Host)), shop.clone()))
        );
        assert_eq!(
            read(&["lan", "host,name=shop", "name=other"]),
            Ok((Some(Some(Reach::Host)), shop))
        );
        assert_eq!(read(&["host", "off", "lan"]), Ok((Some(None), None)));
    }

    #[test]
    fn what_means_nothing_is_told_apart_from_silence() {
        for text in [
            "",
            "of",
            "OFF",
            "off;",
            "name=",
            "name=Shop",
            "lan,",
            "reach=lan",
            "no",
        ] {
            let read = Wish::read([text]);

            assert!(
                matches!(&read, Err(why) if why.contains("write off, host, lan or name=NAME")),
                "{text:?}: {read:?}"
            );
        }
    }
}
