//! A network that can be cut: a TCP proxy between a process and a store.
//!
//! While it is cut, no byte goes either way, no end of a connection is passed on, and a new connection is accepted and
//! hears nothing, as in a network that swallows packets. Once it is whole again, what waited goes on, as retransmitted
//! packets do; whoever has given up meanwhile has closed its side, and the other side now learns of it.

use std::io;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes that may be under way in one direction of a connection.
const BUFFER: usize = 64 << 10;

/// A proxy in front of one port. It ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    cut: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port and passes on to `target` on the loopback address.
    pub async fn to(target: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (cut, seen) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target, seen));
        Ok(Self { port, cut, _tasks: tasks })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the network, or mends it.
    pub fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }
}

async fn accept(listener: TcpListener, target: u16, cut: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(pass(client, target, cut.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass(client: TcpStream, target: u16, mut cut: watch::Receiver<bool>) {
    if !whole(&mut cut).await {
        return;
    }
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
    // Small writes are not to wait for each other here.
    drop(client.set_nodelay(true).and_then(|()| server.set_nodelay(true)));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(one_way(from_client, to_server, cut.clone()), one_way(from_server, to_client, cut));
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await;
        // Also the end of a connection crosses only a whole network.
        if !whole(&mut cut).await {
            return;
        }
        match read {
            Ok(0) | Err(_) => return drop(to.shutdown().await),
            Ok(bytes) => {
                if to.write_all(&buffer[..bytes]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Waits while the network is cut; false once the proxy is gone.
async fn whole(cut: &mut watch::Receiver<bool>) -> bool {
    cut.wait_for(|cut| !cut).await.is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_cut_swallows_in_both_directions_and_a_mended_network_goes_on() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::to(server.local_addr().unwrap().port()).await.unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        let (mut peer, _) = server.accept().await.unwrap();
        let mut byte = [0];
        client.write_all(b"a").await.unwrap();
        peer.read_exact(&mut byte).await.unwrap();

        proxy.cut(true);
        client.write_all(b"b").await.unwrap();
        peer.write_all(b"c").await.unwrap();
        let moment = Duration::from_millis(50);
        assert!(timeout(moment, peer.read_exact(&mut byte)).await.is_err(), "a byte came through");
        assert!(timeout(moment, client.read_exact(&mut byte)).await.is_err(), "a byte came back");
        let mut second = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        assert!(timeout(moment, server.accept()).await.is_err(), "a connection came through");

        proxy.cut(false);
        peer.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"b");
        client.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"c");
        let (mut other, _) = server.accept().await.unwrap();
        second.write_all(b"d").await.unwrap();
        other.read_exact(&mut byte).await.unwrap();
        drop(client);
        assert_eq!(peer.read(&mut byte).await.unwrap(), 0, "the end is passed on");
    }
}
