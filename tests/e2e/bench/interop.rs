//! What stands for the bridge that WSL has between Windows and its distros: `wsl.exe` on Windows, and programs of Windows in a distro.
//!
//! A stand-in is a program that hands its arguments and its input to this process, which runs what they mean in the other
//! machine, and gives out what comes back. It shows which programs are run, how, and what goes through their pipes; it shows nothing of
//! WSL's own words, its encodings, its rights and its time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::machine::{Door, NetNs};
use super::{Distro, Ran, World};

/// Where the stand-in for `wsl.exe` under Wine (`tests/wsl`) looks for this process.
const SERVICE: &str = "127.0.0.1:9757";
/// How every command for a distro begins, but for its name.
const AS_ROOT: [&str; 4] = ["-u", "root", "--exec", "/usr/local/bin/wslnetd"];

/// The stand-in where Linux stands for Windows, and for programs of Windows in a distro.
const PROGRAM: &str = r#"#!/usr/bin/python3
import json, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(SOCKET)
s.sendall(json.dumps(sys.argv[1:]).encode() + b"\n" + (b"" if sys.stdin is None else sys.stdin.buffer.read())); s.shutdown(1)
code, out, err = json.load(s.makefile())
sys.stdout.write(out); sys.stdout.flush(); sys.stderr.write(err); sys.exit(code)
"#;

/// What to do with the arguments and the input of a stand-in.
pub type Service = dyn Fn(&[String], &[u8]) -> (i32, String, String) + Send;

/// A stand-in, for as long as this lives.
#[derive(Debug)]
pub struct Interop {
    /// The program; where Wine has one of its own, nothing is there.
    pub program: PathBuf,
    place: Place,
    over: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Place {
    Socket(PathBuf),
    Port(Arc<NetNs>),
}

impl Interop {
    /// A program in `folder` whose work is done by `service`.
    pub fn new(folder: &Path, name: &str, service: Box<Service>) -> Self {
        let socket = folder.join(format!("{name}.sock"));
        let listener = UnixListener::bind(&socket).expect("a socket");
        let program = folder.join(name);
        let text = PROGRAM.replace("SOCKET", &format!("{:?}", socket.display().to_string()));
        // By another process: what this one has open for writing, a child of another test may hold open, and then it does not run.
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\""])
            .arg(&program)
            .arg(&text)
            .status();
        assert!(status.expect("run sh").success());
        let place = Place::Socket(socket);
        Self::start(program, place, service, move || {
            let stream = listener.accept().expect("a connection").0;
            let ends = |stream: &UnixStream| stream.shutdown(Shutdown::Write);
            (
                Box::new(stream.try_clone().expect("a socket")),
                Box::new(Ending(stream, ends)),
            )
        })
    }

    /// The same for the stand-in that runs under Wine in the network `windows`.
    pub fn under_wine(windows: &Arc<NetNs>, service: Box<Service>) -> Self {
        let listener = windows
            .enter(|| TcpListener::bind(SERVICE))
            .expect("the port is free");
        let place = Place::Port(windows.clone());
        Self::start(PathBuf::new(), place, service, move || {
            let stream = listener.accept().expect("a connection").0;
            let ends = |stream: &TcpStream| stream.shutdown(Shutdown::Write);
            (
                Box::new(stream.try_clone().expect("a socket")),
                Box::new(Ending(stream, ends)),
            )
        })
    }

    fn start(
        program: PathBuf,
        place: Place,
        service: Box<Service>,
        accept: impl Fn() -> (Box<dyn Read>, Box<dyn Write>) + Send + 'static,
    ) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let serving = thread::spawn(move || {
            loop {
                let (from, to) = accept();
                if until.load(Ordering::SeqCst) {
                    return;
                }
                serve(from, to, &service);
            }
        });
        Self {
            program,
            place,
            over,
            serving: Some(serving),
        }
    }
}

impl Drop for Interop {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        match &self.place {
            Place::Socket(path) => drop(UnixStream::connect(path)),
            Place::Port(net) => drop(net.enter(|| TcpStream::connect(SERVICE))),
        }
        drop(self.serving.take().map(JoinHandle::join));
    }
}

/// A socket whose other side has to hear of its end.
struct Ending<T, F: Fn(&T) -> std::io::Result<()>>(T, F);

impl<T: Write, F: Fn(&T) -> std::io::Result<()>> Write for Ending<T, F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl<T, F: Fn(&T) -> std::io::Result<()>> Drop for Ending<T, F> {
    fn drop(&mut self) {
        drop((self.1)(&self.0));
    }
}

/// One command. A stand-in that was killed has nobody who waits for the answer.
fn serve(from: Box<dyn Read>, mut to: Box<dyn Write>, service: &Service) {
    let mut from = BufReader::new(from);
    let (mut line, mut input) = (String::new(), Vec::new());
    if from.read_line(&mut line).is_ok() && from.read_to_end(&mut input).is_ok() {
        let Ok(arguments) = serde_json::from_str::<Vec<String>>(&line) else {
            return;
        };
        let answer = service(&arguments, &input);
        drop(to.write_all(&serde_json::to_vec(&answer).expect("text")));
    }
}

/// The distros as `wsl.exe` reaches them, for several threads.
#[derive(Clone, Debug)]
pub struct Distros(Arc<Vec<(String, Door, [String; 6])>>);

impl Distros {
    /// These.
    pub fn new(distros: &[&Distro]) -> Self {
        let of = |distro: &&Distro| (distro.name.clone(), distro.machine.door(), distro.place.flags());
        Self(Arc::new(distros.iter().map(of).collect()))
    }

    /// Does what `wsl.exe` would with these arguments.
    pub fn wsl(&self, arguments: &[String], input: &[u8]) -> (i32, String, String) {
        let no = |why: String| (255, String::new(), why);
        let [dash, name, rest @ ..] = arguments else {
            return no(format!("{arguments:?}"));
        };
        let words: Vec<&str> = rest.iter().map(String::as_str).collect();
        let (true, Some(words)) = (dash == "-d", words.strip_prefix(&AS_ROOT)) else {
            return no(format!("asked wrongly: {arguments:?}"));
        };
        let Some((_, door, flags)) = self.0.iter().find(|distro| distro.0 == *name) else {
            return no("There is no distribution with the supplied name.\r\nError code: Wsl/Service/WSL_E_DISTRO_NOT_FOUND\r\n".into());
        };
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let line = [&[super::distro::PROGRAM], words, &flags].concat();
        answer(door.run_with(&line, input))
    }
}

/// What a program has said, as a stand-in gives it out.
pub fn answer(ran: Ran) -> (i32, String, String) {
    (ran.code, ran.stdout, ran.stderr)
}

impl World {
    /// A `wsl.exe` for the companion on Linux.
    pub fn wsl(&self, distros: &[&Distro]) -> Interop {
        let distros = Distros::new(distros);
        Interop::new(
            &self.new_folder("wsl"),
            "wsl.exe",
            Box::new(move |arguments, input| distros.wsl(arguments, input)),
        )
    }
}
