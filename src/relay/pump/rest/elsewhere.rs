//! Where an event may not tell.

use std::time::Duration;

/// Often enough for the other side, which waits.
const LOOK: Duration = Duration::from_secs(1);

/// Returns when it is time to ask.
pub(in crate::pump) async fn before_a_look() {
    tokio::time::sleep(LOOK).await;
}
