//! What the control port answers to those whose key it trusts.

mod bodies;
mod headers;
mod life;
mod order;
mod trust;
