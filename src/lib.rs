//! hearken: a self-hosted service for audio understanding as asynchronous tasks.
//!
//! A client submits audio with a prompt and gets a task at once. The task is an actor (`actors::task`). It calls an
//! [`upstream`], turns the answer into OpenAI's chunks and appends them to a [log](task::ChunkLog). Any number of
//! subscribers read that log, each from its own position. A later query gets the whole ChatCompletion from the [`store`].
//!
//! The README tells users how to run it. This page tells developers how it is made. A commit that changes something
//! told here changes this page, too.
//!
//! # The map, in reading order
//!
//! | where | what |
//! |---|---|
//! | [`error`] | the one table of error codes; [`Failure`](error::Failure), the value that becomes an HTTP error, a task's `error` and an `error` frame |
//! | [`wire`] | the JSON, event streams and [trace headers](wire::trace_context) that outsiders see: types and framing only |
//! | [`task`] | what a task is, as values: [submission](task::Submission), [idempotency](task::Idempotency), [life](task::Life), [outcome](task::Outcome), [answer](task::Answer) and [its form at rest](task::Completion), its [entries](task::Entry), their [formats](task::Format) and records (`record`), their [log](task::ChunkLog) and [its remains](task::ColdLog) after the end, [snapshot](task::Snapshot), [request](task::Request), [recovery](task::RecoveryFacts), [spans](task::SpanPart) |
//! | [`audio`] | sources of audio, the URLs that may be [fetched from](audio::Gate), decoding of base64 (`base64`), the place of the [bytes](audio::AudioBytes). `src/audio/format` has one file for each file format, with the facts about its bytes; the questions stand around it: [what a file is](audio::recognise()), [why it is no audio](audio::NoAudio), where its sound lies, [how long it lasts](audio::stated_duration) |
//! | [`channel`] | configured ways to serve models, as values: what each [takes](channel::Channel), which ones could serve a request ([choose](channel::choose())), which task runs next ([queue](channel::Queue)), what follows a failed call ([retry policy](channel::RetryPolicy)), when a channel is left alone ([breaker](channel::Breaker)) |
//! | [`net`] | outgoing connections: what they may [reach](net::Reach), and how a response [begins](net::BadHead) and [ends](net::HttpClient), with TLS and without |
//! | [`upstream`] | the [kinds](upstream::KINDS) of channels, each a folder with its keys, defaults, bounds and words for spans: `gemini`, `openai` and `transcription` (which share `openai_wire`), `local`; lenient JSON (`lenient`), halves of characters (`surrogates`) and errors (`complaint`) for all kinds over HTTP; deadlines around every call |
//! | [`inspect`] | the engine of the embedded channel: decodes and measures sound |
//! | [`store`] | what outlives the process, behind promises ([`TaskStore`](store::TaskStore) and its neighbours) that any backend can hold: SQLite behind a writer that shares commits, audio in rows and in the [spool](store#spool), the journals; what happens when the disk [fails](store#when-the-disk-does-not-do-its-part) |
//! | [`fetch`] | downloads the audio behind a URL, through the gate and within limits, to the spool |
//! | [`trace`] | [spans](task::SpanPart) of requests and tasks, and their export by OTLP |
//! | [`deadline`] | deadlines by a [clock](deadline::Clock) that stands still while its thread does, so that the other side is not blamed for a freeze of this process; all code that waits for another side uses them |
//! | [`keys`] | API keys: made, compared; what each [may still do](keys::Allowance), and its [revocation](keys::Revocation) |
//! | [`logging`] | the log on standard error: a bounded queue and a thread that writes, so that no request waits for the log's reader |
//! | [`secret`] | secrets as types that do not print: [`Secret`](secret::Secret), and [`KeyHash`](secret::KeyHash), which identifies the owner of a task |
//! | [`random`] | random texts |
//! | [`pattern`] | model names and globs |
//! | [`setting`] | tools by which a room reads its keys of the configuration and says what is wrong with one |
//! | [`panics`] | panics of third-party code that are caught and not logged |
//! | [`memory`] | memory that several callers share: [`Memory`](memory::Memory), and what [responses](memory::ResponseMemory) may take of it |
//! | [`metrics`] | counters, [incremented](metrics::Metrics) where things happen, and levels, [read](metrics::Now) from their owner at each scrape |
//! | [`actors`] | `TaskActor`, one for each task; [`Registry`](actors::Registry), [`Dispatcher`](actors::Dispatcher), and [`Tasks`](actors::Tasks), the handle that all other rooms use |
//! | [`fanout`] | from a chunk log to any number of subscribers: as a body (`fanout::body`), or over a connection (`fanout::socket`) that a pump (`fanout::pump`) has taken over |
//! | [`api`] | the URL table, extractors, handlers; each way to submit is a door: it reads its body (`api::reading`) into a [submission](task::Submission) and answers its caller (`api::answer`); `openapi` describes the URL table and `reference` shows the description; `page` serves the page for browsers, whose files are in `src/page`: `page.js` shows one view at a time, and each file states its job at its head |
//! | [`config`] | file, environment and flags become one checked [`Config`](config::Config): it assembles the settings of all rooms, each of which owns its keys, their defaults and their checks |
//! | [`server`] | starts all rooms and drains them again; its entrance accepts connections: plain HTTP/1, or HTTP/1 and HTTP/2 over TLS, with a [certificate](server::Certificate) that may change |
//! | [`client`] | the other side: a client of hearken's own HTTP interface, with its [profile](client::Profile) and a [reader](client::Following) that resumes; it prints nothing |
//! | [`cli`] | the commands; `submit` is the one with a [`client`] |
//! | [`fake_upstream`] | what `hearken fake-upstream` runs: upstreams that answer or fail as a script says; only [`cli`] knows this room, and it knows no other |
//!
//! # The walls
//!
//! Each line has a room and all that it uses: rooms further up in this list, the libraries of actors, network and disk, and
//! parts of the system (`arbiters`, `clock`, `disk`, `environment`, `sockets`, `stderr`). A test reads the source and
//! compares it with this list. The modules of a room are private: other rooms name what it exports. Only
//! `wire` is entered by its modules, one for each outside format.
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
//! 1. `api::caller` recognises the key. `api::body` reads the body within its bound and its share of memory
//!    (`api::payload_memory`). [`Submission`](task::Submission) checks it field by field, and
//!    [`AudioSource`](audio::AudioSource) checks the audio, whose base64 is decoded in place.
//! 2. [`Tasks::submit`](actors::Tasks::submit) looks for the task of an earlier submit with the same `Idempotency-Key`.
//!    For a new task it asks [`channel::choose`] which channels could serve the model. A failure up to here is the answer
//!    to the request. Then it sends `Accept` to the registry. The registry asks the dispatcher for a permit (a slot of one
//!    of the best channels) or a place in the line, and writes audio and task to the store: small audio in the commit of
//!    its task, large audio before it. When both are on the disk, a `TaskActor` begins on a task arbiter. From here on
//!    the client may leave. Only leaving a blocking call cancels the task; the line that does so is in
//!    [`Tasks::submit`](actors::Tasks::submit).
//! 3. With a permit the actor gets the audio: small audio that has just arrived is in memory, other audio in the store
//!    (a row or a file), and a download in a file that [`fetch`] writes. The upstream call sends it from there, one piece
//!    (`body`) at a time, as base64 where its kind takes that. `upstream::deadlines` limits the call. While no part of an
//!    answer has been seen, a failed call is followed by another: of the same channel or, with a permit of its own, of
//!    the next one. The [`RetryPolicy`](channel::RetryPolicy) decides, and the actor carries it out
//!    (`actors::task::calls`).
//! 4. Each read from the upstream arrives as a batch of events. Texts go into the [`Answer`](task::Answer). Its log keeps
//!    each text as an entry and encodes it as a frame, in the format of the door that submitted. Entries are written to
//!    the [journal](store::ChunkJournal) before they are published: one write and one wake-up per batch.
//! 5. A subscriber is a position (`fanout::cursor`) in the log and a [format](task::Format). `api::stream` answers its
//!    request. Once the response has begun, a pump (`fanout::pump`) takes a plain connection over. The pump writes all
//!    frames from the position on in one piece, without asking the actor, and waits on the log's watch when there are
//!    none. Over TLS the response's body (`fanout::body`) does the same when the HTTP server asks for more.
//! 6. [`Life`](task::Life) decides once how the task ends. The outcome is made durable; only then are the finish chunk,
//!    the terminal frame and the final status shown.
//! 7. Then the actor stops. It leaves the chunks to the registry, copied into [one piece](task::ColdLog), until their
//!    retention has passed. Chunks without room in memory, or requested in another format, are encoded again from the
//!    journal, a small part at a time. The store answers all other requests.
//!
//! If the process dies on the way, `actors::recovery` resumes the task at the next start, before new tasks are accepted;
//! [`RecoveryFacts`](task::RecoveryFacts) says whether it runs again. If the server drains while the task has neither
//! ended nor shown anything, its life is parked: readers are disconnected, and the next start resumes the task.
//!
//! # Invariants
//!
//! - An acknowledged task is durable, with its audio. An announced outcome is durable. Each task has one outcome, and only
//!   the store decides which.
//! - No wait for durability is endless: after a few seconds without a commit the task is [stalled](task::Mark::stalled)
//!   and its callers are told so. The outcome is recorded as soon as the store can.
//! - The store writes to the files that it opened at the start. A commit that those files do not hold is not announced.
//!   After damage in the database was seen, the database is neither read nor written. Audio and chunks from a disk are
//!   sent only if they have the checksum with which they were written.
//! - No upstream is asked for a task that is not durable, and no client can find one.
//! - A chunk that a subscriber has seen is in the journal; a kill does not take it back.
//! - While its task runs, a frame is encoded once in each format. The content of a chunk log never changes. Readers hold
//!   positions, never queues and never frames, so a slow, stuck or closed reader costs the others nothing.
//! - No chunk is published before the upstream's first text. Until then a failure can still be an HTTP error, and another
//!   call can still be made; from then on there is no further call.
//! - A slot is a `Permit` (`actors::dispatcher`) that one task holds. Dropping the permit returns the slot in every case,
//!   unless work that cannot stop at once still has a [`Hold`](upstream::Hold) on it. The embedded channel measures on
//!   threads of its own, no more than it has slots. The line of a slot has at most `limits.max_pending_tasks` tasks and
//!   those that have left another channel.
//! - The handlers know [`Tasks`](actors::Tasks), not addresses. Only [`actors`] knows whether an answer came from an actor
//!   or from the store.
//! - If a task's actor panics, its dropped departure tells the registry, and a successor ends the task with
//!   `internal_error` on the same log. Other tasks do not notice. A successor that panics has no successor.
//! - Every connection to a submitted URL goes through [`net::Reach`], to an address that [`audio::Gate`] allows. There is
//!   no other way to make one.
//! - Audio is in memory only while it is received, or if it is small. The holder of a large body also holds the body's
//!   share of the memory for payloads.
//! - [`task`], [`wire`] and [`audio`] know no actor, no network and no disk; only [`task::Timestamp`] reads a clock.
//!   [`channel`] names the upstream behind a channel and calls none; its callers pass the time to it.
//! - In a server, only [`setting`] reads the environment, and only [`logging`] writes to standard error. Only [`store`]
//!   touches a disk, except that [`config`] and [`server`] read the files of configuration and certificate, and
//!   [`metrics`] reads `/proc`. The store blocks no other thread, except that task arbiters make, write and read the files
//!   of the journal, in the page cache. Only [`server`] starts arbiters, and only `api::reply` turns a failure into HTTP.
//! - Large audio is parsed, written and checked in turns, by at most half of the cores: small requests find a core.
//! - Every queue has a bound, and the bound stands where it is enforced. Clippy bans `do_send` and unbounded channels.
//! - Upstreams, which the operator has chosen, get the submitter's trace context; hosts of submitted URLs do not.
//! - A span is made of values when its work has ended. A slow or absent collector delays nothing.
//! - The memory of each connection without a key is bounded: heads of requests, streams, bytes that were received and
//!   not read, bytes that the client has not taken. Its time is bounded, too: each head and each body has its own
//!   deadline. So is the number of connections from one address.
//! - Revoking a key ends all work in its name: streams, uploads, waiting calls. Until then no event costs anything for it.
//! - An HTTP/1 client that has ended its side of a connection is still there: it gets its answers. It has left when its
//!   system refuses what is written.
//! - A response that may be large takes its share of [`ResponseMemory`](memory::ResponseMemory) before its parts are read,
//!   and holds it until it is sent; the responses of one key take at most half. The HTTP server gets every body in
//!   [pieces](net::Pieces), because it copies what it is given. Metrics (`api::metrics`), which need no key, take no share:
//!   their texts are dropped after a time, read or unread.
//! - A freeze of this process does not count as a fault of the other side: a socket is read before a [`deadline`] is
//!   judged, and a deadline moves by the time for which its thread stood still. The timers of actix-http for heads and
//!   idle connections, and those of awc, are off.
//! - Malformed data beside an answer's text never costs the answer: `upstream::lenient` reads replies, and they are never
//!   parsed into types.
//! - Counting costs one atomic operation for a task, a call, a batch of chunks, a commit or a subscription, and none for a
//!   subscriber's event. Levels are read from their owner at each scrape; a gauge is incremented and decremented only
//!   where one guard does both.
//! - Secrets have types that do not print ([`Secret`](secret::Secret), [`KeyHash`](secret::KeyHash)). An upstream's words
//!   pass `upstream::redact` before they are shown or logged. The one key that is on a disk in the clear is that of the
//!   [login file](client::Login) of `hearken login`, which only its owner can read.

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
