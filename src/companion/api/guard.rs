//! Headers, checked before a body is read. TLS already keeps browsers out, since they have no pinned key; these checks
//! are the second wall against DNS rebinding, cross-site requests and request smuggling.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use wslnet_protocol::header::{HOST, MEDIA_TYPE};
use wslnet_protocol::{ErrorCode, Problem, limits};

use super::body::Refusal;

/// Refuses what our own client never sends.
pub(super) async fn check(request: Request, next: Next) -> Response {
    match examine(request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => Refusal(problem).into_response(),
    }
}

pub(super) fn examine(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let forbidden = |message: String| Err(Problem::new(ErrorCode::Forbidden, message));
    let invalid = |message: &str| Err(Problem::new(ErrorCode::Invalid, message));

    // `PUT https://host/path`: how one asks a proxy, and a second host beside the header's (RFC 9112, section 3.2.2).
    if uri.authority().is_some() {
        return forbidden("the request must name a path only; proxies have no place here".to_owned());
    }
    if let Some(name) = headers.keys().find(|name| only_browsers_or_proxies_send(name)) {
        return forbidden(format!(
            "the header `{name}` has no place here; only wslnetd may call"
        ));
    }
    if single(headers, &header::HOST) != Some(HOST) {
        return forbidden(format!("the host must be `{HOST}`"));
    }
    if headers.contains_key(header::TRANSFER_ENCODING) || headers.contains_key(header::EXPECT) {
        return invalid("a body must come whole, with its length; no transfer coding, no expectation");
    }
    let has_body = method == Method::POST || method == Method::PUT;
    if !has_body {
        // One that is repeated or no text is not the same as none.
        return match single(headers, &header::CONTENT_LENGTH) {
            Some("0") => Ok(()),
            None if !headers.contains_key(header::CONTENT_LENGTH) => Ok(()),
            None | Some(_) => invalid("this request has no body"),
        };
    }
    if single(headers, &header::CONTENT_TYPE) != Some(MEDIA_TYPE) {
        return invalid(&format!("the content type must be `{MEDIA_TYPE}`"));
    }
    match single(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length <= limits::BODY_BYTES => Ok(()),
        Some(_) => invalid(&format!("a body has at most {} bytes", limits::BODY_BYTES)),
        None => invalid("the content length is missing or repeated"),
    }
}

fn only_browsers_or_proxies_send(name: &HeaderName) -> bool {
    let name = name.as_str();
    ["origin", "referer", "cookie", "authorization", "forwarded", "via"].contains(&name)
        || name.starts_with("sec-fetch-")
        || name.starts_with("x-forwarded-")
}

/// The value of a header that occurs exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn our_own_requests_pass() {
        assert_eq!(examine(&Method::PUT, &path(), &ours()), Ok(()));
        assert_eq!(
            examine(&Method::GET, &path(), &headers(&[("host", HOST)])),
            Ok(())
        );
    }

    #[test]
    fn what_a_browser_or_a_proxy_adds_is_forbidden() {
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("referer", "https://evil.example/"),
            ("cookie", "a=b"),
            ("authorization", "Bearer x"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "cors"),
            ("x-forwarded-for", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("via", "1.1 proxy"),
        ] {
            let mut request = ours();
            request.insert(HeaderName::from_static(name), value.parse().unwrap());

            assert_eq!(
                code(examine(&Method::PUT, &path(), &request)),
                Some(ErrorCode::Forbidden),
                "{name}"
            );
        }
    }

    #[test]
    fn the_host_must_be_ours_and_come_once() {
        let mut rebound = ours();
        rebound.insert(header::HOST, "evil.example".parse().unwrap());
        let mut twice = ours();
        twice.append(header::HOST, HOST.parse().unwrap());
        let mut none = ours();
        none.remove(header::HOST);

        for request in [rebound, twice, none] {
            assert_eq!(
                code(examine(&Method::PUT, &path(), &request)),
                Some(ErrorCode::Forbidden)
            );
        }
    }

    #[test]
    fn the_form_for_proxies_is_forbidden() {
        for target in [
            "https://wslnet.internal/v1/forwards",
            "http://evil.example/",
            "wslnet.internal:9756",
        ] {
            assert_eq!(
                code(examine(&Method::PUT, &target.parse().unwrap(), &ours())),
                Some(ErrorCode::Forbidden),
                "{target}"
            );
        }
    }

    #[test]
    fn bodies_have_our_type_and_a_bounded_length() {
        for (name, value) in [
            ("content-type", "application/json"),
            ("content-length", "1048577"),
            ("content-length", "-1"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
        ] {
            let mut request = ours();
            request.insert(HeaderName::from_static(name), value.parse().unwrap());

            assert_eq!(
                code(examine(&Method::PUT, &path(), &request)),
                Some(ErrorCode::Invalid),
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn a_request_without_a_body_says_so_at_most_once() {
        let with = |lengths: &[&[u8]]| {
            let mut request = headers(&[("host", HOST)]);
            for length in lengths {
                request.append(header::CONTENT_LENGTH, HeaderValue::from_bytes(length).unwrap());
            }
            code(examine(&Method::GET, &path(), &request))
        };

        assert_eq!(with(&[]), None);
        assert_eq!(with(&[b"0"]), None);
        for lengths in [&[&b"5"[..]][..], &[b"5", b"5"], &[b"0", b"0"], &[b"\xff"], &[b""]] {
            assert_eq!(with(lengths), Some(ErrorCode::Invalid), "{lengths:?}");
        }
    }

    fn path() -> Uri {
        Uri::from_static("/v1/forwards")
    }

    fn ours() -> HeaderMap {
        headers(&[
            ("host", HOST),
            ("content-type", MEDIA_TYPE),
            ("content-length", "2"),
        ])
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn code(result: Result<(), Problem>) -> Option<ErrorCode> {
        result.err().map(|problem| problem.error)
    }
}
