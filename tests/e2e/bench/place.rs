//! Where one of the two programs keeps its files, and the flags that tell it so.

use std::path::Path;

/// The folders of one program.
#[derive(Debug)]
pub struct Place {
    program: &'static str,
    /// Its config file.
    pub config: String,
    /// Its keys.
    pub state: String,
    /// Its control socket.
    pub run: String,
}

impl Place {
    /// Lays the folders for `program` below `folder`, with a config.
    pub fn new(program: &'static str, folder: &Path, config: &str) -> Self {
        let text = |name: &str| folder.join(name).display().to_string();
        let place = Self {
            program,
            config: text("config.toml"),
            state: text("state"),
            run: text("run"),
        };
        std::fs::create_dir(&place.run).expect("a folder");
        place.configure(config);
        place
    }

    /// Replaces the config file.
    pub fn configure(&self, text: &str) {
        std::fs::write(&self.config, text).expect("write the config");
    }

    /// Lays a drop-in file beside the config.
    pub fn drop_in(&self, name: &str, text: &str) {
        let folder = Path::new(&self.config).with_file_name("config.d");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(name), text).expect("write the drop-in file");
    }

    /// The command line of a verb.
    pub fn line<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        let flags: [&str; 6] = [
            "--config",
            &self.config,
            "--state-dir",
            &self.state,
            "--run-dir",
            &self.run,
        ];
        [&[self.program], args, &flags].concat()
    }

    /// The flags alone, for a command line that is put together elsewhere.
    pub fn flags(&self) -> [String; 6] {
        let line = self.line(&[]);
        std::array::from_fn(|at| line[at + 1].to_owned())
    }
}
