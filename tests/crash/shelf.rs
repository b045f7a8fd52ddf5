//! A host with the audio of every plan. The URL says what the audio is, and how slowly it is sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use crate::kit::Outcome;
use crate::kit::server::{Line, listen, reply_head};
use crate::plan::noise;

static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();

/// Starts the host once for all rounds.
pub(crate) fn open() {
    // A server that disconnects during the download was killed.
    let listener = listen(Ipv4Addr::LOCALHOST, |mut line| drop(serve(&mut line)));
    ADDRESS.get_or_init(|| listener.unwrap().address);
}

/// Returns the URL of a WAV that is made from this seed. It is sent in two halves with a pause between them.
pub(crate) fn url(seed: u64, bytes: usize, pause_ms: u64) -> String {
    let address = ADDRESS.get().unwrap();
    format!("http://{address}/{seed}/{bytes}/{pause_ms}")
}

/// Answers one request.
fn serve(line: &mut Line) -> Outcome<()> {
    let Some(request) = line.request()? else { return Ok(()) };
    let numbers = request.target.split('/').skip(1).map(str::parse::<u64>).collect::<Result<Vec<_>, _>>()?;
    let &[seed, bytes, pause_ms] = &numbers[..] else { return Err("no file".into()) };
    let wav = noise(seed, usize::try_from(bytes)?);
    let (first, second) = wav.split_at(wav.len() / 2);
    let head = reply_head(200, &[("content-length", &wav.len().to_string()), ("connection", "close")]);
    line.write([head.as_bytes(), first].concat())?;
    thread::sleep(Duration::from_millis(pause_ms));
    Ok(line.write(second)?)
}
