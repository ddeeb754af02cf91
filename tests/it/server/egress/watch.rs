//! What a network namespace shows: look-ups of names, and the kernel's tables of sockets.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The namespace's only name server. It answers nothing and remembers what it was asked.
pub(super) struct NameServer {
    asked: Arc<Mutex<BTreeSet<String>>>,
    address: std::net::SocketAddr,
}

impl NameServer {
    pub(super) fn start() -> Self {
        let udp = UdpSocket::bind("127.0.0.1:53").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:53").unwrap();
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        let by_udp = Arc::clone(&asked);
        let by_tcp = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((length, _)) = udp.recv_from(&mut packet) {
                by_udp.lock().unwrap().insert(name(&packet[..length]));
            }
        });
        std::thread::spawn(move || {
            while tcp.accept().is_ok() {
                by_tcp.lock().unwrap().insert("a name, by TCP".to_owned());
            }
        });
        Self { asked, address }
    }

    /// The names that were asked for. A look-up of the test's own shows that none can go unseen.
    pub(super) fn faults(self) -> Vec<String> {
        let probe = "probe.invalid";
        let query = std::net::ToSocketAddrs::to_socket_addrs(&(probe, 80));
        assert!(query.is_err());
        let asked = self.asked.lock().unwrap().clone();
        assert!(asked.contains(probe), "a look-up did not reach {}: {asked:?}", self.address);
        asked.into_iter().filter(|name| name != probe).map(|name| format!("look-up of {name}")).collect()
    }
}

/// The name in a question of DNS: after 12 bytes of head, each label with its length before it.
fn name(packet: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut rest = packet.get(12..).unwrap_or_default();
    while let Some((&length, after)) = rest.split_first() {
        let Some((label, after)) = after.split_at_checked(usize::from(length)).filter(|_| length > 0) else { break };
        labels.push(String::from_utf8_lossy(label).into_owned());
        rest = after;
    }
    labels.join(".")
}

/// Reads the tables of the namespace's sockets again and again.
pub(super) struct SocketTables {
    over: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl SocketTables {
    pub(super) fn watch() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut faults = BTreeSet::new();
            while !until.load(Ordering::SeqCst) {
                for table in ["tcp", "tcp6", "udp", "udp6", "udplite", "raw", "raw6", "packet"] {
                    let rows = std::fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default();
                    faults.extend(rows.lines().skip(1).filter_map(|row| fault(table, row)));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            faults
        });
        Self { over, thread }
    }

    pub(super) fn faults(self) -> Vec<String> {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap().into_iter().collect()
    }
}

/// A row that is no TCP within the loopback, and not the name server of the test.
fn fault(table: &str, row: &str) -> Option<String> {
    let mut columns = row.split_whitespace().skip(1);
    let local = columns.next()?;
    let remote = columns.next()?;
    let inside = |address: &str| address.starts_with("0100007F:") || address.starts_with("00000000:");
    let ours = match table {
        "tcp" => inside(local) && inside(remote),
        "udp" => local == "0100007F:0035",
        _ => false,
    };
    (!ours).then(|| format!("{table} socket from {local} to {remote}"))
}

#[test]
fn rows_and_questions_are_read_as_they_are_written() {
    let row = |local, remote| format!("   0: {local} {remote} 0A 00000000:00000000 00:00000000 00000000 0");
    assert_eq!(fault("tcp", &row("0100007F:1F90", "00000000:0000")), None);
    assert_eq!(fault("udp", &row("0100007F:0035", "00000000:0000")), None);
    assert!(fault("udp", &row("0100007F:9C40", "0100007F:0035")).is_some());
    assert!(fault("tcp", &row("0100007F:9C40", "1F492A14:01BB")).is_some());
    assert!(fault("tcp6", &row("00000000000000000000000000000000:1F90", "0:0")).is_some());
    let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06mobile\x04data\x00\x00\x01\x00\x01";
    assert_eq!(name(question), "mobile.data");
    assert_eq!(name(&question[..20]), "mobile");
    assert_eq!(name(b"short"), "");
}
