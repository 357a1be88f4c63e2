//! Laid out; filled next.
