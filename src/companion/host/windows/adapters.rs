//! Adapters and their addresses from `GetAdaptersAddresses`.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_BUFFER_OVERFLOW, ERROR_NO_DATA, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_DNS_SERVER, GAA_FLAG_SKIP_MULTICAST, GetAdaptersAddresses,
    IF_TYPE_SOFTWARE_LOOPBACK, IP_ADAPTER_ADDRESSES_LH, IP_ADAPTER_UNICAST_ADDRESS_LH,
};
use windows_sys::Win32::NetworkManagement::Ndis::IfOperStatusUp;
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, AF_UNSPEC, IpDadStatePreferred, IpPrefixOriginRouterAdvertisement,
    IpSuffixOriginRandom, SOCKADDR, SOCKADDR_IN, SOCKADDR_IN6, SOCKET_ADDRESS,
};

use crate::host::interface::{Interface, InterfaceAddress, interface_text};

/// Microsoft recommends to start with 15 KB, so that one call usually suffices.
const FIRST_SIZE: usize = 15 << 10;
const ATTEMPTS: usize = 8;

/// The longest adapter name that is looked at, in UTF-16 units (Windows allows 256).
const NAME_LIMIT: usize = 1024;

/// All adapters with all their unicast addresses.
pub(in crate::host) fn interfaces() -> io::Result<Vec<Interface>> {
    let buffer = adapters()?;
    let mut found = Vec::new();
    let mut next: *const IP_ADAPTER_ADDRESSES_LH = buffer.as_ptr().cast();
    if buffer.is_empty() {
        next = ptr::null();
    }
    // SAFETY: the system has built a list in the buffer, which lives to the end of this function: each pointer is null
    // or to a whole, aligned element.
    while let Some(adapter) = unsafe { next.as_ref() } {
        // SAFETY: as above, `adapter` and all that it points to lie in the buffer.
        found.push(unsafe { from_adapter(adapter) });
        next = adapter.Next;
    }
    Ok(found)
}

/// The system's list, in u64s because its elements are aligned so. Empty when there are no adapters.
fn adapters() -> io::Result<Vec<u64>> {
    let flags = GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_MULTICAST | GAA_FLAG_SKIP_DNS_SERVER;
    let mut buffer: Vec<u64> = vec![0; FIRST_SIZE / size_of::<u64>()];
    for _ in 0..ATTEMPTS {
        let mut size = u32::try_from(buffer.len() * size_of::<u64>()).map_err(io::Error::other)?;
        // SAFETY: the buffer is writable for `size` bytes and aligned for the list's elements.
        let result = unsafe {
            GetAdaptersAddresses(
                u32::from(AF_UNSPEC),
                flags,
                ptr::null(),
                buffer.as_mut_ptr().cast(),
                &raw mut size,
            )
        };
        match result {
            NO_ERROR => return Ok(buffer),
            ERROR_NO_DATA => return Ok(Vec::new()),
            // Half as much again, for adapters that come meanwhile.
            ERROR_BUFFER_OVERFLOW => {
                buffer.resize((size as usize + size as usize / 2).div_ceil(size_of::<u64>()), 0)
            }
            error => return Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }
    Err(io::Error::other(
        "the list of adapters grows faster than it can be read",
    ))
}

/// # Safety
/// The pointers in `adapter` must be null or valid, as `GetAdaptersAddresses` leaves them.
unsafe fn from_adapter(adapter: &IP_ADAPTER_ADDRESSES_LH) -> Interface {
    let mut addresses = Vec::new();
    let mut next: *const IP_ADAPTER_UNICAST_ADDRESS_LH = adapter.FirstUnicastAddress;
    // SAFETY: the caller vouches for the list.
    while let Some(unicast) = unsafe { next.as_ref() } {
        // SAFETY: the caller vouches for the pointer in `Address`.
        if let Some(address) = unsafe { ip(&unicast.Address) } {
            addresses.push(InterfaceAddress {
                address,
                prefix_length: unicast.OnLinkPrefixLength,
                preferred: is_preferred(unicast),
            });
        }
        next = unicast.Next;
    }
    // SAFETY: both members of the union start with plain integers, and the system has filled them.
    let index = unsafe { adapter.Anonymous1.Anonymous.IfIndex };
    Interface {
        // SAFETY: the caller vouches for the strings.
        name: unsafe { text(adapter.FriendlyName) },
        // SAFETY: the same.
        description: unsafe { text(adapter.Description) },
        // SAFETY: the same.
        adapter: unsafe { ansi(adapter.AdapterName) },
        category: None,
        // An adapter without IPv4 has only the other one.
        index: if index == 0 { adapter.Ipv6IfIndex } else { index },
        up: adapter.OperStatus == IfOperStatusUp,
        loopback: adapter.IfType == IF_TYPE_SOFTWARE_LOOPBACK,
        addresses,
    }
}

/// The name of the adapter with this GUID, as [`Interface::adapter`] has it.
pub(super) fn adapter_name(guid: u128) -> String {
    let hex = format!("{guid:032X}");
    let (a, rest) = hex.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    format!("{{{a}-{b}-{c}-{d}-{e}}}")
}

/// # Safety
/// The pointer must be null or to bytes that end with a zero.
unsafe fn ansi(pointer: *const u8) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the caller vouches for the zero at the end.
    let bytes = unsafe { CStr::from_ptr(pointer.cast()) };
    bytes.to_string_lossy().to_uppercase()
}

/// Only addresses past duplicate detection can be bound (others give 10049). Temporary ones are known as Chromium
/// knows them: a random suffix below a prefix from a router.
fn is_preferred(unicast: &IP_ADAPTER_UNICAST_ADDRESS_LH) -> bool {
    let temporary = unicast.PrefixOrigin == IpPrefixOriginRouterAdvertisement
        && unicast.SuffixOrigin == IpSuffixOriginRandom;
    unicast.DadState == IpDadStatePreferred && !temporary
}

/// # Safety
/// The pointer must be null or to as many bytes as the length says.
unsafe fn ip(address: &SOCKET_ADDRESS) -> Option<IpAddr> {
    let (pointer, length) = (address.lpSockaddr, usize::try_from(address.iSockaddrLength).ok()?);
    if pointer.is_null() || length < size_of::<SOCKADDR>() {
        return None;
    }
    // SAFETY: a SOCKADDR fits, as just checked.
    let family = unsafe { pointer.read_unaligned() }.sa_family;
    if family == AF_INET && length >= size_of::<SOCKADDR_IN>() {
        // SAFETY: the family says which structure it is, and it fits. The bytes are in network order.
        let bytes = unsafe {
            pointer
                .cast::<SOCKADDR_IN>()
                .read_unaligned()
                .sin_addr
                .S_un
                .S_addr
        }
        .to_ne_bytes();
        Some(Ipv4Addr::from(bytes).into())
    } else if family == AF_INET6 && length >= size_of::<SOCKADDR_IN6>() {
        // SAFETY: the same.
        let bytes = unsafe { pointer.cast::<SOCKADDR_IN6>().read_unaligned().sin6_addr.u.Byte };
        Some(Ipv6Addr::from(bytes).into())
    } else {
        None
    }
}

/// # Safety
/// The pointer must be null or to UTF-16 units that end with a zero.
unsafe fn text(pointer: *const u16) -> String {
    if pointer.is_null() {
        return String::new();
    }
    let mut units = Vec::new();
    for offset in 0..NAME_LIMIT {
        // SAFETY: all units before this one were not the final zero.
        match unsafe { pointer.add(offset).read() } {
            0 => break,
            unit => units.push(unit),
        }
    }
    interface_text(&String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use windows_sys::Win32::Networking::WinSock::{IpDadStateDeprecated, IpDadStateTentative};

    fn unicast(change: impl FnOnce(&mut IP_ADAPTER_UNICAST_ADDRESS_LH)) -> IP_ADAPTER_UNICAST_ADDRESS_LH {
        let mut unicast = IP_ADAPTER_UNICAST_ADDRESS_LH {
            DadState: IpDadStatePreferred,
            ..Default::default()
        };
        change(&mut unicast);
        unicast
    }

    #[test]
    fn only_settled_and_lasting_addresses_are_preferred() {
        assert!(is_preferred(&unicast(|_| {})));
        assert!(is_preferred(&unicast(|u| u.SuffixOrigin = IpSuffixOriginRandom)));
        assert!(is_preferred(&unicast(
            |u| u.PrefixOrigin = IpPrefixOriginRouterAdvertisement
        )));
        assert!(!is_preferred(&unicast(|u| u.DadState = IpDadStateTentative)));
        assert!(!is_preferred(&unicast(|u| u.DadState = IpDadStateDeprecated)));
        assert!(!is_preferred(&unicast(|u| {
            u.PrefixOrigin = IpPrefixOriginRouterAdvertisement;
            u.SuffixOrigin = IpSuffixOriginRandom;
        })));
    }

    #[test]
    fn addresses_are_read_as_far_as_they_reach() {
        let mut v4 = SOCKADDR_IN {
            sin_family: AF_INET,
            ..Default::default()
        };
        v4.sin_addr.S_un.S_addr = u32::from_ne_bytes([192, 0, 2, 1]);
        let mut v6 = SOCKADDR_IN6 {
            sin6_family: AF_INET6,
            ..Default::default()
        };
        v6.sin6_addr.u.Byte = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        let (v4, v6): (*mut SOCKADDR, *mut SOCKADDR) = ((&raw mut v4).cast(), (&raw mut v6).cast());
        let read = |pointer, length| {
            // SAFETY: the lengths used below are at most those of the two structures.
            unsafe {
                ip(&SOCKET_ADDRESS {
                    lpSockaddr: pointer,
                    iSockaddrLength: length,
                })
            }
        };

        assert_eq!(read(v4, 16), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(read(v6, 28), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(read(v6, 16), None);
        assert_eq!(read(v4, 2), None);
        assert_eq!(read(v4, -1), None);
        assert_eq!(read(ptr::null_mut(), 16), None);
    }

    #[test]
    fn names_end_at_the_zero_and_are_clean() {
        let name: Vec<u16> = "Wi\u{1b}Fi\0rest".encode_utf16().collect();

        // SAFETY: null, or a string with a zero.
        let (none, name) = unsafe { (text(ptr::null()), text(name.as_ptr())) };

        assert_eq!((none.as_str(), name.as_str()), ("", "Wi\u{fffd}Fi"));
    }

    #[test]
    fn a_guid_is_written_as_adapters_are_named() {
        let guid = 0xb95d_0c5e_57d4_412b_b571_18a8_1a16_e005;

        assert_eq!(adapter_name(guid), "{B95D0C5E-57D4-412B-B571-18A81A16E005}");
        assert!(
            interfaces()
                .unwrap()
                .iter()
                .all(|i| i.adapter.len() == 38 && i.adapter.starts_with('{'))
        );
    }

    #[test]
    fn a_network_adapter_is_found_with_its_address() {
        let all = interfaces().unwrap();

        let lan = all
            .iter()
            .find(|i| i.up && !i.loopback && i.addresses.iter().any(|a| a.preferred))
            .unwrap();
        assert!(lan.index != 0 && !lan.name.is_empty());
        assert!(all.iter().any(|i| i.loopback && i.up));
    }
}
