//! Clients that each submit one task, all at once, and retry after a refusal when the server allows it.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use hearken::task::TaskId;
use serde::Deserialize;

use super::Outcome;
use super::kit::client::{Connection, ReplyRef};
use super::proc::{Attention, Stretch};
use super::tasks::{acknowledged, completed, unexpected};

/// How the server served a crowd.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    /// The number of submits that were answered `429 queue_full`.
    pub(crate) refused: usize,
    /// The time from the first byte until all were accepted.
    pub(crate) accepted: Duration,
    /// The time from the first byte until all tasks were completed.
    pub(crate) completed: Duration,
    /// The time account of the clients' threads while they submitted.
    pub(crate) generator: Attention,
}

/// Lets each of `clients` clients submit a task with this request, and waits until all tasks complete.
pub(crate) fn serve_crowd(server: SocketAddr, request: &[u8], clients: usize) -> Outcome<Served> {
    let connections = (0..clients).map(|_| Connection::open(server)).collect::<Outcome<Vec<_>>>()?;
    let barrier = Barrier::new(clients + 1);
    let (began, submitted) = thread::scope(|scope| {
        let clients: Vec<_> = connections
            .into_iter()
            .map(|connection| {
                scope.spawn(|| {
                    barrier.wait();
                    submit(connection, server, request)
                })
            })
            .collect();
        barrier.wait();
        let began = Instant::now();
        let submitted = clients.into_iter().map(|client| client.join().map_err(|_| "a thread panicked")?);
        Ok::<_, super::Error>((began, submitted.collect::<Outcome<Vec<_>>>()?))
    })?;
    let accepted = began.elapsed();
    let mut connection = Connection::open(server)?;
    for submitted in &submitted {
        completed(&mut connection, &submitted.task)?;
    }
    let refused = submitted.iter().map(|submitted| submitted.refused).sum();
    let generator = Attention::sum(submitted.iter().map(|submitted| submitted.attention));
    Ok(Served { refused, accepted, completed: began.elapsed(), generator })
}

/// The task of one client.
struct Submitted {
    task: TaskId,
    /// How often the submit was refused before.
    refused: usize,
    /// The time account of the submit that was accepted.
    attention: Attention,
}

fn submit(mut connection: Connection, server: SocketAddr, request: &[u8]) -> Outcome<Submitted> {
    let mut refused = 0;
    loop {
        let stretch = Stretch::begin()?;
        let reply = connection.upload(request)?;
        if reply.head.status == 200 {
            let attention = stretch.end()?;
            return Ok(Submitted { task: acknowledged(&reply)?, refused, attention });
        }
        let pause = refusal(&reply)?;
        refused += 1;
        thread::sleep(pause);
        connection = Connection::open(server)?;
    }
}

/// Returns when to retry after a refusal, which must be the promised one.
fn refusal(reply: &ReplyRef<'_>) -> Outcome<Duration> {
    #[derive(Deserialize)]
    struct Refusal<'a> {
        #[serde(borrow)]
        error: Code<'a>,
    }
    #[derive(Deserialize)]
    struct Code<'a> {
        code: &'a str,
    }
    let code = serde_json::from_slice::<Refusal<'_>>(reply.body).ok().map(|refusal| refusal.error.code);
    let is_promised = reply.head.status == 429 && code == Some("queue_full");
    let pause = reply.head.headers.number("retry-after")?.filter(|_| is_promised);
    pause.map(Duration::from_secs).ok_or_else(|| unexpected(reply))
}
