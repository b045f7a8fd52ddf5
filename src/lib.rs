//! hearken: a self-hosted service for audio understanding as asynchronous tasks.
//!
//! A client submits audio with a prompt and gets a task at once. The task is an actor (`actors::task`) that
//! calls an [`upstream`], turns what comes back into OpenAI's chunks and appends them to a
//! [log](task::ChunkLog). Any number of subscribers read that log, each from its own position; a later
//! query gets the whole ChatCompletion from the [`store`].
//!
//! The README tells users how to run it. This page tells developers how it is made; it is kept true in the
//! commit that changes it.
//!
//! # The map, in reading order
//!
//! | where | what |
//! |---|---|
//! | [`error`] | the one table of error codes; [`Failure`](error::Failure), the value that becomes an HTTP error, a task's `error` and an `error` frame |
//! | [`wire`] | the JSON, event streams and [trace headers](wire::trace_context) that outsiders see: types and framing only |
//! | [`task`] | what a task is, as values: [submission](task::Submission), [idempotency](task::Idempotency), [life](task::Life), [outcome](task::Outcome), [answer](task::Answer), its [entries](task::Entry), their [formats](task::Format) and records (`record`), the [log](task::ChunkLog) of them and [what stays of it](task::ColdLog), [snapshot](task::Snapshot), [request](task::Request), [recovery](task::RecoveryFacts), [spans](task::SpanPart) |
//! | [`audio`] | where audio comes from, which URLs may be [fetched from](audio::Gate), how base64 is decoded (`base64`), where its [bytes](audio::AudioBytes) are; what the bytes of files are known by is in `src/audio/format`, one file for each format, and what is asked of them is around it: [what they are](audio::recognise()), [why they are no audio](audio::NoAudio), where their sound lies, [how long it lasts](audio::stated_duration) |
//! | [`channel`] | configured ways to serve models, as values: what each [takes](channel::Channel), which could serve a request ([choose](channel::choose())), who runs next ([queue](channel::Queue)), what follows a failed call ([retry policy](channel::RetryPolicy)), what is left alone ([breaker](channel::Breaker)) |
//! | [`net`] | outgoing connections: what they may [reach](net::Reach), and how a response [begins](net::BadHead) and [ends](net::HttpClient), over TLS or not |
//! | [`upstream`] | the [kinds](upstream::KINDS) of channels, each a folder with its keys, defaults, bounds and words for spans: `gemini`, `openai` and `transcription` over what both share (`openai_wire`), `local`; lenient JSON (`lenient`), halves of characters (`surrogates`) and errors (`complaint`) for all that speak HTTP; deadlines around any |
//! | [`inspect`] | the engine of the embedded channel: decodes and measures sound |
//! | [`store`] | what outlives the process, behind promises ([`TaskStore`](store::TaskStore) and its neighbours) that any backend can hold: SQLite behind a writer that shares commits, audio in rows and in the [spool](store#spool), the journals; whether the disk [does its part](store#when-the-disk-does-not-do-its-part) |
//! | [`fetch`] | downloads the audio behind a URL, through the gate and within limits, to the spool |
//! | [`trace`] | what is recorded of requests and tasks as [spans](task::SpanPart), and exported by OTLP |
//! | [`deadline`] | deadlines by a [clock](deadline::Clock) that stands still while its thread does, so that the other side is not blamed for a freeze of this process; whatever waits for another side uses them |
//! | [`keys`] | API keys: made, compared; what each [may still do](keys::Allowance), and whether it was [revoked](keys::Revocation) |
//! | [`logging`] | the log on standard error: a queue with a bound and a thread that writes, so that no request waits for its reader |
//! | [`secret`] | secrets as types that do not print: [`Secret`](secret::Secret), and [`KeyHash`](secret::KeyHash), which names the owner of a task |
//! | [`random`] | random texts |
//! | [`pattern`] | model names and globs |
//! | [`setting`] | what a room needs to read its keys of the configuration and to say what is wrong with one |
//! | [`panics`] | panics of third-party code that are caught and not logged |
//! | [`memory`] | memory that several callers share: [`Memory`](memory::Memory), and what [responses](memory::ResponseMemory) may take of it |
//! | [`metrics`] | what is [counted](metrics::Metrics) where it happens, and what is asked [now](metrics::Now) of its owner |
//! | [`actors`] | `TaskActor`, one for each task; [`Registry`](actors::Registry), [`Dispatcher`](actors::Dispatcher), and [`Tasks`](actors::Tasks), the handle that everybody else uses |
//! | [`fanout`] | from a chunk log to any number of subscribers: as a body (`fanout::body`), or over a connection that was handed over (`fanout::socket`) to a pump (`fanout::pump`) |
//! | [`api`] | the URL table, extractors, handlers; each way to submit is a door: its body is read (`api::reading`) into a [submission](task::Submission), and its caller answered (`api::answer`); `openapi` describes what the table serves, `reference` shows that; `page` gives out the page in the browser, whose files are in `src/page`: `page.js` shows one view at a time, and each file says at its head what it is for |
//! | [`config`] | file, environment and flags become one checked [`Config`](config::Config): it assembles the settings of all rooms, each of which owns its keys, their defaults and their checks |
//! | [`server`] | starts all of it and drains it again; its entrance takes connections in: plain HTTP/1, or over TLS, with a [certificate](server::Certificate) that may change, HTTP/1 or HTTP/2 |
//! | [`client`] | the other side: a client of hearken's own HTTP interface, with its [profile](client::Profile) and a [reader](client::Following) that resumes; it prints nothing |
//! | [`cli`] | the commands; `submit` is the one with a [`client`] |
//! | [`fake_upstream`] | what `hearken fake-upstream` runs: upstreams that answer well or in whatever way goes wrong, as a script says; nothing else knows it, and it knows nothing else |
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
//! 1. `api::caller` recognises the key. `api::body` reads the body within its bound and its share of
//!    memory (`api::payload_memory`), [`Submission`](task::Submission) judges it field by field, [`AudioSource`](audio::AudioSource) judges the
//!    audio: its base64 is decoded in the place where it was received.
//! 2. [`Tasks::submit`](actors::Tasks::submit) looks for the task of an earlier submit with the same `Idempotency-Key`.
//!    For a new task it asks [`channel::choose`] which channels could serve the model; whatever fails up to here is an
//!    answer at once. It sends `Accept` to the registry, which asks the dispatcher for a permit (a
//!    slot of whichever of the best channels has one) or a place in the line, writes audio and task to the store (small
//!    audio in the commit of its task, large audio before it), and when both are on the disk lets a `TaskActor` on a
//!    task arbiter begin. From here on the client may leave: only a blocking call cancels
//!    by leaving, and the line that does so is in [`Tasks::submit`](actors::Tasks::submit).
//! 3. With a permit the actor gets hold of the audio: what is small and came just now is in memory, anything else in the store
//!    (a row or a file), and a download in a file that [`fetch`] writes. The upstream call sends it from there, a piece (`body`) at a time, as
//!    base64 where its kind takes that. `upstream::deadlines` stands around the call. As long as nothing of an answer
//!    was seen, a call that fails is followed by another, of the same channel or, with a permit of its own, of the next
//!    one: the [`RetryPolicy`](channel::RetryPolicy) decides, the actor carries it out (`actors::task::calls`).
//! 4. What each read brought arrives as a batch of events. Texts go into the [`Answer`](task::Answer),
//!    whose log keeps each as an entry, and encodes it as a frame of the format of the door that submitted. Before
//!    entries are published they are written to the [journal](store::ChunkJournal); one write and one wake per batch.
//! 5. A subscriber is a position (`fanout::cursor`) in the log and a [format](task::Format). `api::stream` answers it; once its response has begun
//!    a plain connection is handed over to a pump (`fanout::pump`), which writes to it all frames from its position on in
//!    one piece, without asking the actor, and waits on the log's watch when there are none. Over TLS the response's
//!    body (`fanout::body`) does the same, whenever it is asked for more.
//! 6. However the task ends, [`Life`](task::Life) decides once; the outcome is made durable, and only then
//!    are the finish chunk, the terminal frame and the final status shown.
//! 7. Then the actor goes. It leaves the chunks to the registry, copied into [one piece](task::ColdLog), until their
//!    retention has passed; what has no room in memory, or is asked for in another format, is encoded again from the
//!    journal, a small part at a time. Any other question is answered by the store.
//!
//! If the process dies on the way, `actors::recovery` takes the task up at the next start, before anything new is
//! accepted; [`RecoveryFacts`](task::RecoveryFacts) says whether it runs again. If the server drains and the task neither ends nor has
//! shown anything, its life is parked: readers break off, and the next start takes it up.
//!
//! # Invariants
//!
//! - A task that was acknowledged is durable, its audio with it; an outcome that was announced is durable. There is
//!   one outcome, and only the store can say which.
//! - Nothing waits for durability without end: what cannot be recorded for a few seconds is
//!   [stalled](task::Mark::stalled), which its callers are told; it is recorded as soon as it can be.
//! - What is written is written to the files that were opened at the start, and a commit that they do not hold is not
//!   told. Once damage was met in the database, nothing is read from it or written to it. Audio and chunks that are read
//!   from a disk to be sent anywhere have the checksum that they were written with.
//! - No upstream is asked for a task that is not durable, and no client can find one.
//! - What a subscriber has seen is in the journal; a kill does not take it back.
//! - A frame is encoded once in each format, as long as its task runs. What is in a chunk log never changes. Readers hold positions, never queues
//!   and never frames: a slow, stuck or gone reader costs nobody anything.
//! - No chunk is published before the upstream's first text: until then a failure can still be an HTTP error, and
//!   another call can still be made. After it there is none.
//! - A slot is a `Permit` (`actors::dispatcher`) that one task holds: dropping it gives it back, whatever happened
//!   to its task, unless work that cannot stop at once still has a [`Hold`](upstream::Hold) on it. The embedded channel
//!   measures on threads of its own, no more than it has slots. The line of a slot is as long as `limits.max_pending_tasks` and those who have left another channel.
//! - The handlers know [`Tasks`](actors::Tasks), not addresses. Whether an answer came from an actor or from the
//!   store is a secret of [`actors`].
//! - If a task's actor panics, its dropped departure tells the registry, and a successor ends the task with
//!   `internal_error` on the same log. Nothing else notices. A successor that panics, too, gets none.
//! - Every connection that a stranger's URL causes goes through [`net::Reach`], to an address that [`audio::Gate`]
//!   allows. There is no other way to make one.
//! - No audio is held in memory but while it is received, or small. Whoever holds a large body holds its share of
//!   the memory for payloads with it.
//! - [`task`], [`wire`] and [`audio`] know no actor, no network and no disk; only [`task::Timestamp`] reads a clock.
//!   [`channel`] names the upstream that stands behind one and calls none; the time that it decides by is passed in.
//! - In a server, only [`setting`] reads the environment, only [`logging`] writes to standard error, only [`store`]
//!   touches a disk, where it blocks nobody but for the journal, which is made, written to and read in the page cache,
//!   but for the files of
//!   configuration and certificate; only [`server`] starts arbiters, only `api::reply` turns a failure into HTTP.
//! - Large audio is parsed, written and checked in turns, by at most half of the cores: small requests find a core.
//! - Every queue has a bound, and the bound stands where it is enforced. `do_send` and unbounded channels are
//!   banned by clippy.
//! - Upstreams, whom the operator has chosen, are told of the submitter's trace; hosts that audio is fetched from are not.
//! - A span is made of values when its work has ended; who collects them can be slow or gone, and nothing waits.
//! - What a client may keep in memory of each connection without a key is bounded: heads of requests, streams,
//!   what they send before it is read, and what they are sent before they take it. So is their time: each head of a
//!   connection, and each body, has to arrive within its own. And so is the number of connections of an address.
//! - A key that is revoked ends what goes on in its name: streams, uploads, calls that wait. Until then this costs nothing
//!   for an event.
//! - A client that has ended its side of an HTTP/1 connection has not left: it gets what it has asked for. It has left
//!   when its system refuses what is written.
//! - A response that may be large takes its share of [`ResponseMemory`](memory::ResponseMemory) before its parts are read,
//!   and holds it until it is sent; the responses of one key take at most half. The HTTP server gets any body in
//!   [pieces](net::Pieces): it copies what it is given.
//!   Metrics (`api::metrics`), which need no key, take no share: their texts are dropped after a time, read or not.
//! - A freeze of this process is not taken for a fault of the other side: what lies in a socket is read before a
//!   [`deadline`] is judged, and a deadline moves by the time for which its thread stood still. The timers of
//!   actix-http for heads and idle connections, and those of awc, are off.
//! - What stands beside an answer's text never costs the answer: replies are looked into with `upstream::lenient`, and never
//!   parsed into types.
//! - What is counted costs an atomic once for a task, a call, a batch of chunks, a commit or a subscription, and nothing
//!   for an event of a subscriber. What is, is asked of its owner by whoever looks: no gauge is kept by adding and taking
//!   off, but where a guard does both.
//! - Secrets have types that do not print ([`Secret`](secret::Secret), [`KeyHash`](secret::KeyHash)); an
//!   upstream's words pass `upstream::redact` before anybody sees them. The one key on a disk in the clear is its
//!   owner's, in the [login file](client::Login) of `hearken login`, which nobody else may read.

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
