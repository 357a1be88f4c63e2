//! Fixed HTTP headers. The companion checks them before it reads a body.

/// The only `Host` that is served. A browser that was lured here by DNS rebinding sends another one.
pub const HOST: &str = "wslnet.internal";

/// The media type of every body, in both directions.
pub const MEDIA_TYPE: &str = "application/vnd.wslnet.v1+json";

/// Names the session (32 lowercase hex digits). On every request but `POST /v1/session`.
pub const SESSION: &str = "wslnet-session";

/// The number of the set within its session (decimal `u64`, no leading zero). On `PUT /v1/forwards` only.
pub const GENERATION: &str = "wslnet-generation";
