//! Ways between a process and a store that a test can cut: one proxy a process and store, so that one process or all of
//! them lose it, or have it far away.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
};

/// What a way does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Passes them on.
    Open,
    /// Passes them on so much later, in each direction: the store is far away.
    Far(Duration),
    /// Swallows them: connections stay, and new ones are taken, but nothing goes through until it is open again. What
    /// was on its way arrives then, late.
    Silent,
    /// Breaks every connection, and every new one at once.
    Broken,
}

impl Way {
    /// How much later it passes bytes on, if it does.
    const fn passes(self) -> Option<Duration> {
        match self {
            Self::Open => Some(Duration::ZERO),
            Self::Far(after) => Some(after),
            Self::Silent | Self::Broken => None,
        }
    }
}

/// A store that processes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// The broker.
    Nats,
    /// The truth.
    Postgres,
    /// The fast memory.
    Redis,
}

/// The ways from one process to one store.
#[derive(Debug)]
pub struct Proxy {
    /// Whose: `e1`, `w2`.
    pub process: String,
    /// To what.
    pub store: Store,
    way: watch::Sender<Way>,
}

impl Proxy {
    /// Opens one to where `url` leads; gives back the URL that leads through it.
    ///
    /// # Errors
    /// When it cannot listen, or the URL names no host and port.
    pub async fn open(process: &str, store: Store, url: &str) -> anyhow::Result<(Self, String)> {
        let target = host_and_port(url)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (way, ways) = watch::channel(Way::Open);
        tokio::spawn(accept(listener, target.to_owned(), ways));
        let through = url.replacen(target, &address.to_string(), 1);
        Ok((Self { process: process.to_owned(), store, way }, through))
    }

    /// From now on.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

fn host_and_port(url: &str) -> anyhow::Result<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let target = authority.rsplit('@').next().unwrap_or(authority);
    anyhow::ensure!(target.contains(':'), "expected a host and port in the URL, found neither");
    Ok(target)
}

async fn accept(listener: TcpListener, target: String, way: watch::Receiver<Way>) {
    // Ends with the proxy, or the test's runtime.
    while let Ok((near, _)) = listener.accept().await
        && way.has_changed().is_ok()
    {
        tokio::spawn(connect(near, target.clone(), way.clone()));
    }
}

async fn connect(near: TcpStream, target: String, mut way: watch::Receiver<Way>) {
    // A connection taken in silence gets no further before the silence ends.
    let spoken = way.wait_for(|way| *way != Way::Silent).await.map(|way| *way);
    if !spoken.is_ok_and(|way| way.passes().is_some()) {
        return;
    }
    let Ok(far) = TcpStream::connect(&target).await else { return };
    near.set_nodelay(true).ok();
    far.set_nodelay(true).ok();
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let (there, back) = (pass(near_in, far_out, way.clone()), pass(far_in, near_out, way.clone()));
    tokio::select! {
        ((), ()) = async { tokio::join!(there, back) } => {}
        _ = way.wait_for(|way| *way == Way::Broken) => {}
    }
}

/// Passes bytes on one way until its end; in silence it holds what it has and reads no more.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if way.wait_for(|way| way.passes().is_some()).await.is_err() {
            return;
        }
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            // Looked at again: bytes that come in silence are not even read.
            changed = way.changed() => if changed.is_err() { return } else { continue },
        };
        match read {
            Ok(0) | Err(_) => break,
            Ok(n) => {
                let far = way.borrow().passes().unwrap_or_default();
                if !far.is_zero() {
                    tokio::time::sleep(far).await;
                }
                if way.wait_for(|way| way.passes().is_some()).await.is_err()
                    || to.write_all(&buffer[..n]).await.is_err()
                {
                    break;
                }
            }
        }
    }
    to.shutdown().await.ok();
}
