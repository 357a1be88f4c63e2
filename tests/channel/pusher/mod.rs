//! The daemon's side of the channel: `Pusher`, with the companion of this process and with servers that misbehave.

mod daemon;
mod fake;
mod misbehaviour;
mod proxies;
mod step;
