//! Keys of `HKEY_LOCAL_MACHINE` and the texts in them.
//!
//! The crate `windows-registry` would do but for its iterator over values, which ends early, or panics in a debug build, when a value
//! grows while it reads.

use std::io;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{
    ERROR_FILE_NOT_FOUND, ERROR_MORE_DATA, ERROR_NO_MORE_ITEMS, ERROR_SUCCESS, FILETIME, WIN32_ERROR,
};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_CREATE_SUB_KEY, KEY_QUERY_VALUE, KEY_SET_VALUE, REG_DWORD,
    REG_OPTION_NON_VOLATILE, REG_SZ, RegCloseKey, RegCreateKeyExW, RegDeleteValueW, RegEnumValueW,
    RegFlushKey, RegOpenKeyExW, RegQueryInfoKeyW, RegQueryValueExW, RegSetValueExW,
};

use super::text::wide;

/// The longest name of a value, in UTF-16 units, without its end (Microsoft, "Registry Element Size Limits").
const NAME_LIMIT: usize = 16_383;
/// The longest text that is read, in UTF-16 units. Those of portproxy are far shorter.
const TEXT_LIMIT: usize = 1024;
/// The most values of a key that are read.
const VALUE_LIMIT: u32 = 65_536;

/// What a key is opened for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    /// To read values.
    Read,
    /// To read, write and remove values.
    Write,
    /// To make keys below it.
    CreateBelow,
}

/// What tells that a key has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    values: u32,
    /// In units of 100 ns; only ever compared with another one.
    written: (u32, u32),
}

/// An open key.
#[derive(Debug)]
pub(crate) struct Key(HKEY);

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the handle is open, ours, and not used again.
        unsafe { RegCloseKey(self.0) };
    }
}

impl Key {
    /// Opens a key; `None` if there is none.
    pub(crate) fn open(path: &str, access: Access) -> io::Result<Option<Self>> {
        let rights = match access {
            Access::Read => KEY_QUERY_VALUE,
            Access::Write => KEY_QUERY_VALUE | KEY_SET_VALUE,
            Access::CreateBelow => KEY_CREATE_SUB_KEY,
        };
        let (path, mut key) = (wide(path), null_mut());
        // SAFETY: the path ends with a zero, `key` is writable, and both live during the call.
        let result = unsafe { RegOpenKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), 0, rights, &raw mut key) };
        match result {
            ERROR_SUCCESS => Ok(Some(Self(key))),
            ERROR_FILE_NOT_FOUND => Ok(None),
            error => Err(failed(error)),
        }
    }

    /// Opens a key to write values, and makes it, and those above it, where they are missing.
    pub(crate) fn create(path: &str) -> io::Result<Self> {
        let (path, mut key) = (wide(path), null_mut());
        // SAFETY: as above; class, security attributes and disposition may be null.
        done(unsafe {
            RegCreateKeyExW(
                HKEY_LOCAL_MACHINE,
                path.as_ptr(),
                0,
                null(),
                REG_OPTION_NON_VOLATILE,
                KEY_QUERY_VALUE | KEY_SET_VALUE,
                null(),
                &raw mut key,
                null_mut(),
            )
        })?;
        Ok(Self(key))
    }

    /// How many values there are, and when one was last changed.
    pub(crate) fn info(&self) -> io::Result<Info> {
        let (mut values, mut written) = (0, FILETIME::default());
        // SAFETY: the key is open; the two pointers are to live values, the others may be null.
        done(unsafe {
            RegQueryInfoKeyW(
                self.0,
                null_mut(),
                null_mut(),
                null(),
                null_mut(),
                null_mut(),
                null_mut(),
                &raw mut values,
                null_mut(),
                null_mut(),
                null_mut(),
                &raw mut written,
            )
        })?;
        Ok(Info {
            values,
            written: (written.dwHighDateTime, written.dwLowDateTime),
        })
    }

    /// All values; `None` for what is no text, or a long one. Names that are no Unicode lose what is wrong with them, and so are
    /// none of ours.
    pub(crate) fn values(&self) -> io::Result<Vec<(String, Option<String>)>> {
        let (mut values, mut name) = (Vec::new(), vec![0; NAME_LIMIT + 1]);
        for index in 0..VALUE_LIMIT {
            let mut text = [0; TEXT_LIMIT];
            let (mut units, mut kind, mut bytes) = (name.len() as u32, 0, size_of_val(&text) as u32);
            // SAFETY: the key is open; `name` is writable for `units` UTF-16 units and `text` for `bytes` bytes.
            let result = unsafe {
                RegEnumValueW(
                    self.0,
                    index,
                    name.as_mut_ptr(),
                    &raw mut units,
                    null(),
                    &raw mut kind,
                    text.as_mut_ptr().cast(),
                    &raw mut bytes,
                )
            };
            let content = match result {
                ERROR_SUCCESS => text_of(kind, &text, bytes),
                // What is in the buffers then is not documented: once more, for the name alone.
                ERROR_MORE_DATA => {
                    units = name.len() as u32;
                    // SAFETY: as above; type and data may be null.
                    let again = unsafe {
                        RegEnumValueW(
                            self.0,
                            index,
                            name.as_mut_ptr(),
                            &raw mut units,
                            null(),
                            null_mut(),
                            null_mut(),
                            null_mut(),
                        )
                    };
                    // It was the last one, and somebody has removed it since.
                    if again == ERROR_NO_MORE_ITEMS {
                        return Ok(values);
                    }
                    done(again)?;
                    None
                }
                ERROR_NO_MORE_ITEMS => return Ok(values),
                error => return Err(failed(error)),
            };
            let name = name.get(..units as usize).unwrap_or_default();
            values.push((String::from_utf16_lossy(name), content));
        }
        Err(io::Error::other("a key has more values than are read"))
    }

    /// A value: `None` if there is none, `Some(None)` if it is no text or a long one.
    pub(crate) fn text(&self, name: &str) -> io::Result<Option<Option<String>>> {
        let mut text = [0; TEXT_LIMIT];
        let (name, mut kind, mut bytes) = (wide(name), 0, size_of_val(&text) as u32);
        // SAFETY: the key is open, the name ends with a zero, and `text` is writable for `bytes` bytes.
        let result = unsafe {
            RegQueryValueExW(
                self.0,
                name.as_ptr(),
                null(),
                &raw mut kind,
                text.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        match result {
            ERROR_SUCCESS => Ok(Some(text_of(kind, &text, bytes))),
            ERROR_MORE_DATA => Ok(Some(None)),
            ERROR_FILE_NOT_FOUND => Ok(None),
            error => Err(failed(error)),
        }
    }

    /// A number; `None` if there is none, or something else.
    pub(crate) fn number(&self, name: &str) -> io::Result<Option<u32>> {
        let (mut value, mut kind, mut bytes) = (0_u32, 0, size_of::<u32>() as u32);
        let name = wide(name);
        // SAFETY: the key is open, the name ends with a zero, and `value` is writable for `bytes` bytes.
        let result = unsafe {
            RegQueryValueExW(
                self.0,
                name.as_ptr(),
                null(),
                &raw mut kind,
                (&raw mut value).cast(),
                &raw mut bytes,
            )
        };
        match result {
            ERROR_SUCCESS if kind == REG_DWORD && bytes as usize == size_of::<u32>() => Ok(Some(value)),
            ERROR_SUCCESS | ERROR_MORE_DATA | ERROR_FILE_NOT_FOUND => Ok(None),
            error => Err(failed(error)),
        }
    }

    /// Writes a text, over whatever is there.
    pub(crate) fn set_text(&self, name: &str, text: &str) -> io::Result<()> {
        let (name, text) = (wide(name), wide(text));
        let bytes = u32::try_from(size_of_val(text.as_slice())).map_err(io::Error::other)?;
        // SAFETY: the key is open, the name ends with a zero, and `text` is readable for `bytes` bytes, its end included.
        done(unsafe { RegSetValueExW(self.0, name.as_ptr(), 0, REG_SZ, text.as_ptr().cast(), bytes) })
    }

    /// Removes a value.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        let name = wide(name);
        // SAFETY: the key is open, and the name ends with a zero.
        match unsafe { RegDeleteValueW(self.0, name.as_ptr()) } {
            ERROR_FILE_NOT_FOUND => Ok(()),
            error => done(error),
        }
    }

    /// Returns when all changes of the key are on the disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        // SAFETY: the key is open.
        done(unsafe { RegFlushKey(self.0) })
    }
}

/// The text in a buffer, of which the system filled so many bytes. Whoever wrote it may have forgotten its end.
fn text_of(kind: u32, buffer: &[u16], bytes: u32) -> Option<String> {
    let units = buffer.get(..bytes as usize / size_of::<u16>())?;
    let end = units
        .iter()
        .rposition(|unit| *unit != 0)
        .map_or(0, |last| last + 1);
    String::from_utf16(&units[..end]).ok().filter(|_| kind == REG_SZ)
}

fn done(error: WIN32_ERROR) -> io::Result<()> {
    if error == ERROR_SUCCESS {
        Ok(())
    } else {
        Err(failed(error))
    }
}

fn failed(error: WIN32_ERROR) -> io::Error {
    io::Error::from_raw_os_error(error.cast_signed())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use windows_registry::LOCAL_MACHINE;

    use super::*;

    #[test]
    fn a_text_is_read_however_it_ends_and_nothing_else_is_one() {
        let units: Vec<u16> = "10.0.0.1/80\0\0".encode_utf16().collect();
        let read = |kind, units: &[u16]| text_of(kind, units, size_of_val(units) as u32);

        for length in [units.len(), units.len() - 1, units.len() - 2] {
            assert_eq!(read(REG_SZ, &units[..length]).as_deref(), Some("10.0.0.1/80"));
        }
        assert_eq!(read(REG_SZ, &[]).as_deref(), Some(""));
        assert_eq!(read(REG_DWORD, &units), None);
        assert_eq!(read(REG_SZ, &[0xd800]), None, "half a character");
        assert_eq!(text_of(REG_SZ, &units, 1000), None, "more than there is");
    }

    #[test]
    fn values_come_and_go_in_a_key_of_our_own() {
        let path = format!(r"SOFTWARE\wslnet-test-{}", std::process::id());
        // A killed run whose process had the same number may have left one.
        drop(LOCAL_MACHINE.remove_tree(&path));
        assert!(Key::open(&path, Access::Read).unwrap().is_none());
        let key = Key::create(&path).unwrap();
        let before = key.info().unwrap();

        key.set_text("a/1", "b/2").unwrap();
        key.set_text("long", &"x".repeat(TEXT_LIMIT)).unwrap();

        assert_ne!(key.info().unwrap(), before);
        let mut values = key.values().unwrap();
        values.sort();
        let expected = [
            ("a/1".to_owned(), Some("b/2".to_owned())),
            ("long".to_owned(), None),
        ];
        assert_eq!(values, expected);
        assert_eq!(key.text("A/1").unwrap(), Some(Some("b/2".to_owned())));
        assert_eq!(key.text("long").unwrap(), Some(None));
        assert_eq!(key.text("none").unwrap(), None);
        assert_eq!(key.number("a/1").unwrap(), None);

        key.flush().unwrap();
        for name in ["a/1", "long", "none"] {
            key.remove(name).unwrap();
        }
        assert_eq!(key.values().unwrap(), []);
        drop(key);
        LOCAL_MACHINE.remove_tree(&path).unwrap();
    }

    #[test]
    fn a_long_value_that_goes_while_it_is_read_is_no_error() {
        let path = format!(r"SOFTWARE\wslnet-test-{}-going", std::process::id());
        drop(LOCAL_MACHINE.remove_tree(&path));
        let key = Key::create(&path).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let writer = thread::spawn({
            let (path, is_over) = (path.clone(), Arc::clone(&is_over));
            move || {
                let key = Key::create(&path).unwrap();
                while !is_over.load(Ordering::Relaxed) {
                    key.set_text("long", &"x".repeat(TEXT_LIMIT)).unwrap();
                    key.remove("long").unwrap();
                }
            }
        });

        let reads: Vec<_> = (0..2000).map(|_| key.values()).collect();

        is_over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        drop(key);
        LOCAL_MACHINE.remove_tree(&path).unwrap();
        let failed: Vec<_> = reads.iter().filter(|read| read.is_err()).collect();
        assert!(failed.is_empty(), "{failed:?}");
        let mut seen = reads.iter().flatten().map(Vec::len);
        assert!(seen.any(|values| values == 1), "the value was there at times");
    }
}
