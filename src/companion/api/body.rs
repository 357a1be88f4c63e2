//! Bodies in and out: bounded in size and time, of our media type, and problems as JSON.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wslnet_protocol::header::MEDIA_TYPE;
use wslnet_protocol::{ErrorCode, Problem, limits};

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// A value that travels as JSON under our media type.
#[derive(Debug)]
pub(super) struct Body<T>(pub T);

/// A request that failed.
#[derive(Debug)]
pub(super) struct Refusal(pub Problem);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let invalid = |message: String| Refusal(Problem::new(ErrorCode::Invalid, message));
        let bytes = tokio::time::timeout(BODY_TIME, to_bytes(request.into_body(), limits::BODY_BYTES))
            .await
            .map_err(|_| {
                invalid(format!(
                    "the body did not arrive within {} s",
                    BODY_TIME.as_secs()
                ))
            })?
            .map_err(|error| invalid(format!("the body could not be read: {error}")))?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| invalid(format!("the body does not fit: {error}")))
    }
}

impl<T: Serialize> IntoResponse for Body<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self.0)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        json(status, &self.0)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], bytes).into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer could not be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
