//! Why a request to the companion failed, and what that means for the user.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use rustls::{AlertDescription, CertificateError};
use wslnet_protocol::{ErrorCode, Problem};

use super::LinkState;
use super::backoff::Setback;

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub(super) enum PushError {
    /// The companion's answer was no.
    #[error("{}", .0.message)]
    Problem(Problem),
    /// Nothing listens on the companion's port.
    #[error(
        "{0} refused the connection: start wslnet-companion on Windows, or correct `companion` in the config"
    )]
    Refused(SocketAddr),
    /// Nothing answered to the attempt to connect.
    #[error(
        "{0} does not answer: Windows Firewall may block the port on the WSL adapter; allow wslnet-companion.exe there"
    )]
    Silent(SocketAddr),
    /// The connection is there, and a request on it was not answered.
    #[error("wslnet-companion at {0} does not answer: see what its window says, and restart it if it hangs")]
    NoAnswer(SocketAddr),
    /// There is no way to that address now.
    #[error("{0} cannot be reached: {1}; look at `ip route`, or correct `companion` in the config")]
    Unreachable(SocketAddr, io::Error),
    /// The other side does not know our key.
    #[error(
        "Windows does not trust this distro's key: run `sudo wslnetd pair` here, or `wslnet-companion trust NAME {0}` there"
    )]
    NotTrustedThere(wslnet_link::PublicKey),
    /// The other side shows another key than the one that is trusted here.
    #[error(
        "whoever answers at {0} has another key than the trusted companion: if it was reinstalled, run `sudo wslnetd pair`, \
         or `wslnetd trust KEY` with the output of `wslnet-companion key`"
    )]
    NotTrustedHere(SocketAddr),
    /// The other side closed the connection: it stopped, or no longer trusts our key.
    #[error(
        "wslnet-companion closed the connection; connecting again; if that lasts, restart wslnet-companion"
    )]
    Closed,
    /// The answer made no sense.
    #[error(
        "the companion's answer could not be understood: {0}; install the same release of wslnetd and wslnet-companion"
    )]
    Answer(String),
    /// The connection failed in some other way.
    #[error(
        "the connection to {0} failed: {1}; if that lasts, restart wslnet-companion on Windows and see what it logs"
    )]
    Broken(SocketAddr, String),
}

impl PushError {
    /// Finds out what is behind an error of the HTTP client.
    pub(super) fn of(error: &reqwest::Error, companion: SocketAddr, own: wslnet_link::PublicKey) -> Self {
        // The TLS handshake is part of connecting; whoever took the connection may not be a companion at all.
        let silent = || {
            if error.is_connect() {
                Self::Silent(companion)
            } else {
                Self::NoAnswer(companion)
            }
        };
        if error.is_timeout() {
            return silent();
        }
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(current) = cause {
            if let Some(tls) = tls_error(current) {
                return Self::of_tls(tls, companion, own);
            }
            if let Some(io) = current.downcast_ref::<io::Error>() {
                #[expect(clippy::wildcard_enum_match_arm, reason = "the list of kinds is open")]
                match io.kind() {
                    io::ErrorKind::ConnectionRefused => return Self::Refused(companion),
                    io::ErrorKind::TimedOut => return silent(),
                    io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe => return Self::Closed,
                    io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                        return Self::Unreachable(companion, io.kind().into());
                    }
                    _ => {}
                }
            }
            cause = current.source();
        }
        Self::Broken(companion, chain(error))
    }

    fn of_tls(error: &rustls::Error, companion: SocketAddr, own: wslnet_link::PublicKey) -> Self {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the list of errors is open")]
        match error {
            rustls::Error::AlertReceived(
                AlertDescription::AccessDenied
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::CertificateRequired,
            ) => Self::NotTrustedThere(own),
            rustls::Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure
                | CertificateError::BadSignature
                | CertificateError::Other(_),
            ) => Self::NotTrustedHere(companion),
            other => Self::Broken(companion, other.to_string()),
        }
    }

    /// How the link stands after this failure.
    pub(super) fn state(&self) -> LinkState {
        match self {
            Self::NotTrustedThere(_) | Self::NotTrustedHere(_) => LinkState::Unpaired,
            Self::Problem(_)
            | Self::Refused(_)
            | Self::Silent(_)
            | Self::NoAnswer(_)
            | Self::Unreachable(..)
            | Self::Closed
            | Self::Answer(_)
            | Self::Broken(..) => LinkState::Connecting,
        }
    }

    /// How long to wait before the next attempt.
    pub(super) fn setback(&self) -> Setback {
        match self {
            Self::Silent(_) | Self::NoAnswer(_) | Self::Unreachable(..) => Setback::Silence,
            Self::Problem(problem) if problem.error == ErrorCode::ClonedKey => Setback::Silence,
            Self::Problem(_)
            | Self::Refused(_)
            | Self::NotTrustedThere(_)
            | Self::NotTrustedHere(_)
            | Self::Closed
            | Self::Answer(_)
            | Self::Broken(..) => Setback::Answered,
        }
    }
}

/// The TLS error that an I/O error may carry inside.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    error.downcast_ref::<rustls::Error>().or_else(|| {
        error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .and_then(|inner| {
                let inner: &(dyn Error + 'static) = inner;
                tls_error(inner)
            })
    })
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        text.push_str(": ");
        text.push_str(&current.to_string());
        cause = current.source();
    }
    text
}
