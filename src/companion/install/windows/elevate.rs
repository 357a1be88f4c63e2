//! The same program once more, with an administrator's rights: Windows asks the user
//! (<https://learn.microsoft.com/windows/win32/api/shellapi/nf-shellapi-shellexecuteexw>, verb `runas`). That one has a window of its
//! own, which nobody sees, so what it has to say comes back by a pipe.
//!
//! Nothing of the user's reaches it but its arguments: the verb, what it is to trust, and the name of the pipe. It reads nothing from that.
//! What comes by it counts only from the process that was started.

use std::io;
use std::os::windows::io::{FromRawHandle as _, OwnedHandle};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeServer, ServerOptions};
use windows_sys::Win32::Foundation::ERROR_CANCELLED;
use windows_sys::Win32::System::Com::{
    COINIT_APARTMENTTHREADED, COINIT_DISABLE_OLE1DDE, CoInitializeEx, CoUninitialize,
};
use windows_sys::Win32::UI::Shell::{
    SEE_MASK_FLAG_NO_UI, SEE_MASK_NOASYNC, SEE_MASK_NOCLOSEPROCESS, SHELLEXECUTEINFOW, ShellExecuteExW,
};
use windows_sys::Win32::UI::WindowsAndMessaging::SW_HIDE;

use wslnet_console::text::clean;

use super::{known, random_name};
use crate::capability::is_administrator;
use crate::host::{Process, pipe_client_process, wide};

/// The flag that names the pipe.
pub(crate) const FLAG: &str = "--answer-to";
/// What every such pipe is called.
const PIPE: &str = r"\\.\pipe\wslnet-install-";
/// The longest answer, in bytes.
const LIMIT: u64 = 64 << 10;
/// The most characters of a line that are shown.
const LINE_LIMIT: usize = 2_000;
/// How long what the other one has written may take to come after its end.
const LATE: Duration = Duration::from_secs(2);

/// Has the other one do the verb, and hands out what it says.
pub(super) fn run(program: &Path, arguments: &[String], told: &mut String) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let name = format!("{PIPE}{}", random_name()?);
        let pipe = ServerOptions::new()
            .first_pipe_instance(true)
            .max_instances(1)
            .reject_remote_clients(true)
            .create(&name)
            .context("cannot make a pipe for the answer")?;
        let line = [arguments, &[FLAG.to_owned(), name]].concat().join(" ");
        let listening = tokio::spawn(listen(pipe));
        let program = program.to_owned();
        let ended = tokio::task::spawn_blocking(move || start_and_wait(program, &line))
            .await
            .context("the thread that waits has ended")?;
        let Ended { process, code } = match ended {
            Ok(ended) => ended,
            Err(error) if error.raw_os_error() == Some(ERROR_CANCELLED.cast_signed()) => bail!(
                "Windows asked for an administrator, and the answer was no. Nothing was changed that takes one: \
                 run the command again, or in a window of an administrator"
            ),
            Err(error) => {
                return Err(error).context("cannot start the part that takes an administrator");
            }
        };
        let answer = tokio::time::timeout(LATE, listening).await;
        let answer = answer.ok().and_then(Result::ok);
        let answer = answer.map_or_else(String::new, |heard| heard.believed(process));
        if code == 0 {
            told.push_str(&answer);
            return Ok(());
        }
        let answer = answer.trim();
        bail!(
            "the part that takes an administrator ended with code {code}{}{answer}",
            if answer.is_empty() { "" } else { ": " }
        )
    })
}

/// What came by the pipe, and from which process.
struct Heard {
    from: u32,
    text: String,
}

impl Heard {
    /// What counts of it: that of the process that was started.
    fn believed(self, process: u32) -> String {
        // 0 is what is said of a process that is not known.
        if self.from == process && process != 0 {
            self.text
        } else {
            format!(
                "process {} took its place at the pipe, and is not heard\n",
                self.from
            )
        }
    }
}

/// How the other one has ended.
struct Ended {
    process: u32,
    code: u32,
}

/// What somebody writes, until he closes the pipe. Programs of the same user can find its name, so it is asked who that is.
async fn listen(mut pipe: NamedPipeServer) -> Heard {
    let (mut from, mut bytes) = (0, Vec::new());
    if pipe.connect().await.is_ok() {
        from = pipe_client_process(&pipe).unwrap_or_default();
        // The end of a pipe is an error; what came before it counts.
        drop((&mut pipe).take(LIMIT).read_to_end(&mut bytes).await);
    }
    let text = String::from_utf8_lossy(&bytes);
    let text = text
        .lines()
        .map(|line| format!("{}\n", clean(line, LINE_LIMIT)))
        .collect();
    Heard { from, text }
}

/// Waits for the other one to end. In a thread of its own: the shell wants COM for itself.
fn start_and_wait(program: PathBuf, line: &str) -> io::Result<Ended> {
    let folder = known(known_folders::KnownFolder::System).map_err(io::Error::other)?;
    let (verb, file, parameters, folder) = (wide("runas"), wide(program), wide(line), wide(folder));
    let mut info = SHELLEXECUTEINFOW {
        cbSize: size_of::<SHELLEXECUTEINFOW>() as u32,
        fMask: SEE_MASK_NOCLOSEPROCESS | SEE_MASK_NOASYNC | SEE_MASK_FLAG_NO_UI,
        lpVerb: verb.as_ptr(),
        lpFile: file.as_ptr(),
        lpParameters: parameters.as_ptr(),
        lpDirectory: folder.as_ptr(),
        nShow: SW_HIDE,
        ..Default::default()
    };
    // SAFETY: null is what must be given; COM is given back below if it was taken.
    let taken = unsafe {
        CoInitializeEx(
            std::ptr::null(),
            (COINIT_APARTMENTTHREADED | COINIT_DISABLE_OLE1DDE).cast_unsigned(),
        )
    } >= 0;
    // SAFETY: the structure has its size, and all texts are live and end with a zero.
    let started = unsafe { ShellExecuteExW(&raw mut info) };
    let error = io::Error::last_os_error();
    if taken {
        // SAFETY: it was taken above, by this thread.
        unsafe { CoUninitialize() };
    }
    if started == 0 {
        return Err(error);
    }
    if info.hProcess.is_null() {
        return Err(io::Error::other(
            "Windows started it, and does not say how it ends",
        ));
    }
    // SAFETY: the handle is open, of ours, and nobody else's.
    let process = Process::from(unsafe { OwnedHandle::from_raw_handle(info.hProcess) });
    Ok(Ended {
        process: process.id(),
        code: process.exit_code()?,
    })
}

/// The other one's side: does the work, and tells the one who waits for it.
pub(super) fn answer(pipe: &str, work: impl FnOnce(&mut String) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if !is_one_of_ours(pipe) {
        bail!("{FLAG} names no pipe of this program");
    }
    if !is_administrator() {
        bail!("this part takes an administrator");
    }
    let mut told = String::new();
    let done = work(&mut told);
    if let Err(error) = &done {
        told.push_str(&format!("{error:#}\n"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // The work is done even if nobody wants to know.
    drop(runtime.block_on(async {
        let mut client = ClientOptions::new().read(false).open(pipe)?;
        client.write_all(told.as_bytes()).await?;
        client.flush().await
    }));
    done
}

/// Nothing else may be written to by this.
fn is_one_of_ours(pipe: &str) -> bool {
    pipe.strip_prefix(PIPE)
        .is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn the_answer_goes_to_a_pipe_of_ours_and_nowhere_else() {
        assert!(is_one_of_ours(r"\\.\pipe\wslnet-install-0123456789abcdef"));
        for other in [
            r"\\.\pipe\wslnet-install-",
            r"\\.\pipe\wslnet-install-..\0123456789abc",
            r"\\host\pipe\wslnet-install-0123456789abcdef",
            r"C:\Windows\System32\drivers\etc\hosts",
        ] {
            assert!(!is_one_of_ours(other), "{other}");
            assert!(answer(other, |_| Ok(())).is_err());
        }
    }

    #[tokio::test]
    async fn who_was_not_started_is_not_heard() {
        let name = format!("{PIPE}{}", random_name().unwrap());
        let pipe = ServerOptions::new().max_instances(1).create(&name).unwrap();
        let heard = tokio::spawn(listen(pipe));
        let mut stranger = ClientOptions::new().read(false).open(&name).unwrap();
        stranger.write_all(b"all is well\n").await.unwrap();
        drop(stranger);

        let heard = heard.await.unwrap();

        let own = std::process::id();
        assert_eq!((heard.from, heard.text.as_str()), (own, "all is well\n"));
        let believed = heard.believed(own + 4);
        assert!(
            believed.contains("is not heard") && !believed.contains("all is well"),
            "{believed}"
        );
    }

    /// The child of the test below.
    #[test]
    fn answers_if_it_was_started_to() {
        let Some(pipe) = std::env::args().skip_while(|argument| argument != FLAG).nth(1) else {
            return;
        };
        answer(&pipe, |told| {
            told.push_str("done\n");
            anyhow::bail!("but not all")
        })
        .unwrap_err();
    }

    /// Under Wine, `runas` asks nobody.
    #[test]
    fn what_the_elevated_part_says_comes_back() {
        let mut told = String::new();

        // The test program's own arguments, behind which the flag is for the test.
        let test = "install::windows::elevate::tests::answers_if_it_was_started_to";
        let arguments = ["--exact", test, "--test-threads", "1", "--"].map(str::to_owned);
        run(&std::env::current_exe().unwrap(), &arguments, &mut told).unwrap();

        assert_eq!(told, "done\nbut not all\n");
    }
}
