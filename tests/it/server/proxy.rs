//! A wire between a server and its Postgres that can be cut or fall silent.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// It carries everything.
    Whole,
    /// It is silent: connections stay, nothing arrives. Those that are open when it becomes whole again
    /// stay silent for ever, as after a firewall forgot them.
    Silent,
    /// Connections break, and new ones do.
    Cut,
    /// It carries a COMMIT there, and is silent on that connection from then on.
    SilentAfterCommit,
    /// It carries a transaction up to the first update of a row there, and is silent on that connection from then on.
    SilentInTransaction,
}

/// The wire.
pub(super) struct Proxy {
    wire: Arc<watch::Sender<Wire>>,
    url: String,
}

impl Proxy {
    /// In front of the server that a URL names.
    pub(super) async fn before(url: &str) -> Self {
        let (user, rest) = url.split_once('@').unwrap();
        let (target, name) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{user}@{}/{name}", listener.local_addr().unwrap());
        let wire = Arc::new(watch::Sender::new(Wire::Whole));
        let (sender, target) = (Arc::clone(&wire), target.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target.clone(), sender.subscribe()));
            }
        });
        Self { wire, url }
    }

    /// How the server gets there through the wire.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }
}

async fn carry(client: TcpStream, target: String, mut wire: watch::Receiver<Wire>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let now = *wire.borrow_and_update();
        match now {
            Wire::Whole | Wire::SilentAfterCommit | Wire::SilentInTransaction => {}
            Wire::Cut => return,
            // Nothing is read any more, and nothing closed, until the connection is cut.
            Wire::Silent => {
                let _ = wire.wait_for(|wire| *wire == Wire::Cut).await;
                return;
            }
        }
        tokio::select! {
            _ = wire.changed() => {}
            read = from_client.read(&mut up) => match read {
                Ok(n) if n > 0 && to_server.write_all(&up[..n]).await.is_ok() => {
                    let commits = up[..n].windows(6).any(|word| word == b"COMMIT");
                    if commits && *wire.borrow() == Wire::SilentAfterCommit {
                        let _ = wire.wait_for(|wire| *wire == Wire::Cut).await;
                        return;
                    }
                }
                _ => return,
            },
            read = from_server.read(&mut down) => match read {
                // The end of a statement that updated a row.
                Ok(n) if down[..n].windows(8).any(|word| word == b"UPDATE 1")
                    && *wire.borrow() == Wire::SilentInTransaction =>
                {
                    let _ = wire.wait_for(|wire| *wire == Wire::Cut).await;
                    return;
                }
                Ok(n) if n > 0 && to_client.write_all(&down[..n]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}
