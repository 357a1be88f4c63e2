//! A door for the fuzz targets (`tests/fuzz`) to the parser of wishes, as it is.

use wslnet_protocol::Reach;

use super::wish::Wish;

/// How far it wants to go, where `Some(None)` is `off`, and its name.
pub type Wished = (Option<Option<Reach>>, Option<String>);

/// Reads what programs and containers say of themselves.
///
/// # Errors
/// What cannot be understood.
pub fn wish(texts: &[&str]) -> Result<Wished, String> {
    Wish::read(texts.iter().copied()).map(|wish| (wish.reach, wish.name))
}
