//! A process: waited for, and ended.

use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::time::Duration;

use windows_sys::Win32::Foundation::WAIT_OBJECT_0;
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetExitCodeProcess, GetProcessId, INFINITE, OpenProcess, PROCESS_SYNCHRONIZE,
    PROCESS_TERMINATE, TerminateProcess, WaitForSingleObject,
};

/// How long Windows may take to end a process.
const END_TIME: Duration = Duration::from_secs(5);

/// A process that may have ended: the number is nobody else's while this is open.
#[derive(Debug)]
pub(crate) struct Process(OwnedHandle);

impl From<OwnedHandle> for Process {
    /// From a handle of a process, with all rights to it.
    fn from(handle: OwnedHandle) -> Self {
        Self(handle)
    }
}

impl Process {
    /// The process of this number; `None` if there is none, or if it is not this one's to end.
    pub(crate) fn open(pid: u32) -> Option<Self> {
        // SAFETY: takes no pointers.
        let handle = unsafe { OpenProcess(PROCESS_TERMINATE | PROCESS_SYNCHRONIZE, 0, pid) };
        // SAFETY: a handle that is open, of ours, and nobody else's.
        (!handle.is_null()).then(|| Self(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        // SAFETY: the handle is open.
        unsafe { GetProcessId(self.0.as_raw_handle()) }
    }

    /// Waits for its end; says whether that has come.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        // INFINITE is the largest number.
        let millis = u32::try_from(time.as_millis()).map_or(INFINITE - 1, |millis| millis.min(INFINITE - 1));
        self.wait(millis)
    }

    /// Ends it where it stands; says whether it has ended.
    pub(crate) fn end(&self) -> bool {
        // SAFETY: the handle is open. Without the right, and where it has ended already, nothing happens.
        unsafe { TerminateProcess(self.0.as_raw_handle(), 1) };
        self.ends_within(END_TIME)
    }

    /// Waits for its end, however long that takes, and hands out its exit code.
    ///
    /// # Errors
    /// When Windows does not tell it.
    pub(crate) fn exit_code(&self) -> io::Result<u32> {
        self.wait(INFINITE);
        let mut code = 0;
        // SAFETY: the handle is open, and the code is a live integer.
        if unsafe { GetExitCodeProcess(self.0.as_raw_handle(), &raw mut code) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(code)
    }

    fn wait(&self, millis: u32) -> bool {
        // SAFETY: the handle is open.
        unsafe { WaitForSingleObject(self.0.as_raw_handle(), millis) == WAIT_OBJECT_0 }
    }
}

/// Ends this process at once. `std::process::exit` lets each library of Windows say goodbye, for which it may need a lock that a
/// thread has which is stuck: <https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-exitprocess>.
pub(crate) fn end_this_process(code: u32) -> ! {
    // SAFETY: the handle stands for this process; nothing runs after the call.
    unsafe { TerminateProcess(GetCurrentProcess(), code) };
    // It never comes this far.
    std::process::abort()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use std::os::windows::io::AsHandle as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Waits for the end of its input if it is the child of another test, and for ever if it is to hang.
    #[test]
    fn lives_until_it_is_told_to_end() {
        match std::env::var("WSLNET_TEST_PROCESS").as_deref() {
            Ok("ends") => drop(std::io::stdin().read_line(&mut String::new())),
            Ok("gives up") => end_this_process(7),
            _ => {}
        }
    }

    fn child(what: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "host::windows::process::tests::lives_until_it_is_told_to_end",
            ])
            .env("WSLNET_TEST_PROCESS", what)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    #[test]
    fn one_that_ends_by_itself_is_waited_for() {
        let mut child = child("ends");
        let process = Process::open(child.id()).unwrap();

        assert!(!process.ends_within(Duration::from_millis(50)));
        drop(child.stdin.take());

        assert!(process.ends_within(Duration::from_secs(30)));
        let whole = Process::from(child.as_handle().try_clone_to_owned().unwrap());
        assert_eq!(whole.exit_code().unwrap(), 0);
        child.wait().unwrap();
    }

    #[test]
    fn one_that_does_not_is_ended() {
        let mut child = child("ends");
        let process = Process::open(child.id()).unwrap();

        assert!(process.end());

        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert!(process.end(), "it has ended already");
    }

    #[test]
    fn a_process_may_give_itself_up() {
        assert_eq!(child("gives up").wait().unwrap().code(), Some(7));
    }
}
