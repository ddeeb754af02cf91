//! Every socket and every file that is created, by strace.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A question mark: not every processor has the call.
const CALLS: &str = "socket,connect,bind,sendto,sendmsg,sendmmsg,openat,?open,?creat,?mkdir,mkdirat,?rename,?renameat,\
                     renameat2,?link,linkat,?symlink,symlinkat,?mknod,mknodat";

/// Runs programs under strace; the program is the child, strace a process of its own (`-D`).
pub(super) struct Tracer {
    traces: TempDir,
    count: AtomicUsize,
}

impl Tracer {
    pub(super) fn new() -> Result<Self, String> {
        let tracer = Self { traces: tempfile::tempdir().unwrap(), count: AtomicUsize::new(0) };
        let tried = tracer.command("true").stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        if !tried.status.success() || !finished(&tracer.path(0)) {
            return Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned());
        }
        Ok(tracer)
    }

    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "--seccomp-bpf", "-q", "-s", "4096", "-e", "signal=none", "-e"]);
        command.arg(format!("trace={CALLS}")).arg("-o");
        command.arg(self.path(self.count.fetch_add(1, Ordering::SeqCst))).arg(program);
        command
    }

    fn path(&self, number: usize) -> std::path::PathBuf {
        self.traces.path().join(number.to_string())
    }

    /// What the programs did outside the data folder and beside the server's ports.
    pub(super) fn faults(&self, data: &Path, ports: &[u16]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut bound = 0;
        for number in 1..self.count.load(Ordering::SeqCst) {
            let path = self.path(number);
            assert!(finished(&path), "strace did not finish {}", path.display());
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let Some((_, call)) = line.split_once(' ') else { continue };
                bound += usize::from(call.trim_start().starts_with("bind("));
                if let Some(fault) = fault(call.trim_start(), data, ports) {
                    faults.push(format!("{fault}: {line}"));
                }
            }
        }
        assert!(bound > 0, "strace did not see the server's own socket");
        faults
    }
}

/// Whether the program of a trace has ended; strace writes that a moment after the program's parent knows.
fn finished(trace: &Path) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        let text = std::fs::read_to_string(trace).unwrap_or_default();
        let first = text.split(' ').next().unwrap_or_default().to_owned();
        if text.lines().any(|line| line.starts_with(&first) && line.contains("+++ exited")) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// What is wrong with one call, as strace writes it.
fn fault(call: &str, data: &Path, ports: &[u16]) -> Option<&'static str> {
    let name = call.split('(').next().unwrap_or_default();
    match name {
        "socket" => {
            let ours = call.starts_with("socket(AF_INET, SOCK_STREAM");
            (!ours).then_some("a socket that no setting asks for")
        }
        "connect" | "bind" | "sendto" | "sendmsg" | "sendmmsg" if call.contains("sa_family=") => {
            let of = |port: u16| format!("sin_port=htons({port}), sin_addr=inet_addr(\"127.0.0.1\")");
            let ours = ports.iter().any(|&port| call.contains(&of(port))) || name == "bind" && call.contains(&of(0));
            (!ours).then_some("an address that no setting names")
        }
        "open" | "openat" if !call.contains("O_CREAT") => None,
        "open" | "openat" | "creat" | "mkdir" | "mkdirat" | "rename" | "renameat" | "renameat2" | "link" | "linkat"
        | "symlink" | "symlinkat" | "mknod" | "mknodat" => {
            let mut paths = call.split('"').skip(1).step_by(2);
            let ours = paths.all(|path| Path::new(path).starts_with(data));
            (!ours).then_some("a file outside the data folder")
        }
        _ => None,
    }
}

#[test]
fn calls_are_judged_as_strace_writes_them() {
    let data = Path::new("/data");
    for ours in [
        r#"socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 19"#,
        r#"bind(19, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
        r#"connect(9, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
        r#"connect(9, {sa_family=AF_INET, sin_port=htons(81), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
        r#"sendto(14, "HTTP/1.1 200 OK"..., 120, MSG_NOSIGNAL, NULL, 0) = 120"#,
        r#"openat(AT_FDCWD, "/data/semblance.db", O_RDWR|O_CREAT|O_NOFOLLOW|O_CLOEXEC, 0644) = 11"#,
        r#"openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3"#,
        r#"rename("/data/node.part", "/data/node") = 0"#,
    ] {
        assert_eq!(fault(ours, data, &[80, 81]), None, "{ours}");
    }
    for foreign in [
        r#"socket(AF_INET6, SOCK_DGRAM, IPPROTO_IP) = 25"#,
        r#"socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_IP <unfinished ...>"#,
        r#"socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0) = 25"#,
        r#"connect(25, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT (No such file)"#,
        r#"connect(25, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("20.42.73.31")}, 16) = 0"#,
        r#"connect(25, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
        r#"bind(19, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("0.0.0.0")}, 16) = 0"#,
        r#"openat(AT_FDCWD, "/tmp/.ses", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 19"#,
        r#"openat(19, "deviceid.tmp", O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600) = 20"#,
        r#"mkdir("/root/.cache", 0700) = 0"#,
        r#"rename("/data/semblance.db", "/root/semblance.db") = 0"#,
    ] {
        assert!(fault(foreign, data, &[80, 81]).is_some(), "{foreign}");
    }
}
