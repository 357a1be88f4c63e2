//! Reads a config file without trusting it: bounded, regular, UTF-8, and not writable by everybody. Looks at the
//! file that was opened, so that nothing can change between the check and the read.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

use super::{Report, Source};

/// Largest config file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads the file at `path`; `None` when there is none.
///
/// # Errors
/// A report when the file cannot be read, is no regular file, is larger than [`MAX_FILE_BYTES`], is no UTF-8 text,
/// or (on Unix) may be written by every user: whoever may write it decides what goes on the network.
pub fn read_file(path: &Path) -> Result<Option<Source>, Report> {
    let name = path.display().to_string();
    let refuse = |message: String, hint: Option<String>| Err(Report::of_file(&name, message, hint));

    let file = match platform::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return refuse(format!("cannot open: {error}"), None),
    };
    let metadata = match file.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return refuse(format!("cannot examine: {error}"), None),
    };
    if !metadata.is_file() {
        return refuse("is not a regular file".to_owned(), None);
    }
    if platform::everybody_may_write(&metadata) {
        return refuse(
            "every user of this machine may write this file, so it is not trusted".to_owned(),
            Some(format!("chmod o-w {name}")),
        );
    }
    let bytes = match read_bounded(file) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return refuse(format!("is larger than {MAX_FILE_BYTES} bytes"), None),
        Err(error) => return refuse(format!("cannot read: {error}"), None),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(Source { name, text })),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text =
                String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default()).into_owned();
            let mut report = Report::new(Source { name, text });
            report.add(
                Some(valid..valid),
                "is not UTF-8 text from here on",
                Some("save the file as UTF-8".to_owned()),
            );
            Err(report)
        }
    }
}

/// None when there is more than the bound.
fn read_bounded(file: File) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((read as u64 <= MAX_FILE_BYTES).then_some(bytes))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use std::fs;

    use super::{MAX_FILE_BYTES, read_file};

    fn written(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("config.toml");
        fs::write(&path, bytes).expect("file written");
        (dir, path)
    }

    fn refusal(bytes: &[u8]) -> String {
        let (_dir, path) = written(bytes);
        read_file(&path).expect_err("refused").to_string()
    }

    #[test]
    fn a_plain_file_is_read_and_a_missing_one_is_none() {
        let (dir, path) = written(b"a = 1\n");

        let source = read_file(&path).expect("readable").expect("present");

        assert_eq!(source.text, "a = 1\n");
        assert_eq!(source.name, path.display().to_string());
        assert_eq!(read_file(&dir.path().join("none.toml")), Ok(None));
    }

    #[test]
    fn the_bound_is_exact() {
        let fits = vec![b'#'; MAX_FILE_BYTES as usize];
        let (_dir, path) = written(&fits);
        assert!(read_file(&path).is_ok());

        let too_large = vec![b'#'; MAX_FILE_BYTES as usize + 1];

        assert!(refusal(&too_large).contains("is larger than 1048576 bytes"));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_place() {
        let refusal = refusal(b"a = 1\nb = \"\xff\"\n");

        assert!(refusal.contains("is not UTF-8 text from here on"), "{refusal}");
        assert!(refusal.contains("config.toml:2:6"), "{refusal}");
    }

    #[test]
    fn a_directory_is_refused() {
        let dir = tempfile::tempdir().expect("temporary directory");

        assert!(read_file(dir.path()).is_err());
    }
}
