//! Which files make the configuration: `config.toml`, and the drop-in files `config.d/*.toml` beside it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use wslnet_console::diagnose::{ConfigFile, Report, Reports, Source, read_file};

/// How many drop-in files are read.
const DROP_INS: usize = 256;
/// The folder of drop-in files, beside the main file.
const FOLDER: &str = "config.d";
/// What the name of a drop-in file ends with. Others (backups of editors, `*.toml.off`) are left alone.
const EXTENSION: &str = "toml";

/// The main file and the folder of drop-in files.
#[derive(Clone, Debug)]
pub struct ConfigFiles {
    main: ConfigFile,
    folder: PathBuf,
}

impl ConfigFiles {
    /// The files of the configuration at `path`; `named` says whether a person named it.
    #[must_use]
    pub fn new(path: PathBuf, named: bool) -> Self {
        Self {
            folder: path.parent().unwrap_or(Path::new("")).join(FOLDER),
            main: ConfigFile::new(path, named),
        }
    }

    /// The main file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.main.path()
    }

    /// Reads all files: the main one first, then the others in the order of their names.
    ///
    /// # Errors
    /// Everything that keeps a file from being read.
    pub fn read(&mut self) -> Result<Vec<Source>, Reports> {
        let mut reports = Vec::new();
        let mut sources = Vec::new();
        match self.main.read() {
            Ok(source) => sources.push(source),
            Err(report) => reports.push(report),
        }
        match drop_ins(&self.folder) {
            Ok(paths) => {
                for path in paths {
                    match read_drop_in(&path) {
                        Ok(source) => sources.extend(source),
                        Err(report) => reports.push(report),
                    }
                }
            }
            Err(report) => reports.push(report),
        }
        match Reports::join(reports) {
            Some(reports) => Err(reports),
            None => Ok(sources),
        }
    }
}

/// The drop-in files in the order of their names; none where there is no folder.
fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, Report> {
    let refuse = |message: String, hint: &str| {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Err(Report::of_file(folder.display().to_string(), message, hint))
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_symlink() => {
            return Ok(Vec::new());
        }
        Err(error) => {
            return refuse(
                format!("cannot open: {error}"),
                "it is the folder of drop-in files, which wslnetd must be able to read; remove it if there are none",
            );
        }
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => return refuse(format!("cannot read: {error}"), ""),
        };
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
        if paths.len() > DROP_INS {
            return refuse(format!("holds more than {DROP_INS} files"), "join some of them");
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads a file that was listed; none if it has gone since then.
fn read_drop_in(path: &Path) -> Result<Option<Source>, Report> {
    let source = read_file(path)?;
    // A link that leads nowhere: what the file says, an opt-out perhaps, must not be missing without a word. It may lead
    // somewhere for the person who made it, but the unit keeps homes and the drives of Windows from the daemon.
    if source.is_none() && path.is_symlink() {
        let hint = "copy the file itself here: wslnetd sees no file in /home, /root or /mnt";
        let message = "is a link to a file that wslnetd does not find";
        return Err(Report::of_file(
            path.display().to_string(),
            message,
            Some(hint.to_owned()),
        ));
    }
    Ok(source)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn drop_in_files_follow_the_main_one_in_the_order_of_their_names() {
        let place = place(&[
            "b.toml",
            "a.toml",
            "10-c.toml",
            "note.txt",
            "a.toml~",
            ".a.toml",
            "x.toml.off",
        ]);

        let sources = files(&place).read().unwrap();

        let names = sources.iter().map(|source| {
            let name = Path::new(&source.name).file_name().unwrap();
            name.to_string_lossy().into_owned()
        });
        assert_eq!(
            names.collect::<Vec<_>>(),
            ["config.toml", "10-c.toml", "a.toml", "b.toml"]
        );
    }

    #[test]
    fn every_file_that_cannot_be_read_is_named() {
        let place = place(&["a.toml", "b.toml"]);
        let folder = place.path().join(FOLDER);
        fs::set_permissions(folder.join("a.toml"), fs::Permissions::from_mode(0o666)).unwrap();
        fs::write(folder.join("b.toml"), b"\xff").unwrap();

        let reports = files(&place).read().unwrap_err();

        assert_eq!(reports.each().len(), 2, "{reports}");
        assert!(reports.to_string().contains("a.toml"), "{reports}");
    }

    #[test]
    fn a_link_counts_as_its_file_and_one_to_nowhere_is_a_mistake() {
        let place = place(&["a.toml"]);
        let folder = place.path().join(FOLDER);
        std::os::unix::fs::symlink(folder.join("a.toml"), folder.join("b.toml")).unwrap();
        assert_eq!(files(&place).read().unwrap().len(), 3);
        std::os::unix::fs::symlink(folder.join("none.toml"), folder.join("c.toml")).unwrap();

        let refusal = files(&place).read().unwrap_err().to_string();

        assert!(
            refusal.contains("c.toml") && refusal.contains("copy the file"),
            "{refusal}"
        );
        let away = tempfile::tempdir().unwrap();
        fs::write(away.path().join("config.toml"), "").unwrap();
        std::os::unix::fs::symlink("/nowhere", away.path().join(FOLDER)).unwrap();
        assert!(files(&away).read().is_err());
    }

    #[test]
    fn too_many_files_are_a_mistake_and_no_folder_is_none() {
        let names = (0..=DROP_INS).map(|n| format!("{n}.toml")).collect::<Vec<_>>();
        let many = place(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(files(&many).read().unwrap_err().to_string().contains("256 files"));

        let none = tempfile::tempdir().unwrap();
        fs::write(none.path().join("config.toml"), "").unwrap();
        assert_eq!(files(&none).read().unwrap().len(), 1);
    }

    fn place(drop_ins: &[&str]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("config.toml"), "").unwrap();
        fs::create_dir(place.path().join(FOLDER)).unwrap();
        for name in drop_ins {
            fs::write(place.path().join(FOLDER).join(name), "").unwrap();
        }
        place
    }

    fn files(place: &tempfile::TempDir) -> ConfigFiles {
        ConfigFiles::new(place.path().join("config.toml"), true)
    }
}
