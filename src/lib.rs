//! hearken: a self-hosted service for audio understanding as asynchronous tasks.
//!
//! A client submits audio with a prompt and gets a task at once. The task is an actor (`actors::task`). It calls an
//! [`upstream`], turns the answer into OpenAI's chunks and appends them to a [log](task::ChunkLog). Any number of
//! subscribers read that log, each from its own position. A later query gets the whole ChatCompletion from the
//! [`store`].
//!
//! The documents in `docs/` tell users how to run hearken, and `docs/concepts.md` has a picture of its parts. This page
//! tells developers how hearken is built. A module of the crate is called a room. A commit that changes something
//! described here must change this page, too.
//!
//! # The map, in reading order
//!
//! | where | what |
//! |---|---|
//! | [`error`] | the one table of error codes; [`Failure`](error::Failure), the value that becomes an HTTP error, a task's `error` and an `error` frame |
//! | [`wire`] | the JSON, event streams and [trace headers](wire::trace_context) that clients and upstreams see: types and framing only |
//! | [`task`] | tasks, as values: [submission](task::Submission), [idempotency](task::Idempotency), [life](task::Life), [outcome](task::Outcome), [answer](task::Answer) and its [stored form](task::Completion), its [entries](task::Entry), their [formats](task::Format) and records (`record`), their [log](task::ChunkLog) and its [form after the end](task::ColdLog), [snapshot](task::Snapshot), [request](task::Request), [recovery](task::RecoveryFacts), [spans](task::SpanPart) |
//! | [`audio`] | sources of audio, the [gate](audio::Gate) that decides which URLs may be downloaded, decoding of base64 (`base64`), the place of the [bytes](audio::AudioBytes). `src/audio/format` has one file for each file format, with the facts about its bytes. The files around it answer questions: [the format of a file](audio::recognise()), [why a file is not audio](audio::NoAudio), where its sound is, [how long it lasts](audio::stated_duration) |
//! | [`channel`] | configured ways to serve models, as values: what each [accepts](channel::Channel), which channels could serve a request ([choose](channel::choose())), which task runs next ([queue](channel::Queue)), what follows a failed call ([retry policy](channel::RetryPolicy)), when a channel gets no calls ([breaker](channel::Breaker)) |
//! | [`net`] | outgoing connections: what they may [reach](net::Reach), and how a response [begins](net::BadHead) and [ends](net::HttpClient), with TLS and without |
//! | [`upstream`] | the [kinds](upstream::KINDS) of channels, each a folder with its keys, defaults, limits and names for spans: `gemini`, `openai` and `transcription` (which share `openai_wire`), `local`; lenient JSON (`lenient`), halves of characters (`surrogates`) and errors (`complaint`) for all kinds that use HTTP; deadlines for every call |
//! | [`inspect`] | the engine of the embedded channel: decodes and measures sound |
//! | [`store`] | all data that outlives the process, behind traits ([`TaskStore`](store::TaskStore) and its neighbours) that any backend can implement: SQLite behind a writer that commits several writes together, audio in rows and in the [spool](store#spool), the journals; what happens when the disk [fails](store#when-the-disk-fails) |
//! | [`fetch`] | downloads the audio behind a URL, through the gate and within limits, to the spool |
//! | [`trace`] | [spans](task::SpanPart) of requests and tasks, and their export by OTLP |
//! | [`deadline`] | deadlines by a [clock](deadline::Clock) that stops while its thread is frozen, so that a freeze of this process does not count against the other side; all code that waits for another side uses them |
//! | [`keys`] | API keys: how they are made and compared, what each [may still do](keys::Allowance), and its [revocation](keys::Revocation) |
//! | [`logging`] | the log on standard error: a bounded queue and a thread that writes, so that no request waits for the log's reader |
//! | [`secret`] | secrets as types that do not print: [`Secret`](secret::Secret), and [`KeyHash`](secret::KeyHash), which identifies the owner of a task |
//! | [`random`] | random texts |
//! | [`pattern`] | model names and globs |
//! | [`setting`] | tools with which a room reads its keys of the configuration and reports an invalid one |
//! | [`panics`] | panics of third-party code that are caught and not logged |
//! | [`memory`] | limits on memory that several callers share: [`Memory`](memory::Memory), and the memory for [responses](memory::ResponseMemory) |
//! | [`metrics`] | counters, [incremented](metrics::Metrics) where the event happens, and levels, [read](metrics::Now) from their owner at each scrape |
//! | [`actors`] | `TaskActor`, one for each task; [`Registry`](actors::Registry), [`Dispatcher`](actors::Dispatcher), and [`Tasks`](actors::Tasks), the handle that all other rooms use |
//! | [`fanout`] | sends a chunk log to any number of subscribers: as a body (`fanout::body`), or over a connection (`fanout::socket`) that a pump (`fanout::pump`) has taken over |
//! | [`api`] | the URL table, extractors, handlers. Each way to submit is called a door: it reads its body (`api::reading`) into a [submission](task::Submission) and answers its caller (`api::answer`). `openapi` describes the URL table and `reference` shows the description; `page` serves the page for browsers, whose files are in `src/page`: `page.js` shows one view at a time, and the head of each file states its job |
//! | [`config`] | turns file, environment and flags into one checked [`Config`](config::Config), which contains the settings of all rooms. Each room owns its keys, their defaults and their checks |
//! | [`server`] | starts and drains all rooms; its entrance accepts connections: plain HTTP/1, or HTTP/1 and HTTP/2 over TLS, with a [certificate](server::Certificate) that may change |
//! | [`client`] | a client of hearken's own HTTP interface, with its [profile](client::Profile) and a [reader](client::StreamReader) that resumes; it prints nothing |
//! | [`cli`] | the commands; only `submit` uses the [`client`] |
//! | [`fake_upstream`] | the upstreams of `hearken fake-upstream`, which answer or fail as a script says. Only [`cli`] uses this room, and this room uses no other |
//!
//! # The walls
//!
//! Each line has a room and everything that it uses: rooms further up in this list, the libraries for actors, network
//! and disk, and parts of the system (`arbiters`, `clock`, `disk`, `environment`, `sockets`, `stderr`). A test reads
//! the source and compares it with this list. The modules of a room are private, and other rooms use only what the room
//! exports. The exception is `wire`: other rooms use its modules, one for each external format.
//!
//! ```text
//! error ->
//! panics ->
//! pattern ->
//! random ->
//! secret ->
//! setting -> secret, environment
//! deadline -> clock
//! wire -> error
//! audio -> error, panics
//! inspect -> panics, audio
//! keys -> error, pattern, random, secret, setting
//! memory -> error, secret, setting, deadline
//! metrics -> error, clock, disk
//! logging -> panics, setting, clock, stderr
//! task -> error, random, secret, wire, audio, clock
//! net -> deadline, audio, actix_http, actix_rt, actix_tls, actix_web, awc, rustls, tokio_rustls, sockets
//! upstream -> error, random, secret, setting, deadline, wire, audio, inspect, task, net, actix_rt, actix_web, awc, clock
//! channel -> error, pattern, secret, setting, wire, audio, metrics, task, upstream
//! trace -> secret, setting, deadline, wire, task, net, upstream, actix_rt, awc, clock
//! store -> error, secret, setting, audio, keys, metrics, task, actix_rt, rusqlite, tempfile, clock, disk
//! fetch -> error, setting, deadline, audio, net, store, actix_rt, actix_web, awc
//! actors -> error, random, secret, setting, deadline, wire, audio, keys, memory, metrics, task, upstream, channel, trace, store, fetch, actix, actix_rt, clock
//! fanout -> setting, deadline, wire, keys, metrics, task, actix_rt, mio, clock, sockets
//! api -> error, random, secret, setting, deadline, wire, audio, keys, memory, metrics, task, net, channel, trace, actors, fanout, actix_web, actix_web_lab, clock
//! config -> setting, keys, memory, logging, upstream, channel, trace, store, fetch, actors, fanout, api, disk
//! server -> deadline, keys, memory, metrics, logging, task, channel, trace, store, fetch, actors, fanout, api, config, actix, actix_http, actix_rt, actix_server, actix_service, actix_web, actix_web_lab, h2, rustls, socket2, tokio_rustls, arbiters, clock, disk, sockets
//! client -> secret, setting, deadline, wire, audio, net, actix_tls, awc, rustls, tempfile, clock, disk, environment
//! fake_upstream -> actix, actix_multipart, actix_web, clock, sockets
//! cli -> random, secret, wire, keys, logging, task, upstream, channel, store, fetch, config, server, client, fake_upstream, actix_rt, clock, disk, environment, stderr
//! ```
//!
//! # The way of one task
//!
//! 1. `api::caller` recognises the key. `api::body` reads the body within its limit and its share of memory
//!    (`api::payload_memory`). [`Submission`](task::Submission) checks it field by field, and
//!    [`AudioSource`](audio::AudioSource) checks the audio, whose base64 is decoded in place.
//! 2. [`Tasks::submit`](actors::Tasks::submit) looks for the task of an earlier submit with the same `Idempotency-Key`.
//!    For a new task, [`channel::choose`] selects the channels that could serve the model. A failure up to this point
//!    is the response to the request. Then `Tasks::submit` sends `Accept` to the registry. The registry gets a permit
//!    (a slot of one of the best channels) or a place in the queue from the dispatcher, and writes audio and task to
//!    the store: small audio in the commit of its task, large audio before it. When both are on the disk, a `TaskActor`
//!    begins on a task arbiter. From now on the client may disconnect. Only a client that disconnects from a blocking
//!    call cancels the task; the line that does so is in [`Tasks::submit`](actors::Tasks::submit).
//! 3. With a permit the actor gets the audio. Small audio that has just arrived is in memory, other audio is in the
//!    store (a row or a file), and a download is in a file that [`fetch`] writes. The upstream call sends the audio
//!    from there, one piece (`body`) at a time, as base64 if the kind of the channel needs that. `upstream::deadlines`
//!    limits the call. While no part of an answer has been seen, another call follows a failed call, either of the same
//!    channel or, with another permit, of the next channel. The [`RetryPolicy`](channel::RetryPolicy) decides, and the
//!    actor carries it out (`actors::task::calls`).
//! 4. Each read from the upstream arrives as a batch of events. Texts are added to the [`Answer`](task::Answer). Its
//!    log keeps each text as an entry and encodes it as a frame, in the format of the door that submitted the task.
//!    Entries are written to the [journal](store::ChunkJournal) before they are published: one write and one wake-up
//!    per batch.
//! 5. A subscriber is a position (`fanout::cursor`) in the log and a [format](task::Format). `api::stream` answers the
//!    subscriber's request. After the response has begun, a pump (`fanout::pump`) takes over a connection without TLS.
//!    The pump writes all frames from the position on in one piece, without a message to the actor, and waits on the
//!    log's watch when there are none. Over TLS the response's body (`fanout::body`) does the same when the HTTP server
//!    asks for more.
//! 6. [`Life`](task::Life) decides once how the task ends. The outcome is made durable; only then are the finish chunk,
//!    the terminal frame and the final status shown.
//! 7. Then the actor stops. The registry keeps the chunks, copied into [one buffer](task::ColdLog), until their
//!    retention ends. Chunks for which memory has no room, or which are requested in another format, are encoded again
//!    from the journal, a small part at a time. The store answers all other requests.
//!
//! If the process dies before the end, `actors::recovery` resumes the task at the next start, before new tasks are
//! accepted. [`RecoveryFacts`](task::RecoveryFacts) decides whether the task runs again. If the server drains while the
//! task has neither ended nor published a chunk, the task is parked: readers are disconnected, and the next start
//! resumes the task.
//!
//! # Invariants
//!
//! - An acknowledged task is durable, with its audio. An announced outcome is durable. Each task has one outcome, and
//!   only the store decides which one.
//! - No wait for durability is endless. After a few seconds without a commit the task is
//!   [stalled](task::Mark::stalled), and its callers get an error. The outcome is recorded as soon as the store can.
//! - The store writes to the files that it opened at the start. A commit that those files do not contain is not
//!   announced. After the store has found damage in the database, it neither reads nor writes the database. Audio and
//!   chunks from a disk are sent only if they match the checksum with which they were written.
//! - No upstream is called for a task that is not durable, and no client can see such a task.
//! - A chunk that a subscriber has seen is in the journal, so a kill of the process does not lose it.
//! - While its task runs, a frame is encoded once in each format. The content of a chunk log never changes. Readers
//!   hold positions, never queues and never frames, so a slow, stuck or disconnected reader costs the others nothing.
//! - No chunk is published before the upstream's first text. Until then a failure can still be an HTTP error, and
//!   another call can still be made; after that, no further call is made.
//! - A slot is a `Permit` (`actors::dispatcher`) that one task holds. Dropping the permit returns the slot in every
//!   case, unless work that cannot stop at once still has a [`Hold`](upstream::Hold) on it. The embedded channel
//!   measures on its own threads, which are never more than its slots. The queue for a slot has at most
//!   `limits.max_pending_tasks` tasks, plus the tasks that come from another channel.
//! - The handlers use only [`Tasks`](actors::Tasks), and no address of an actor. Only the room [`actors`] distinguishes
//!   whether an answer came from an actor or from the store.
//! - If a task's actor panics, its departure message is dropped. This notifies the registry, and a successor ends the
//!   task with `internal_error` on the same log. Other tasks are not affected. A successor that panics has no
//!   successor.
//! - Every connection to a submitted URL goes through [`net::Reach`], to an address that [`audio::Gate`] allows. There
//!   is no other way to make such a connection.
//! - Audio is in memory only while it is received, or if it is small. The holder of a large body also holds the body's
//!   share of the memory for payloads.
//! - [`task`], [`wire`] and [`audio`] use no actor, no network and no disk; only [`task::Timestamp`] reads a clock.
//!   [`channel`] names the upstream of a channel and does not call it; its callers pass the time to it.
//! - In a server, only [`setting`] reads the environment, and only [`logging`] writes to standard error. Only [`store`]
//!   accesses a disk, except that [`config`] and [`server`] read the files of configuration and certificate, and
//!   [`metrics`] reads `/proc`. The store blocks no other thread, except that task arbiters make, write and read the
//!   files of the journal, in the page cache. Only [`server`] starts arbiters, and only `api::reply` turns a failure
//!   into HTTP.
//! - Large audio is parsed, written and checked by at most half of the cores at a time, so that small requests
//!   find a free core.
//! - Every queue has a bound, and the bound is defined where it is enforced. Clippy bans `do_send` and unbounded
//!   channels.
//! - Upstreams get the submitter's trace context, because the operator has chosen them. Hosts of submitted URLs do not
//!   get it.
//! - A span is made from values after its work has ended. A slow or absent collector delays nothing.
//! - The memory of each connection without a key is bounded: heads of requests, streams, bytes that were received and
//!   not read, bytes that the client has not received. Its time is bounded, too: each head and each body has its own
//!   deadline. The number of connections from one address is also bounded.
//! - Revoking a key ends all work for this key: streams, uploads, waiting calls. Before a revocation, the check costs
//!   nothing per event.
//! - An HTTP/1 client that has closed only its sending side still gets its responses. It counts as disconnected when
//!   its system refuses the data that hearken writes.
//! - A response that may be large takes its share of [`ResponseMemory`](memory::ResponseMemory) before its parts are
//!   read, and holds the share until it is sent. The responses of one key take at most half. The HTTP server gets every
//!   body in [pieces](net::Pieces), because it copies each piece that it gets. Metrics (`api::metrics`), which need no
//!   key, take no share: their texts are dropped after a time, even if they were not read.
//! - A freeze of this process does not count as a fault of the other side: a socket is read before a [`deadline`] is
//!   checked, and a deadline moves by the time for which its thread was frozen. The timers of actix-http for heads and
//!   idle connections, and those of awc, are off.
//! - Malformed data next to an answer's text never makes the answer fail: `upstream::lenient` reads replies, and
//!   replies are never parsed into types.
//! - Counting costs one atomic operation for each task, call, batch of chunks, commit or subscription, and none for a
//!   subscriber's event. Levels are read from their owner at each scrape; a gauge is incremented and decremented only
//!   where one guard does both.
//! - Secrets have types that do not print ([`Secret`](secret::Secret), [`KeyHash`](secret::KeyHash)). An upstream's
//!   texts pass `upstream::redact` before they are shown or logged. The only key that is unencrypted on a disk is in
//!   the [login file](client::Login) of `hearken login`, which only its owner can read.

pub mod actors;
pub mod api;
pub mod audio;
pub mod channel;
pub mod cli;
pub mod client;
pub mod config;
pub mod deadline;
pub mod error;
pub mod fake_upstream;
pub mod fanout;
pub mod fetch;
pub mod inspect;
pub mod keys;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod net;
pub mod panics;
pub mod pattern;
pub mod random;
pub mod secret;
pub mod server;
pub mod setting;
pub mod store;
pub mod task;
pub mod trace;
pub mod upstream;
pub mod wire;
