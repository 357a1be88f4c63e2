//! The categories of networks, from the Network List Manager. Every user may ask it.
//!
//! Under Wine every network is public.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use windows::Win32::Networking::NetworkListManager::{
    INetworkListManager, NLM_NETWORK_CATEGORY, NLM_NETWORK_CATEGORY_DOMAIN_AUTHENTICATED,
    NLM_NETWORK_CATEGORY_PRIVATE, NLM_NETWORK_CATEGORY_PUBLIC, NetworkListManager,
};
use windows::Win32::System::Com::{CLSCTX_ALL, CoCreateInstance};
use windows::core::Result;

use super::adapters::adapter_name;
use super::com;
use crate::host::Category;

/// How often it is asked while nothing hints at a change.
pub(in crate::host) const CATEGORY_POLL: Duration = Duration::from_secs(10);
/// For how long it is asked again and again after an interface has changed: Windows finds out later what network that is in.
pub(in crate::host) const CATEGORY_DELAY: Duration = Duration::from_secs(30);
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most connections of adapters to networks that are looked at.
const MOST: usize = 1024;

/// By the names of adapters. The directory is of use on Linux only.
pub(in crate::host) fn categories(
    _state_dir: &Path,
) -> std::result::Result<BTreeMap<String, Category>, String> {
    com::call(PATIENCE, ask).map_err(|error| format!("the Network List Manager: {error}"))
}

fn ask() -> Result<BTreeMap<String, Category>> {
    // SAFETY: the class and the interface belong together; COM's thread has initialised COM.
    let manager: INetworkListManager = unsafe { CoCreateInstance(&NetworkListManager, None, CLSCTX_ALL) }?;
    // SAFETY: takes nothing; the object is alive.
    let connections = unsafe { manager.GetNetworkConnections() }?;
    let mut found = BTreeMap::new();
    for _ in 0..MOST {
        let mut next = [None];
        let mut fetched = 0;
        // SAFETY: the array has room for the one that is asked for, and the number is a live u32.
        unsafe { connections.Next(&mut next, Some(&raw mut fetched)) }?;
        let [Some(connection)] = next else {
            break;
        };
        // SAFETY: the objects are alive. One that fails has left its network meanwhile.
        let told = unsafe {
            connection.GetAdapterId().and_then(|adapter| {
                let category = connection.GetNetwork()?.GetCategory()?;
                Ok((adapter_name(adapter.to_u128()), category))
            })
        };
        let Ok((adapter, told)) = told else {
            continue;
        };
        let Some(category) = category(told) else {
            continue;
        };
        // An adapter may be in several networks: what is public about it counts.
        let known = found.entry(adapter).or_insert(category);
        *known = (*known).max(category);
    }
    Ok(found)
}

/// A category of later Windows is none that we know.
fn category(told: NLM_NETWORK_CATEGORY) -> Option<Category> {
    match told {
        NLM_NETWORK_CATEGORY_PRIVATE => Some(Category::Private),
        NLM_NETWORK_CATEGORY_DOMAIN_AUTHENTICATED => Some(Category::Domain),
        NLM_NETWORK_CATEGORY_PUBLIC => Some(Category::Public),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn the_networks_of_the_adapters_have_categories() {
        let found = categories(Path::new("")).unwrap();

        assert!(!found.is_empty());
        if std::env::var_os("WINELOADER").is_some() {
            assert!(
                found.values().all(|category| *category == Category::Public),
                "{found:?}"
            );
        }
    }
}
