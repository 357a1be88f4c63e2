//! The five requests, and the OpenAPI document that is made from them.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Router, middleware};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wslnet_protocol::header::{GENERATION, SESSION};
use wslnet_protocol::{
    Applied, ErrorCode, ForwardSet, OpenSession, Problem, Renew, Renewed, SessionId, SessionOpened,
};

use super::body::{Body, Refusal};
use super::{Caller, guard};
use crate::engine::Engine;

#[derive(OpenApi)]
#[openapi(info(
    title = "wslnet-companion",
    description = "The channel between wslnetd in a WSL2 distro and wslnet-companion on Windows. HTTP/1.1 over mutual \
                   TLS 1.3 with pinned Ed25519 raw public keys (RFC 7250), ALPN `wslnet/1`, host `wslnet.internal`, \
                   bodies of type `application/vnd.wslnet.v1+json`."
))]
struct Document;

/// The router that serves one connection's requests through `engine`.
pub(super) fn router(engine: Engine) -> Router<()> {
    documented()
        .split_for_parts()
        .0
        .fallback(no_such_request)
        .method_not_allowed_fallback(no_such_request)
        .layer(middleware::from_fn(guard::check))
        .with_state(engine)
}

/// The OpenAPI document of the control port, as pretty JSON. Generated from the same routes that are served.
///
/// # Errors
/// If the document cannot be written as JSON, which would be a fault of this program.
pub fn openapi() -> Result<String, serde_json::Error> {
    let mut json = documented().split_for_parts().1.to_pretty_json()?;
    json.push('\n');
    Ok(json)
}

fn documented() -> OpenApiRouter<Engine> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(open_session, close_session))
        .routes(routes!(put_forwards, get_forwards))
        .routes(routes!(renew))
}

/// Opens a session; it replaces an earlier one of the same key.
#[utoipa::path(
    post, path = "/v1/session", request_body(content = OpenSession, content_type = "application/vnd.wslnet.v1+json"),
    responses(
        (status = 200, body = SessionOpened, content_type = "application/vnd.wslnet.v1+json"),
        (status = "4XX", body = Problem, content_type = "application/vnd.wslnet.v1+json"),
    )
)]
async fn open_session(
    State(engine): State<Engine>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<OpenSession>,
) -> Result<Body<SessionOpened>, Refusal> {
    Ok(Body(engine.open(caller, request).await?))
}

/// Says goodbye: all forwards of the session are withdrawn before the answer comes.
#[utoipa::path(
    delete, path = "/v1/session", params(("wslnet-session" = SessionId, Header)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/vnd.wslnet.v1+json"))
)]
async fn close_session(
    State(engine): State<Engine>,
    Extension(caller): Extension<Caller>,
    InSession(session): InSession,
) -> Result<StatusCode, Refusal> {
    engine.close(session, caller.connection).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces the whole set of forwards; it is applied before the answer comes.
#[utoipa::path(
    put, path = "/v1/forwards", params(("wslnet-session" = SessionId, Header), ("wslnet-generation" = u64, Header)),
    request_body(content = ForwardSet, content_type = "application/vnd.wslnet.v1+json"),
    responses(
        (status = 200, body = Applied, content_type = "application/vnd.wslnet.v1+json"),
        (status = "4XX", body = Problem, content_type = "application/vnd.wslnet.v1+json"),
    )
)]
async fn put_forwards(
    State(engine): State<Engine>,
    Extension(caller): Extension<Caller>,
    InSession(session): InSession,
    Generation(generation): Generation,
    Body(set): Body<ForwardSet>,
) -> Result<Body<Applied>, Refusal> {
    Ok(Body(
        engine.put(session, caller.connection, generation, set).await?,
    ))
}

/// Reads the set back, with the state of each forward.
#[utoipa::path(
    get, path = "/v1/forwards", params(("wslnet-session" = SessionId, Header)),
    responses(
        (status = 200, body = Applied, content_type = "application/vnd.wslnet.v1+json"),
        (status = "4XX", body = Problem, content_type = "application/vnd.wslnet.v1+json"),
    )
)]
async fn get_forwards(
    State(engine): State<Engine>,
    Extension(caller): Extension<Caller>,
    InSession(session): InSession,
) -> Result<Body<Applied>, Refusal> {
    Ok(Body(engine.get(session, caller.connection).await?))
}

/// Keeps the lease and brings back changed states.
#[utoipa::path(
    post, path = "/v1/renew", params(("wslnet-session" = SessionId, Header)),
    request_body(content = Renew, content_type = "application/vnd.wslnet.v1+json"),
    responses(
        (status = 200, body = Renewed, content_type = "application/vnd.wslnet.v1+json"),
        (status = "4XX", body = Problem, content_type = "application/vnd.wslnet.v1+json"),
    )
)]
async fn renew(
    State(engine): State<Engine>,
    Extension(caller): Extension<Caller>,
    InSession(session): InSession,
    Body(request): Body<Renew>,
) -> Result<Body<Renewed>, Refusal> {
    Ok(Body(
        engine.renew(session, caller.connection, request.seen).await?,
    ))
}

async fn no_such_request() -> Refusal {
    Refusal(Problem::new(
        ErrorCode::NotFound,
        "there is no such request; see the OpenAPI document",
    ))
}

/// The session header. An extractor, because extractors run in order and the body comes last: what lacks this header
/// has no body read.
struct InSession(SessionId);

impl<S: Send + Sync> FromRequestParts<S> for InSession {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(Self(session(&parts.headers)?))
    }
}

/// The generation header, before the body as well.
struct Generation(u64);

impl<S: Send + Sync> FromRequestParts<S> for Generation {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(Self(generation(&parts.headers)?))
    }
}

pub(super) fn session(headers: &HeaderMap) -> Result<SessionId, Problem> {
    only(headers, SESSION)?
        .parse()
        .map_err(|shape: &str| Problem::new(ErrorCode::Invalid, format!("header `{SESSION}`: {shape}")))
}

pub(super) fn generation(headers: &HeaderMap) -> Result<u64, Problem> {
    let text = only(headers, GENERATION)?;
    let canonical = text
        .parse::<u64>()
        .ok()
        .filter(|number| number.to_string() == text);
    canonical.ok_or_else(|| {
        Problem::new(
            ErrorCode::Invalid,
            format!("header `{GENERATION}`: a decimal number without leading zeros"),
        )
    })
}

fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        _ => Err(Problem::new(
            ErrorCode::Invalid,
            format!("the header `{name}` must come exactly once"),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// The checked-in document is what reviewers and other clients read. `UPDATE_OPENAPI=1 cargo test` rewrites it.
    #[test]
    fn the_checked_in_document_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/openapi.json");
        let generated = openapi().unwrap();
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, &generated).unwrap();
        }

        let checked_in = std::fs::read_to_string(path).unwrap();

        assert_eq!(
            checked_in, generated,
            "the API changed: run `UPDATE_OPENAPI=1 cargo test -p wslnet-companion`"
        );
    }

    #[test]
    fn a_generation_has_one_spelling() {
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(GENERATION, text.parse().unwrap());
            generation(&headers)
        };

        assert_eq!(with("0"), Ok(0));
        assert_eq!(with("18446744073709551615"), Ok(u64::MAX));
        for other in ["", "01", "+1", "-1", "1.0", "18446744073709551616", "0x1"] {
            assert!(with(other).is_err(), "{other}");
        }
    }
}
