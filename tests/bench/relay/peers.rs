//! Other programs that relay a port, each set up as its manual advises for a forward of one port. They stand where the
//! companion stands: they listen on Windows' address and dial the VM's. What a manual leaves open is set to what is
//! best for the program.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A program for one forward.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its name.
    pub name: &'static str,
    /// The file of its program.
    program: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// How it is started to listen at one address and dial another; it may put files into a folder.
    command: fn(&Path, &str, u16, &str, u16) -> Command,
}

impl Peer {
    /// The command that relays `listen` to `target`.
    pub fn command(&self, folder: &Path, listen: (&str, u16), target: (&str, u16)) -> Command {
        let mut command = (self.command)(folder, listen.0, listen.1, target.0, target.1);
        command.env("PATH", PATH);
        command
    }

    /// Whether its program is there. What else it needs shows when it is started.
    pub fn is_installed(&self) -> bool {
        PATH.split(':')
            .any(|folder| Path::new(folder).join(self.program).exists())
    }
}

/// Where servers are, whoever calls.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec/docker";

/// All of them.
pub const PEERS: [Peer; 5] = [
    Peer {
        name: "haproxy",
        program: "haproxy",
        package: "haproxy",
        command: haproxy,
    },
    Peer {
        name: "nginx stream",
        program: "nginx",
        package: "nginx-light libnginx-mod-stream",
        command: nginx,
    },
    Peer {
        name: "socat",
        program: "socat",
        package: "socat",
        command: socat,
    },
    Peer {
        name: "rinetd",
        program: "rinetd",
        package: "rinetd",
        command: rinetd,
    },
    Peer {
        name: "docker-proxy",
        program: "docker-proxy",
        package: "docker.io",
        command: docker_proxy,
    },
];

/// socat(1), EXAMPLES: "a TCP port forwarder, each connection handled in a new process" is
/// `TCP4-LISTEN:www,reuseaddr,fork TCP4:www.domain.org:www`.
///
/// Beyond that: `-b`, "the data transfer block", is 8192 by default, and the larger one moves more; `backlog` is 5 by default, so
/// that clients that come at once would wait a second for TCP to try again.
fn socat(_: &Path, listen: &str, port: u16, target: &str, target_port: u16) -> Command {
    let mut command = Command::new("socat");
    command.args(["-b131072"]);
    command.arg(format!(
        "TCP4-LISTEN:{port},bind={listen},reuseaddr,fork,backlog=4096"
    ));
    command.arg(format!("TCP4:{target}:{target_port}"));
    command
}

/// The configuration manual of HAProxy, "mode tcp": what relays without looking inside. It warns of missing `timeout`s, and
/// says of `option splice-auto` that it lets the kernel forward the data where that helps. One thread for each core
/// is its default. `maxconn` is what the open files allow.
fn haproxy(folder: &Path, listen: &str, port: u16, target: &str, target_port: u16) -> Command {
    let config = format!(
        "global\n maxconn 4096\n\
         defaults\n mode tcp\n option splice-auto\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n\
         listen forward\n bind {listen}:{port}\n server vm {target}:{target_port}\n"
    );
    let file = write(folder, "haproxy.cfg", &config);
    let mut command = Command::new("haproxy");
    // -db: stay in the foreground.
    command.args(["-db", "-f", &file]);
    command
}

/// The documentation of ngx_stream_core_module, "Example Configuration": `worker_processes auto`, and a `server` with
/// `listen` and `proxy_pass`. Of `reuseport` it says that it lets the kernel spread connections over the workers.
fn nginx(folder: &Path, listen: &str, port: u16, target: &str, target_port: u16) -> Command {
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
         daemon off;\nworker_processes auto;\npid {folder}/nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 8192; }}\n\
         stream {{ server {{ listen {listen}:{port} reuseport backlog=4096; proxy_pass {target}:{target_port}; }} }}\n",
        folder = folder.display()
    );
    let file = write(folder, "nginx.conf", &config);
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-c", &file]);
    command
}

/// rinetd(8): a line with the address and port to bind, and those to connect to. Without `logfile`, nothing is logged.
fn rinetd(folder: &Path, listen: &str, port: u16, target: &str, target_port: u16) -> Command {
    let file = write(
        folder,
        "rinetd.conf",
        &format!("{listen} {port} {target} {target_port}\n"),
    );
    let mut command = Command::new("rinetd");
    command.args(["-f", "-c", &file]);
    command
}

/// As dockerd starts it for a published port. It reports its start to file descriptor 3, which must be there.
fn docker_proxy(_: &Path, listen: &str, port: u16, target: &str, target_port: u16) -> Command {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "exec \"$@\" 3>/dev/null",
        "sh",
        "docker-proxy",
        "-proto",
        "tcp",
    ]);
    command.args(["-host-ip", listen, "-host-port", &port.to_string()]);
    command.args([
        "-container-ip",
        target,
        "-container-port",
        &target_port.to_string(),
    ]);
    command
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("write into a folder of ours");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set the mode");
    path.display().to_string()
}
