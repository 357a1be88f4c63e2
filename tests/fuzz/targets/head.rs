//! Heads of requests: the first line has the method and the path, each further one a header.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use wslnet_companion::api::fuzzing::{examine, generation, session};
use wslnet_protocol::header::{GENERATION, HOST, MEDIA_TYPE, SESSION};
use wslnet_protocol::limits;

use crate::printable::assert_line;

/// A header as it came.
type Header<'h> = (String, &'h [u8]);

pub(super) fn target(head: &[u8]) {
    let mut lines = head.split(|byte| *byte == b'\n');
    let Some((method, uri)) = lines.next().and_then(request) else {
        return;
    };
    let written: Vec<Header<'_>> = lines.filter_map(header).collect();
    let mut headers = HeaderMap::new();
    for (name, value) in &written {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value)) else {
            return;
        };
        headers.append(name, value);
    }

    match examine(&method, &uri, &headers) {
        Ok(()) => assert_ours(&method, &uri, &written),
        Err(problem) => assert_line(&problem.message),
    }
    match session(&headers) {
        Ok(id) => assert_eq!(only(&written, SESSION), Some(id.to_string().as_bytes())),
        Err(problem) => assert_line(&problem.message),
    }
    match generation(&headers) {
        Ok(number) => assert_eq!(only(&written, GENERATION), Some(number.to_string().as_bytes())),
        Err(problem) => assert_line(&problem.message),
    }
}

fn request(line: &[u8]) -> Option<(Method, Uri)> {
    let (method, uri) = str::from_utf8(line).ok()?.split_once(' ')?;
    Some((method.parse().ok()?, uri.parse().ok()?))
}

fn header(line: &[u8]) -> Option<Header<'_>> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
    Some((
        str::from_utf8(name).ok()?.to_ascii_lowercase(),
        value.trim_ascii(),
    ))
}

/// The value of a header that came once.
fn only<'h>(headers: &[Header<'h>], wanted: &str) -> Option<&'h [u8]> {
    let mut values = headers
        .iter()
        .filter(|(name, _)| name == wanted)
        .map(|(_, value)| *value);
    values.next().filter(|_| values.next().is_none())
}

/// That only `wslnetd` would send it.
fn assert_ours(method: &Method, uri: &Uri, headers: &[Header<'_>]) {
    assert!(uri.host().is_none());
    assert_eq!(only(headers, "host"), Some(HOST.as_bytes()));
    for (name, _) in headers {
        let is_foreign = [
            "origin",
            "referer",
            "cookie",
            "authorization",
            "forwarded",
            "via",
            "transfer-encoding",
            "expect",
        ]
        .contains(&name.as_str());
        assert!(
            !is_foreign && !name.starts_with("sec-fetch-") && !name.starts_with("x-forwarded-"),
            "{name}"
        );
    }
    let length =
        only(headers, "content-length").map(|length| str::from_utf8(length).ok()?.parse::<usize>().ok());
    if method == Method::POST || method == Method::PUT {
        assert_eq!(only(headers, "content-type"), Some(MEDIA_TYPE.as_bytes()));
        assert!(matches!(length, Some(Some(length)) if length <= limits::BODY_BYTES));
    } else {
        assert!(matches!(length, None | Some(Some(0))));
    }
}
