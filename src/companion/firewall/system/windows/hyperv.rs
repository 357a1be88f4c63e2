//! The Hyper-V firewall, through the WMI class `MSFT_NetFirewallHyperVRule`, on COM's own thread. Windows has no other interface to it
//! than this one, on which the commands `New-NetFirewallHyperVRule` and so on are built.
//!
//! Written against Microsoft's documentation
//! (learn.microsoft.com/windows/win32/fwp/wmi/wfascimprov/msft-netfirewallhypervrule; `WBEM_E_…`: wmisdk/wmi-error-constants). Wine has WMI
//! but not this class, and is then a Windows without such a firewall.

use std::path::Path;
use std::time::Duration;

use windows::Win32::Foundation::E_OUTOFMEMORY;
use windows::Win32::System::Com::{
    CLSCTX_INPROC_SERVER, CoCreateInstance, CoSetProxyBlanket, EOAC_NONE, RPC_C_AUTHN_LEVEL_CALL,
    RPC_C_IMP_LEVEL_IMPERSONATE, SAFEARRAY,
};
use windows::Win32::System::Ole::{SafeArrayCreateVector, SafeArrayDestroy, SafeArrayPutElement};
use windows::Win32::System::Rpc::{RPC_C_AUTHN_WINNT, RPC_C_AUTHZ_NONE};
use windows::Win32::System::Variant::{VARIANT, VT_ARRAY, VT_BSTR, VT_I4};
use windows::Win32::System::Wmi::{
    IWbemClassObject, IWbemLocator, IWbemServices, WBEM_E_ACCESS_DENIED, WBEM_E_INVALID_CLASS,
    WBEM_E_INVALID_NAMESPACE, WBEM_E_NOT_FOUND, WBEM_FLAG_CONNECT_USE_MAX_WAIT, WBEM_FLAG_CREATE_OR_UPDATE,
    WBEM_FLAG_FORWARD_ONLY, WBEM_FLAG_RETURN_IMMEDIATELY, WBEM_FLAG_RETURN_WBEM_COMPLETE,
    WBEM_GENERIC_FLAG_TYPE, WBEMSTATUS, WbemLocator,
};
use windows::core::{BSTR, Error, HRESULT, HSTRING, IUnknown, Interface, PCWSTR, Result};

use super::{FOR_EACH, PATIENCE, ask};
use crate::firewall::rule::profiles_bits;
use crate::firewall::{FoundHyperVRule, HyperVRule, Scope, StoreError, is_our_hyperv_rule};

const NAMESPACE: &str = r"ROOT\StandardCimv2";
const CLASS: &str = "MSFT_NetFirewallHyperVRule";
/// By what Windows knows the virtual machines of WSL (learn.microsoft.com/windows/wsl/networking).
const WSL: &str = "{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}";
/// How long one answer of an enumeration may take, in milliseconds; longer than that is [`PATIENCE`]'s matter.
const ANSWER: i32 = 5_000;
/// The most rules that are looked at.
const MOST: usize = 10_000;
/// What `Enabled`, `Direction` and `Action` are to be.
const ENABLED: i32 = 1;
const INBOUND: i32 = 1;
const ALLOW: i32 = 2;

/// This Windows' Hyper-V firewall.
#[derive(Clone, Debug)]
pub struct HyperV;

/// A property of a rule and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(i32),
    Texts(Vec<String>),
}

/// The properties of a rule, in order.
pub(super) fn properties(rule: &HyperVRule) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::Text(text.to_owned());
    let mut properties = vec![
        ("InstanceID", Value::Text(rule.name())),
        (
            "ElementName",
            Value::Text(format!("wslnet: {} port {} of WSL", rule.protocol, rule.port)),
        ),
        ("VMCreatorId", text(WSL)),
        ("Direction", Value::Number(INBOUND)),
        ("Action", Value::Number(ALLOW)),
        ("Enabled", Value::Number(ENABLED)),
        ("Profiles", Value::Number(profiles_bits(rule.profiles))),
        ("Protocol", Value::Text(rule.protocol.to_string().to_uppercase())),
        ("LocalPorts", Value::Texts(vec![rule.port.to_string()])),
    ];
    for (name, scopes) in [
        ("LocalAddresses", &rule.local_addresses),
        ("RemoteAddresses", &rule.remote_addresses),
    ] {
        // Without the property it is all of them.
        if !scopes.is_empty() {
            properties.push((name, Value::Texts(scopes.iter().map(Scope::to_string).collect())));
        }
    }
    properties
}

impl HyperV {
    /// This Windows' own. The directory is of use on Linux only.
    pub fn new(_state_dir: &Path) -> Self {
        Self
    }

    /// Our rules; `None` where Windows has no such firewall.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn ours(&self) -> std::result::Result<Option<Vec<FoundHyperVRule>>, StoreError> {
        ask(PATIENCE, || {
            match connect().and_then(|services| ours(&services)) {
                Ok(found) => Ok(Some(found)),
                Err(error)
                    if is(
                        &error,
                        &[WBEM_E_INVALID_CLASS, WBEM_E_INVALID_NAMESPACE, WBEM_E_NOT_FOUND],
                    ) =>
                {
                    Ok(None)
                }
                Err(error) => Err(refusal(error)),
            }
        })
    }

    /// Makes rules, in their order, as far as it gets.
    ///
    /// # Errors
    /// When one could not be made.
    pub fn add(&self, rules: &[HyperVRule]) -> std::result::Result<(), StoreError> {
        let rules = rules.to_vec();
        ask(patience(rules.len()), move || {
            let services = connect().map_err(refusal)?;
            rules
                .iter()
                .try_for_each(|rule| add(&services, rule))
                .map_err(refusal)
        })
    }

    /// Removes rules of ours by their names; those that are not there are no matter.
    ///
    /// # Errors
    /// When one could not be removed.
    pub fn remove(&self, names: &[String]) -> std::result::Result<(), StoreError> {
        let names: Vec<String> = names
            .iter()
            .filter(|name| is_our_hyperv_rule(name))
            .cloned()
            .collect();
        ask(patience(names.len()), move || {
            let services = connect().map_err(refusal)?;
            names
                .iter()
                .try_for_each(|name| remove(&services, name))
                .map_err(refusal)
        })
    }
}

fn patience(rules: usize) -> Duration {
    PATIENCE + FOR_EACH * u32::try_from(rules).unwrap_or(u32::MAX)
}

fn connect() -> Result<IWbemServices> {
    // SAFETY: the class and the interface belong together; COM's thread has initialised COM.
    let locator: IWbemLocator = unsafe { CoCreateInstance(&WbemLocator, None, CLSCTX_INPROC_SERVER) }?;
    let none = BSTR::new();
    // Without it a server that is broken is waited for without an end, and with it for two minutes.
    let wait = WBEM_FLAG_CONNECT_USE_MAX_WAIT.0;
    // SAFETY: the object is alive, and so are the texts; empty ones mean this user, on this machine.
    let services =
        unsafe { locator.ConnectServer(&BSTR::from(NAMESPACE), &none, &none, &none, wait, &none, None) }?;
    as_ourselves(&services.cast()?)?;
    Ok(services)
}

/// Lets the other side act with our rights: the documentation asks for it for each object from `ConnectServer` and of enumerations.
fn as_ourselves(proxy: &IUnknown) -> Result<()> {
    // SAFETY: the object is alive; there is no principal's name and no other identity.
    unsafe {
        CoSetProxyBlanket(
            proxy,
            RPC_C_AUTHN_WINNT,
            RPC_C_AUTHZ_NONE,
            PCWSTR::null(),
            RPC_C_AUTHN_LEVEL_CALL,
            RPC_C_IMP_LEVEL_IMPERSONATE,
            None,
            EOAC_NONE,
        )
    }
}

fn ours(services: &IWbemServices) -> Result<Vec<FoundHyperVRule>> {
    let flags = WBEM_FLAG_FORWARD_ONLY | WBEM_FLAG_RETURN_IMMEDIATELY;
    // SAFETY: the object is alive, and so is the text; there is no context.
    let rules = unsafe { services.CreateInstanceEnum(&BSTR::from(CLASS), flags, None) }?;
    // Wine's enumerations are no proxies, and say so; one without the right to ask says that later.
    let _ = as_ourselves(&rules.cast()?);
    let mut found = Vec::new();
    for _ in 0..MOST {
        let mut next = [None];
        let mut count = 0;
        // SAFETY: the object is alive, the array is writable for its length, and the number is a live u32.
        unsafe { rules.Next(ANSWER, &mut next, &raw mut count) }.ok()?;
        let [Some(object)] = next else { break };
        let name = text(&object, "InstanceID")?.filter(|name| is_our_hyperv_rule(name));
        if let Some(name) = name {
            let is = |name: &str, wanted: i32| Ok::<_, Error>(number(&object, name)? == Some(wanted));
            let is_in_force = is("Enabled", ENABLED)? && is("Action", ALLOW)? && is("Direction", INBOUND)?;
            found.push(FoundHyperVRule { name, is_in_force });
        }
    }
    Ok(found)
}

fn add(services: &IWbemServices, rule: &HyperVRule) -> Result<()> {
    let mut class = None;
    // SAFETY: the object is alive, and so is the text; the class comes back in a live place.
    unsafe {
        services.GetObject(
            &BSTR::from(CLASS),
            WBEM_FLAG_RETURN_WBEM_COMPLETE,
            None,
            Some(&raw mut class),
            None,
        )
    }?;
    let class: IWbemClassObject = class.ok_or_else(|| Error::from_hresult(HRESULT(WBEM_E_NOT_FOUND.0)))?;
    // SAFETY: the object is alive.
    let instance = unsafe { class.SpawnInstance(0) }?;
    for (name, value) in properties(rule) {
        let value = variant(&value)?;
        // SAFETY: the object is alive, and so are the text and the value, which is copied.
        unsafe { instance.Put(&HSTRING::from(name), 0, &raw const value, 0) }?;
    }
    let flags = WBEM_GENERIC_FLAG_TYPE(WBEM_FLAG_CREATE_OR_UPDATE.0);
    // SAFETY: the objects are alive; nothing is asked for but the return value.
    unsafe { services.PutInstance(&instance, flags, None, None) }
}

fn remove(services: &IWbemServices, name: &str) -> Result<()> {
    // The name is of letters, digits and dashes.
    let path = format!("{CLASS}.InstanceID=\"{name}\"");
    // SAFETY: the object is alive, and so is the text.
    match unsafe { services.DeleteInstance(&BSTR::from(path), WBEM_FLAG_RETURN_WBEM_COMPLETE, None, None) } {
        Err(error) if is(&error, &[WBEM_E_NOT_FOUND]) => Ok(()),
        result => result,
    }
}

fn value(object: &IWbemClassObject, name: &str) -> Result<VARIANT> {
    let mut value = VARIANT::default();
    // SAFETY: the object is alive, and so are the text and the place for the value.
    unsafe { object.Get(&HSTRING::from(name), 0, &raw mut value, None, None) }?;
    Ok(value)
}

fn text(object: &IWbemClassObject, name: &str) -> Result<Option<String>> {
    let value = value(object, name)?;
    // SAFETY: the kind says which part of the union is set.
    let text = unsafe {
        let inner = &value.Anonymous.Anonymous;
        (inner.vt == VT_BSTR).then(|| inner.Anonymous.bstrVal.to_string())
    };
    Ok(text)
}

/// WMI hands an unsigned 16 bit number out as a signed one of 32.
fn number(object: &IWbemClassObject, name: &str) -> Result<Option<i32>> {
    let value = value(object, name)?;
    // SAFETY: the kind says which part of the union is set.
    let number = unsafe {
        let inner = &value.Anonymous.Anonymous;
        (inner.vt == VT_I4).then_some(inner.Anonymous.lVal)
    };
    Ok(number)
}

pub(super) fn variant(value: &Value) -> Result<VARIANT> {
    Ok(match value {
        Value::Text(text) => VARIANT::from(BSTR::from(text)),
        Value::Number(number) => VARIANT::from(*number),
        Value::Texts(texts) => texts_variant(texts)?,
    })
}

fn texts_variant(texts: &[String]) -> Result<VARIANT> {
    let length = u32::try_from(texts.len()).map_err(|_| Error::from_hresult(E_OUTOFMEMORY))?;
    // SAFETY: takes numbers only.
    let array = unsafe { SafeArrayCreateVector(VT_BSTR, 0, length) };
    if array.is_null() {
        return Err(Error::from_hresult(E_OUTOFMEMORY));
    }
    let array = Array(array);
    for (index, text) in (0_i32..).zip(texts) {
        let text = BSTR::from(text);
        // SAFETY: the array is ours and of that length; of a BSTR the pointer itself is handed over, and the text copied.
        unsafe { SafeArrayPutElement(array.0, &raw const index, text.as_ptr().cast()) }?;
    }
    let mut variant = VARIANT::default();
    // SAFETY: the kind is set together with the part of the union that it stands for; the variant owns the array from now on.
    unsafe {
        let inner = &mut *variant.Anonymous.Anonymous;
        inner.vt = VARENUM_OF_TEXTS;
        inner.Anonymous.parray = array.into_raw();
    }
    Ok(variant)
}

/// The kind of an array of texts.
const VARENUM_OF_TEXTS: windows::Win32::System::Variant::VARENUM =
    windows::Win32::System::Variant::VARENUM(VT_ARRAY.0 | VT_BSTR.0);

/// An array that nobody else owns yet.
struct Array(*mut SAFEARRAY);

impl Array {
    fn into_raw(self) -> *mut SAFEARRAY {
        let array = self.0;
        std::mem::forget(self);
        array
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        // SAFETY: it is ours, and not locked. There is nobody to tell of a failure.
        let _ = unsafe { SafeArrayDestroy(self.0) };
    }
}

fn is(error: &Error, codes: &[WBEMSTATUS]) -> bool {
    codes.iter().any(|code| error.code() == HRESULT(code.0))
}

fn refusal(error: Error) -> StoreError {
    if is(&error, &[WBEM_E_ACCESS_DENIED]) {
        StoreError::Denied
    } else {
        error.into()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use wslnet_protocol::Protocol;

    use super::*;
    use crate::host::Categories;

    fn rule() -> HyperVRule {
        let own = [192, 0, 2, 7].into();
        HyperVRule {
            protocol: Protocol::Tcp,
            port: 8000,
            local_addresses: [Scope::network(own, 32)].into(),
            remote_addresses: [Scope::network(own, 24)].into(),
            profiles: Categories::TRUSTED,
        }
    }

    /// The expectation stands in Microsoft's documentation of the class; nothing here has seen a real one.
    #[test]
    fn what_windows_is_told_is_this() {
        let text = |text: &str| Value::Text(text.to_owned());
        let texts = |text: &str| Value::Texts(vec![text.to_owned()]);

        let told = properties(&rule());

        assert_eq!(
            told,
            [
                ("InstanceID", text(&rule().name())),
                ("ElementName", text("wslnet: tcp port 8000 of WSL")),
                ("VMCreatorId", text("{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}")),
                ("Direction", Value::Number(1)),
                ("Action", Value::Number(2)),
                ("Enabled", Value::Number(1)),
                ("Profiles", Value::Number(3)),
                ("Protocol", text("TCP")),
                ("LocalPorts", texts("8000")),
                ("LocalAddresses", texts("192.0.2.7/32")),
                ("RemoteAddresses", texts("192.0.2.0/24")),
            ]
        );
        let everywhere = HyperVRule {
            profiles: Categories::ALL,
            ..rule()
        };
        assert!(properties(&everywhere).contains(&("Profiles", Value::Number(7))));
    }

    #[test]
    fn values_are_variants_of_the_kinds_that_wmi_takes() {
        let kind = |value: Value| {
            let variant = variant(&value).unwrap();
            // SAFETY: the kind is always set.
            unsafe { variant.Anonymous.Anonymous.vt }
        };

        assert_eq!(kind(Value::Text("x".into())), VT_BSTR);
        assert_eq!(kind(Value::Number(1)), VT_I4);
        assert_eq!(kind(Value::Texts(vec!["1".into(), "2".into()])), VARENUM_OF_TEXTS);
    }

    /// Wine has WMI and the locator, and not this class.
    #[test]
    fn a_windows_without_such_a_firewall_is_told_from_one_that_fails() {
        let there = HyperV.ours();

        assert_eq!(there, Ok(None));
        assert!(HyperV.add(&[rule()]).is_err());
    }
}
