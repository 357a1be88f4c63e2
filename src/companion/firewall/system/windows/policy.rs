//! The firewall's settings, and what group policy and the local settings say of it. Only read, never written.

use windows::Win32::NetworkManagement::WindowsFirewall::{
    INetFwPolicy2, NET_FW_MODIFY_STATE_GP_OVERRIDE, NET_FW_MODIFY_STATE_INBOUND_BLOCKED,
    NET_FW_PROFILE_TYPE2, NET_FW_PROFILE2_DOMAIN, NET_FW_PROFILE2_PRIVATE, NET_FW_PROFILE2_PUBLIC,
};
use windows_registry::LOCAL_MACHINE;

use crate::firewall::look::{Origin, Policy, Profile, Void};
use crate::host::Category;

/// Where group policy writes, and where the local settings of the public profile are (read as `usbipd-win` reads them).
const KEYS: [(&str, Origin, Option<Category>); 5] = [
    (
        r"SOFTWARE\Policies\Microsoft\WindowsFirewall\PublicProfile",
        Origin::GroupPolicy,
        Some(Category::Public),
    ),
    (
        r"SOFTWARE\Policies\Microsoft\WindowsFirewall\PrivateProfile",
        Origin::GroupPolicy,
        Some(Category::Private),
    ),
    (
        r"SOFTWARE\Policies\Microsoft\WindowsFirewall\DomainProfile",
        Origin::GroupPolicy,
        Some(Category::Domain),
    ),
    (
        r"SOFTWARE\Policies\Microsoft\WindowsFirewall\StandardProfile",
        Origin::GroupPolicy,
        None,
    ),
    (
        r"SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\PublicProfile",
        Origin::Local,
        Some(Category::Public),
    ),
];

/// Those that make local rules void. A value that is missing does not.
pub(super) fn policies() -> Vec<Policy> {
    let mut found = Vec::new();
    for (path, origin, category) in KEYS {
        // Everybody may read them; without a policy there is no key.
        let Ok(key) = LOCAL_MACHINE.open(path) else {
            continue;
        };
        let voids = [
            (
                "AllowLocalPolicyMerge",
                key.get_u32("AllowLocalPolicyMerge").is_ok_and(|value| value == 0),
            ),
            (
                "DoNotAllowExceptions",
                key.get_u32("DoNotAllowExceptions").is_ok_and(|value| value != 0),
            ),
        ];
        for (value, _) in voids.into_iter().filter(|(_, voids)| *voids) {
            found.push(Policy {
                origin,
                key: path.to_owned(),
                value,
                category,
            });
        }
    }
    found
}

/// The profiles that can be read, and whether changes of rules count. Wine tells nothing of either.
pub(super) fn settings(policy: &INetFwPolicy2) -> (Vec<Profile>, Option<Void>) {
    let profile = |category: Category| {
        let number = number(category);
        // SAFETY: the object is alive.
        let (enabled, blocks_all) = unsafe {
            (
                policy.get_FirewallEnabled(number).ok()?,
                policy.get_BlockAllInboundTraffic(number).ok()?,
            )
        };
        Some(Profile {
            category,
            enabled: enabled.as_bool(),
            blocks_all: blocks_all.as_bool(),
        })
    };
    // SAFETY: the object is alive.
    let state = unsafe { policy.LocalPolicyModifyState() };
    let void = match state {
        Ok(NET_FW_MODIFY_STATE_GP_OVERRIDE) => Some(Void::GroupPolicy),
        Ok(NET_FW_MODIFY_STATE_INBOUND_BLOCKED) => Some(Void::AllBlocked),
        Ok(_) | Err(_) => None,
    };
    (Category::ALL.into_iter().filter_map(profile).collect(), void)
}

fn number(category: Category) -> NET_FW_PROFILE_TYPE2 {
    match category {
        Category::Domain => NET_FW_PROFILE2_DOMAIN,
        Category::Private => NET_FW_PROFILE2_PRIVATE,
        Category::Public => NET_FW_PROFILE2_PUBLIC,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    /// Under Wine alone: on Windows it would change the policy of the machine.
    #[test]
    fn each_policy_is_read_from_each_of_its_keys() {
        if std::env::var_os("WINELOADER").is_none() {
            return;
        }
        for (path, origin, category) in KEYS {
            let key = LOCAL_MACHINE.create(path).unwrap();
            for (value, harmless, voids) in [("AllowLocalPolicyMerge", 1, 0), ("DoNotAllowExceptions", 0, 1)]
            {
                key.set_u32(value, harmless).unwrap();
                assert_eq!(policies(), []);
                key.set_u32(value, voids).unwrap();
                let found = Policy {
                    origin,
                    key: path.to_owned(),
                    value,
                    category,
                };
                assert_eq!(policies(), [found]);
                key.remove_value(value).unwrap();
            }
        }
    }
}
