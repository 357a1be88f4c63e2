//! The collection of rules. Every unsafe call of the firewall's is in here and in `policy.rs`.

use std::path::Path;

use windows::Win32::Foundation::{
    E_NOTIMPL, ERROR_FILE_NOT_FOUND, VARIANT_BOOL, VARIANT_FALSE, VARIANT_TRUE,
};
use windows::Win32::NetworkManagement::WindowsFirewall::{
    INetFwPolicy2, INetFwRule, INetFwRules, NET_FW_ACTION_ALLOW, NET_FW_ACTION_BLOCK, NET_FW_RULE_DIR_IN,
    NET_FW_RULE_DIR_OUT, NetFwPolicy2, NetFwRule,
};
use windows::Win32::System::Com::{CLSCTX_INPROC_SERVER, CoCreateInstance, IDispatch};
use windows::Win32::System::Ole::IEnumVARIANT;
use windows::Win32::System::Variant::VARIANT;
use windows::core::{BSTR, HRESULT, Interface, Result};

use crate::firewall::{GROUP, Properties, Setting, StoreError, look};

/// How many rules are fetched at once.
const BATCH: usize = 64;
/// The most rules that are looked at: Windows comes with some hundred.
const MOST: usize = 100_000;
/// How many rules of ours under one name are removed at most.
const TWINS: usize = 16;

/// The rules of this Windows. Only for COM's thread.
pub(super) struct Rules {
    policy: INetFwPolicy2,
    rules: INetFwRules,
}

/// The rules that concern us.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Those of our group.
    pub ours: Vec<Properties>,
    /// Those that name the file.
    pub image: Vec<Properties>,
}

impl Rules {
    /// Asks for them.
    pub(super) fn open() -> std::result::Result<Self, StoreError> {
        // SAFETY: the class and the interface belong together; COM's thread has initialised COM.
        let policy: INetFwPolicy2 = unsafe { CoCreateInstance(&NetFwPolicy2, None, CLSCTX_INPROC_SERVER) }?;
        // SAFETY: takes nothing; the object is alive.
        let rules = unsafe { policy.Rules() }?;
        Ok(Self { policy, rules })
    }

    /// The firewall's settings.
    pub(super) fn policy(&self) -> &INetFwPolicy2 {
        &self.policy
    }

    /// Reads those of our group, and those that name the file.
    pub(super) fn read(&self, image: Option<&Path>) -> std::result::Result<Read, StoreError> {
        let mut read = Read::default();
        // SAFETY: takes nothing; the object is alive. Wine has no enumerator, and no rules either.
        if unsafe { self.rules.Count() }? == 0 {
            return Ok(read);
        }
        // SAFETY: the same.
        let rules: IEnumVARIANT = unsafe { self.rules._NewEnum() }?.cast()?;
        let mut seen = 0;
        while seen < MOST {
            let mut batch: [VARIANT; BATCH] = std::array::from_fn(|_| VARIANT::default());
            let mut fetched = 0;
            // SAFETY: the array is writable for its length, of empty variants, and the number is a live u32.
            unsafe { rules.Next(&mut batch, &raw mut fetched) }.ok()?;
            if fetched == 0 {
                break;
            }
            seen += fetched as usize;
            for variant in batch.iter().take(fetched as usize) {
                let rule: INetFwRule = IDispatch::try_from(variant)?.cast()?;
                // One that goes away while it is read is no rule any more; one that cannot be read is not ours.
                let Ok((group, application)) = head(&rule) else {
                    continue;
                };
                let names_image = image.is_some_and(|image| look::names(&application, image));
                if group != GROUP && !names_image {
                    continue;
                }
                let Ok(properties) = properties(&rule) else {
                    continue;
                };
                if group == GROUP {
                    read.ours.push(properties.clone());
                }
                if names_image {
                    read.image.push(properties);
                }
            }
        }
        Ok(read)
    }

    /// Makes a rule, and looks whether it is there: Wine takes all and keeps none.
    pub(super) fn add(&self, properties: &Properties) -> std::result::Result<(), StoreError> {
        let rule = make(properties)?;
        // SAFETY: both objects are alive.
        unsafe { self.rules.Add(&rule) }?;
        match self.find(&properties.name) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(StoreError::NotKept(properties.name.clone())),
            // Wine's answer.
            Err(error) if error.code() == E_NOTIMPL => Err(StoreError::NotKept(properties.name.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes all rules of ours of that name. Windows removes by name alone, so it is looked first whose the rule is.
    pub(super) fn remove(&self, name: &str) -> std::result::Result<(), StoreError> {
        for _ in 0..TWINS {
            let Some(rule) = self.find(name)? else {
                return Ok(());
            };
            if head(&rule)?.0 != GROUP {
                return Err(StoreError::Foreign(name.to_owned()));
            }
            // SAFETY: the object is alive, and the text too.
            unsafe { self.rules.Remove(&BSTR::from(name)) }?;
        }
        Ok(())
    }

    /// The rule of that name, or one of them; `None` if there is none.
    fn find(&self, name: &str) -> Result<Option<INetFwRule>> {
        // SAFETY: the object is alive, and the text too.
        match unsafe { self.rules.Item(&BSTR::from(name)) } {
            Ok(rule) => Ok(Some(rule)),
            Err(error) if error.code() == HRESULT::from_win32(ERROR_FILE_NOT_FOUND.0) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A rule that is in no collection yet.
pub(super) fn make(properties: &Properties) -> Result<INetFwRule> {
    // SAFETY: the class and the interface belong together; COM's thread has initialised COM.
    let rule: INetFwRule = unsafe { CoCreateInstance(&NetFwRule, None, CLSCTX_INPROC_SERVER) }?;
    for setting in properties.settings() {
        set(&rule, setting)?;
    }
    Ok(rule)
}

fn set(rule: &INetFwRule, setting: Setting<'_>) -> Result<()> {
    let direction = |inbound| {
        if inbound {
            NET_FW_RULE_DIR_IN
        } else {
            NET_FW_RULE_DIR_OUT
        }
    };
    let action = |allow| {
        if allow {
            NET_FW_ACTION_ALLOW
        } else {
            NET_FW_ACTION_BLOCK
        }
    };
    // SAFETY: the object is alive, and each text lives as long as its call.
    unsafe {
        match setting {
            Setting::Name(text) => rule.SetName(&BSTR::from(text)),
            Setting::Description(text) => rule.SetDescription(&BSTR::from(text)),
            Setting::Grouping(text) => rule.SetGrouping(&BSTR::from(text)),
            Setting::Application(text) => rule.SetApplicationName(&BSTR::from(text)),
            Setting::Service(text) => rule.SetServiceName(&BSTR::from(text)),
            Setting::Protocol(number) => rule.SetProtocol(number),
            Setting::LocalPorts(text) => rule.SetLocalPorts(&BSTR::from(text)),
            Setting::LocalAddresses(text) => rule.SetLocalAddresses(&BSTR::from(text)),
            Setting::RemoteAddresses(text) => rule.SetRemoteAddresses(&BSTR::from(text)),
            Setting::Inbound(inbound) => rule.SetDirection(direction(inbound)),
            Setting::Profiles(number) => rule.SetProfiles(number),
            Setting::Allow(allow) => rule.SetAction(action(allow)),
            Setting::EdgeTraversal(on) => rule.SetEdgeTraversal(variant_bool(on)),
            Setting::Enabled(on) => rule.SetEnabled(variant_bool(on)),
        }
    }
}

/// The group and the program.
fn head(rule: &INetFwRule) -> Result<(String, String)> {
    // SAFETY: the object is alive.
    let (group, application) = unsafe { (rule.Grouping()?, rule.ApplicationName()?) };
    Ok((group.to_string(), application.to_string()))
}

fn properties(rule: &INetFwRule) -> Result<Properties> {
    // SAFETY: the object is alive; what it gives out is ours.
    unsafe {
        Ok(Properties {
            name: rule.Name()?.to_string(),
            description: rule.Description()?.to_string(),
            grouping: rule.Grouping()?.to_string(),
            application: rule.ApplicationName()?.to_string(),
            service: rule.ServiceName()?.to_string(),
            protocol: rule.Protocol()?,
            // Rules for protocols without ports may refuse to name them.
            local_ports: rule.LocalPorts().unwrap_or_default().to_string(),
            local_addresses: rule.LocalAddresses()?.to_string(),
            remote_addresses: rule.RemoteAddresses()?.to_string(),
            profiles: rule.Profiles()?,
            inbound: rule.Direction()? == NET_FW_RULE_DIR_IN,
            allow: rule.Action()? == NET_FW_ACTION_ALLOW,
            edge_traversal: rule.EdgeTraversal()?.as_bool(),
            enabled: rule.Enabled()?.as_bool(),
        })
    }
}

fn variant_bool(value: bool) -> VARIANT_BOOL {
    if value { VARIANT_TRUE } else { VARIANT_FALSE }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use std::time::Duration;

    use crate::host::com;

    fn sample() -> Properties {
        Properties {
            name: format!("wslnet test {}", std::process::id()),
            description: "Made by a test; may be deleted".into(),
            grouping: GROUP.into(),
            application: r"C:\nowhere\test.exe".into(),
            service: "iphlpsvc".into(),
            protocol: 6,
            local_ports: "4711,4712".into(),
            local_addresses: "*".into(),
            remote_addresses: "LocalSubnet".into(),
            profiles: 3,
            inbound: true,
            allow: true,
            edge_traversal: false,
            enabled: false,
        }
    }

    fn on_com<T: Send + 'static>(calls: impl FnOnce() -> T + Send + 'static) -> T {
        com::call(Duration::from_secs(30), || Ok(calls())).unwrap()
    }

    /// Windows gives back what it was told. Wine takes every setter and has no getters, so there it is proved only that each
    /// call is of the right shape and in an order that is accepted.
    #[test]
    fn every_property_is_taken() {
        let told = on_com(|| make(&sample()).map(|rule| properties(&rule))).unwrap();

        match told {
            Ok(told) => assert_eq!(told, sample()),
            Err(error) => {
                assert!(std::env::var_os("WINELOADER").is_some(), "{error}");
                assert_eq!(error.code(), E_NOTIMPL);
            }
        }
    }

    /// Under Wine alone: on Windows it would need an administrator.
    #[test]
    fn wine_takes_a_rule_and_we_see_that_it_keeps_none() {
        if std::env::var_os("WINELOADER").is_none() {
            return;
        }
        let added = on_com(|| Rules::open().unwrap().add(&sample()));
        assert_eq!(added, Err(StoreError::NotKept(sample().name)));

        let read = on_com(|| Rules::open().unwrap().read(Some(Path::new("x")))).unwrap();
        assert!(read.ours.is_empty() && read.image.is_empty());
        let removed = on_com(|| Rules::open().unwrap().remove("wslnet"));
        assert!(
            matches!(removed, Err(StoreError::Other(_))),
            "Wine cannot find rules: {removed:?}"
        );
    }
}
