//! Doors for the fuzz targets (`tests/fuzz`) to the checks of a request's head, as they are.

use axum::http::{HeaderMap, Method, Uri};
use wslnet_protocol::{Problem, SessionId};

use super::{guard, routes};

/// Checks what every request must keep to.
///
/// # Errors
/// The first rule that it breaks.
pub fn examine(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    guard::examine(method, uri, headers)
}

/// Reads the header that names the session.
///
/// # Errors
/// When it is not there once, or none.
pub fn session(headers: &HeaderMap) -> Result<SessionId, Problem> {
    routes::session(headers)
}

/// Reads the header that counts the sets.
///
/// # Errors
/// When it is not there once, or no number.
pub fn generation(headers: &HeaderMap) -> Result<u64, Problem> {
    routes::generation(headers)
}
