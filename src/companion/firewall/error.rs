//! Why Windows Firewall did not do what it was asked, in words that name the way out.

/// What went wrong with the store of rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nobody answered in time. What was asked may still happen.
    #[error(
        "Windows Firewall does not answer: restart Windows if that lasts; whether its rules are right is not known until then"
    )]
    NoAnswer,
    /// This program has not the right.
    #[error(
        "this program may not change the rules of Windows Firewall: that takes the Windows service (`wslnet-companion install --service`) \
         or a window of an administrator"
    )]
    Denied,
    /// Its service does not run.
    #[error(
        "the service Windows Defender Firewall (mpssvc) does not run: as an administrator run `sc config mpssvc start= auto` and \
         restart Windows"
    )]
    Stopped,
    /// A rule of somebody else has the name of one of ours.
    #[error("there is a rule named `{0}` that is not ours: rename or delete it in Windows Defender Firewall")]
    Foreign(String),
    /// A rule was taken and is not there.
    #[error(
        "Windows Firewall took the rule `{0}` and does not have it: look whether another firewall has taken its place"
    )]
    NotKept(String),
    /// Anything else.
    #[error("Windows Firewall says: {0}")]
    Other(String),
}
