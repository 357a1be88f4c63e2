//! What the tests must know of Wine.

/// The owner that the table must name for a socket of this process. Under Wine all sockets belong to its server, and
/// the table often names nobody.
pub(super) fn assert_owner(named: Option<u32>, real: u32) {
    let under_wine = std::env::var_os("WINELOADER").is_some();
    assert!(
        named == Some(real) || (under_wine && named.is_none()),
        "{named:?} instead of {real}"
    );
}
