//! Many listeners in one process. Each of them is the [`super::service`].

use std::path::Path;
use std::sync::Arc;

use super::control;
use super::service;
use crate::clock;

/// Its name among the helpers.
pub const NAME: &str = "farm";

/// Obeys until the bench goes: `open FIRST COUNT` opens that many ports, and tells when it began and when all were open.
pub fn run(socket: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let noise: Arc<[u8]> = service::noise().into();
    control::obey(socket, |order| match order {
        ["open", first, count] => {
            let (first, count): (u16, u16) = (first.parse()?, count.parse()?);
            let _context = runtime.enter();
            let before = clock::now();
            let listeners: Result<Vec<_>, _> = (first..first + count).map(service::listen).collect();
            let after = clock::now();
            for listener in listeners? {
                let noise = Arc::clone(&noise);
                runtime.spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        let noise = Arc::clone(&noise);
                        // The client sees a connection that ends early, and tells.
                        tokio::spawn(async move { drop(service::serve(stream, &noise).await) });
                    }
                });
            }
            Ok(vec![before, after])
        }
        other => anyhow::bail!("what is {other:?}?"),
    })
}
