//! Laid out; filled next.
fn main() {}
