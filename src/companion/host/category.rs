//! What Windows thinks of a network: its category, from which Windows Firewall takes the profile.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The category of a network. Windows takes a network of which it knows nothing for public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// At home or at work, where the neighbours are trusted.
    Private,
    /// A network in which a controller of the machine's domain has shown itself.
    Domain,
    /// Anything else: a café, a hotel, and what nobody has decided on.
    Public,
}

impl Category {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Private, Self::Domain, Self::Public];

    /// The name, as users write and read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Domain => "domain",
            Self::Public => "public",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of categories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Categories {
    private: bool,
    domain: bool,
    public: bool,
}

impl Categories {
    /// Where the neighbours are trusted: private and domain.
    pub const TRUSTED: Self = Self {
        private: true,
        domain: true,
        public: false,
    };
    /// All of them.
    pub const ALL: Self = Self {
        private: true,
        domain: true,
        public: true,
    };

    /// Whether this one is in the set.
    pub fn contains(self, category: Category) -> bool {
        match category {
            Category::Private => self.private,
            Category::Domain => self.domain,
            Category::Public => self.public,
        }
    }

    /// Those in the set, in order.
    pub fn iter(self) -> impl Iterator<Item = Category> {
        Category::ALL
            .into_iter()
            .filter(move |category| self.contains(*category))
    }
}

impl FromIterator<Category> for Categories {
    fn from_iter<I: IntoIterator<Item = Category>>(categories: I) -> Self {
        let mut set = Self::default();
        for category in categories {
            match category {
                Category::Private => set.private = true,
                Category::Domain => set.domain = true,
                Category::Public => set.public = true,
            }
        }
        set
    }
}

/// As users write it: `"private", "domain"`.
impl fmt::Display for Categories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, category) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}\"{category}\"")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_shows_it_as_users_write_it() {
        assert_eq!(Category::ALL.into_iter().collect::<Categories>(), Categories::ALL);
        assert_eq!(
            [Category::Domain, Category::Private]
                .into_iter()
                .collect::<Categories>(),
            Categories::TRUSTED
        );
        for category in Category::ALL {
            let set = Categories::from_iter([category]);
            assert_eq!(set.iter().collect::<Vec<_>>(), [category]);
            assert!(set.contains(category));
        }
        assert_eq!(Categories::TRUSTED.to_string(), r#""private", "domain""#);
    }
}
