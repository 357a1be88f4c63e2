//! What to type on Windows where the pairing cannot be started from the distro.

/// Stands for a name that is not known.
const PLACEHOLDER: &str = "DISTRO";

/// Lines for PowerShell. The name is quoted for it: what could end a string in single quotes is doubled
/// (about_Quoting_Rules: also the typographic ones end it).
pub(super) fn text(distro: Option<&str>) -> String {
    let name = distro.unwrap_or(PLACEHOLDER);
    let is_quote = |c: &char| matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}');
    let quoted: String = name
        .chars()
        .flat_map(|c| std::iter::repeat_n(c, if is_quote(&c) { 2 } else { 1 }))
        .collect();
    let hint = if distro.is_none() {
        "# DISTRO is what `wsl --list` calls this distro.\n"
    } else {
        ""
    };
    format!(
        "Pair from Windows instead, in PowerShell there (one that is not installed is called by its own path):\n\n{hint}\
         & \"$env:ProgramFiles\\wslnet\\wslnet-companion.exe\" pair '{quoted}'\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn the_lines_can_be_pasted_and_the_name_is_only_a_name() {
        let plain = text(Some("Ubuntu-24.04"));
        assert!(
            plain.contains("& \"$env:ProgramFiles\\wslnet\\wslnet-companion.exe\" pair 'Ubuntu-24.04'\n"),
            "{plain}"
        );
        assert!(text(Some("a'; calc; '\u{2019}")).contains("pair 'a''; calc; ''\u{2019}\u{2019}'\n"));
        assert!(text(None).contains("# DISTRO is what `wsl --list` calls this distro.\n"));
    }
}
