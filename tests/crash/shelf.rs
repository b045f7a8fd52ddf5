//! A host that has the audio of every plan: what it is, and how slowly it comes, stands in the URL.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::plan::noise;

static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();

/// Starts it, once for all rounds.
pub(crate) async fn open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    ADDRESS.get_or_init(|| listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else { continue };
            tokio::spawn(serve(socket));
        }
    });
}

/// Where a WAV lies that is made from this seed; it comes in two halves with a pause between.
pub(crate) fn url(seed: u64, bytes: usize, pause_ms: u64) -> String {
    let address = ADDRESS.get().unwrap();
    format!("http://{address}/{seed}/{bytes}/{pause_ms}")
}

/// Answers one request. Whoever hangs up meanwhile was killed.
async fn serve(mut socket: TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut numbers = head.split(' ').nth(1)?.split('/').skip(1).map(str::parse::<u64>);
    let mut number = || numbers.next()?.ok();
    let (seed, bytes, pause_ms) = (number()?, usize::try_from(number()?).ok()?, number()?);
    let wav = noise(seed, bytes);
    let (first, second) = wav.split_at(wav.len() / 2);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", wav.len());
    socket.write_all(&[head.as_bytes(), first].concat()).await.ok()?;
    sleep(Duration::from_millis(pause_ms)).await;
    socket.write_all(second).await.ok()
}
