//! Whether a folder can be trusted, by its owner and access list as Windows writes them down (SDDL):
//! <https://learn.microsoft.com/windows/win32/secauthz/security-descriptor-string-format>. Pure.

/// What the service's folder gets: it belongs to the administrators, inherits nothing (`P`), and lets in the system and the
/// administrators, files and folders below included.
pub(super) const OURS: &str = "O:BAG:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";

/// The system and the administrators, by their two names each.
const PRIVILEGED: [&str; 4] = ["SY", "BA", "S-1-5-18", "S-1-5-32-544"];

/// Whether nobody but the system and the administrators could ever have put anything there.
///
/// # Errors
/// Why that is not so.
pub(super) fn judge(sddl: &str) -> Result<(), String> {
    let rest = sddl.strip_prefix("O:").ok_or("it has no owner")?;
    let (owner, list) = rest.split_once("D:").ok_or("it has no access list")?;
    // The primary group, which means nothing, stands behind the owner.
    let owner = owner.split_once("G:").map_or(owner, |(owner, _)| owner);
    if !PRIVILEGED.contains(&owner) {
        return Err(format!("it belongs to {owner}"));
    }
    let (flags, entries) = list.split_at(list.find('(').unwrap_or(list.len()));
    if flags.contains("NO_ACCESS_CONTROL") {
        return Err("it lets everybody in".to_owned());
    }
    if !flags.contains('P') {
        return Err("it inherits rights from the folder above".to_owned());
    }
    for entry in entries.split_terminator(')') {
        let fields: Vec<&str> = entry.trim_start_matches('(').split(';').collect();
        match fields.as_slice() {
            ["A", _, _, _, _, who] if PRIVILEGED.contains(who) => {}
            ["D", ..] => {}
            [_, _, _, _, _, who] => return Err(format!("it lets {who} in")),
            _ => return Err(format!("its access list cannot be understood: {entry}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_make_is_trusted() {
        assert_eq!(judge(OURS), Ok(()));
        for written_by_windows in [
            "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
            "O:SYG:SYD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)",
            "O:S-1-5-32-544D:PAI(D;;FW;;;BU)(A;OICI;0x1f01ff;;;S-1-5-18)",
        ] {
            assert_eq!(judge(written_by_windows), Ok(()), "{written_by_windows}");
        }
    }

    #[test]
    fn what_others_could_have_written_to_is_not() {
        for (sddl, reason) in [
            (
                "O:S-1-5-21-1-2-3-1001D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
                "it belongs to S-1-5-21-1-2-3-1001",
            ),
            (
                "O:BAD:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)",
                "it inherits rights from the folder above",
            ),
            ("O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FR;;;BU)", "it lets BU in"),
            ("O:BAD:PAI(A;OICI;FA;;;BA)(A;OICIIO;FA;;;CO)", "it lets CO in"),
            (
                "O:BAD:PAI(XA;OICI;FA;;;BA;(WIN://X))",
                "its access list cannot be understood: (XA;OICI;FA;;;BA;(WIN://X",
            ),
            ("O:BAD:NO_ACCESS_CONTROL", "it lets everybody in"),
            ("O:BA", "it has no access list"),
            ("D:P(A;;FA;;;SY)", "it has no owner"),
            ("", "it has no owner"),
        ] {
            assert_eq!(judge(sddl), Err(reason.to_owned()), "{sddl}");
        }
    }
}
