//! Who is let in at all, and what those outside can do to those inside.

mod crowd;
mod keys;
