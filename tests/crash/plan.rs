//! A round as a value: every random choice is made here, from the seed and the round's number.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use crate::script::{End, Pause, Script, checksum};
use crate::shelf;

/// One round in this many has a data directory of its own, and keeps ended tasks only for seconds.
const BRIEF_EVERY: u32 = 10;
const BRIEF_OFFSET: u32 = 4;

/// What happens in one round.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) round: u32,
    /// True if ended tasks are kept only for seconds.
    pub(crate) brief: bool,
    /// How soon after its start a first server of this round is killed.
    pub(crate) killed_at_start: Option<Duration>,
    /// How long the server lives under load.
    pub(crate) life: Duration,
    /// When the upstream releases the answers that wait.
    pub(crate) release: Option<Duration>,
    pub(crate) ending: Ending,
    pub(crate) stories: Vec<Story>,
    pub(crate) lists: Vec<Listing>,
    /// Decides which older tasks are queried again.
    pub(crate) revisits: u64,
}

/// The way in which a server ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ending {
    Kill,
    Terminate {
        drain_seconds: u64,
    },
    /// The server continues in the next round.
    None,
}

/// One task from its submit on.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) at: Duration,
    pub(crate) order: Order,
    /// True if the same submit is sent twice at once.
    pub(crate) twin: bool,
    /// What clients do once the task is acknowledged, each after a while.
    pub(crate) actions: Vec<(Duration, Action)>,
}

/// A task as it is submitted.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) caller: Caller,
    pub(crate) delivery: Delivery,
    pub(crate) idempotency_key: Option<String>,
    audio_seed: u64,
    audio_bytes: usize,
    /// The audio is sent as a URL. The download takes at least this many milliseconds.
    download_ms: Option<u64>,
    pub(crate) script: Script,
}

/// The caller whose key is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Caller {
    Ada,
    Bob,
}

/// The way in which the answer is delivered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Delivery {
    Async {
        stream: bool,
    },
    /// The caller may disconnect before the answer comes.
    Blocking {
        leaves: Option<Duration>,
    },
    SyncStream(Reading),
}

/// An action on a task.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    Read(Reading),
    Ask { wait: Option<u32> },
    Cancel,
    Repeat,
}

/// The way in which a stream is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    /// The reader disconnects after this many frames.
    pub(crate) leaves_after: Option<u64>,
    pub(crate) back: Option<Return>,
}

/// The way in which a reader that disconnected comes back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Return {
    pub(crate) after: Duration,
    /// With `Last-Event-ID` instead of `offset`.
    pub(crate) by_header: bool,
    /// This many frames are read again.
    pub(crate) overlap: u64,
}

/// A request for the list of tasks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing {
    pub(crate) at: Duration,
    pub(crate) caller: Caller,
    pub(crate) limit: u32,
    pub(crate) status: Option<&'static str>,
}

impl Plan {
    /// Returns the plan of a round.
    pub(crate) fn new(seed: u64, round: u32) -> Self {
        // Neighbouring seeds must not share rounds.
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(round));
        let mut dice = Dice(StdRng::seed_from_u64(mixed));
        let brief = round % BRIEF_EVERY == BRIEF_OFFSET;
        let life = dice.millis(150, 800);
        let count = dice.between(15, 45);
        let stories = (0..count).map(|number| dice.story(&format!("r{round}n{number}"), life)).collect();
        Self {
            round,
            brief,
            killed_at_start: dice.one_in(5).then(|| dice.millis(0, 120)),
            life,
            release: dice.one_in(3).then(|| dice.up_to(life)),
            ending: if dice.one_in(6) {
                Ending::Terminate { drain_seconds: dice.between(0, 1) }
            } else {
                Ending::Kill
            },
            stories,
            lists: (0..dice.between(0, 3)).map(|_| dice.listing(life)).collect(),
            revisits: dice.0.random(),
        }
    }

    /// Returns the same round without an end of the server.
    pub(crate) fn calm(self) -> Self {
        Self { killed_at_start: None, ending: Ending::None, release: Some(self.life / 2), ..self }
    }
}

impl Caller {
    pub(crate) const ALL: [Self; 2] = [Self::Ada, Self::Bob];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ada => "ada",
            Self::Bob => "bob",
        }
    }

    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Ada => "sk-ada-5d1f0c77e2",
            Self::Bob => "sk-bob-90ab34c1d8",
        }
    }
}

impl Delivery {
    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::Async { stream: true } | Self::SyncStream(_))
    }

    pub(crate) fn is_blocking(self) -> bool {
        matches!(self, Self::Blocking { .. })
    }
}

impl Order {
    /// Returns a small asynchronous task that waits at the upstream until it is released.
    pub(crate) fn held(token: String) -> Self {
        let script = Script {
            token,
            audio: 0,
            stumbles: false,
            before: Pause::UntilReleased,
            pieces: 1,
            pause_ms: 0,
            holds_at: None,
            end: End::Finish,
        };
        let delivery = Delivery::Async { stream: false };
        Self {
            caller: Caller::Ada,
            delivery,
            idempotency_key: None,
            audio_seed: 1,
            audio_bytes: 100,
            download_ms: None,
            script,
        }
    }

    pub(crate) fn token(&self) -> &str {
        &self.script.token
    }

    /// Returns the model, which carries the task's token: every task that the server shows can be recognised by it.
    pub(crate) fn model(&self) -> String {
        format!("gemini-{}", self.script.token)
    }

    /// Returns the JSON of the submit, the same each time.
    pub(crate) fn body(&self) -> String {
        let audio = STANDARD.encode(noise(self.audio_seed, self.audio_bytes));
        let script = Script { audio: checksum(&audio), ..self.script.clone() };
        let audio_url = match self.download_ms {
            None => format!("data:audio/wav;base64,{audio}"),
            Some(pause_ms) => shelf::url(self.audio_seed, self.audio_bytes, pause_ms),
        };
        json!({
            "model": self.model(),
            "prompt": json!(script).to_string(),
            "audio_url": audio_url,
            "sync": !matches!(self.delivery, Delivery::Async { .. }),
            "stream": self.delivery.is_stream(),
        })
        .to_string()
    }
}

/// Returns a WAV with this many samples of noise in it.
pub(crate) fn noise(seed: u64, samples: usize) -> Vec<u8> {
    let mut wav =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data".to_vec();
    let size = u32::try_from(samples).unwrap();
    wav.extend(size.to_le_bytes());
    wav[4..8].copy_from_slice(&(size + 36).to_le_bytes());
    let mut noise = seed | 1;
    while wav.len() < samples + 44 {
        // Xorshift is cheap, even without optimisation.
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        wav.extend(noise.to_le_bytes());
    }
    wav.truncate(samples + 44);
    wav
}

/// The source of random choices.
struct Dice(StdRng);

impl Dice {
    fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0.random_range(least..=most)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.between(1, count) == 1
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.0.random())
    }

    fn caller(&mut self) -> Caller {
        if self.one_in(4) { Caller::Bob } else { Caller::Ada }
    }

    fn story(&mut self, token: &str, life: Duration) -> Story {
        let delivery = match self.between(1, 20) {
            1..=9 => Delivery::Async { stream: true },
            10..=14 => Delivery::Async { stream: false },
            15..=17 => Delivery::Blocking { leaves: self.one_in(4).then(|| self.millis(0, 300)) },
            _ => Delivery::SyncStream(self.reading()),
        };
        let keyed = self.one_in(3);
        let mut actions = Vec::new();
        if !delivery.is_blocking() {
            let most = self.between(0, 4);
            actions = (0..most).map(|_| self.action(delivery, keyed)).collect();
        }
        let order = Order {
            caller: self.caller(),
            delivery,
            idempotency_key: keyed.then(|| format!("key-{token}")),
            audio_seed: self.0.random(),
            audio_bytes: self.audio_bytes(),
            download_ms: self.one_in(4).then(|| if self.one_in(3) { self.between(50, 400) } else { 0 }),
            script: self.script(token),
        };
        Story { at: self.up_to(life), order, twin: keyed && self.one_in(3), actions }
    }

    fn action(&mut self, delivery: Delivery, keyed: bool) -> (Duration, Action) {
        let action = match self.between(1, 12) {
            1 => Action::Cancel,
            2..=4 if keyed => Action::Repeat,
            2..=8 if delivery.is_stream() => Action::Read(self.reading()),
            _ => Action::Ask { wait: self.one_in(3).then_some(5) },
        };
        (self.millis(0, 400), action)
    }

    fn reading(&mut self) -> Reading {
        if self.one_in(2) {
            return Reading { leaves_after: None, back: None };
        }
        let back = Return {
            after: self.millis(0, 200),
            by_header: self.one_in(2),
            overlap: if self.one_in(3) { self.between(1, 5) } else { 0 },
        };
        Reading { leaves_after: Some(self.between(1, 12)), back: (!self.one_in(4)).then_some(back) }
    }

    /// Most pieces of audio are short, some are as long as a voice message.
    fn audio_bytes(&mut self) -> usize {
        let bytes = match self.between(1, 10) {
            1..=6 => self.between(1_000, 10_000),
            7..=9 => self.between(10_000, 100_000),
            _ => self.between(100_000, 300_000),
        };
        usize::try_from(bytes).unwrap()
    }

    fn script(&mut self, token: &str) -> Script {
        let before = match self.between(1, 100) {
            1..=75 => Pause::Millis(self.between(0, 30)),
            76..=92 => Pause::Millis(self.between(30, 200)),
            93..=98 => Pause::Millis(self.between(200, 1_200)),
            _ => Pause::UntilReleased,
        };
        let (pieces, pause_ms) = match self.between(1, 10) {
            1..=6 => (self.between(1, 8), self.between(0, 15)),
            7..=8 => (self.between(5, 40), self.between(0, 5)),
            9 => (self.between(100, 400), 0),
            _ => (self.between(2, 6), self.between(20, 120)),
        };
        let pieces = u32::try_from(pieces).unwrap();
        let end = match self.between(1, 20) {
            1..=15 => End::Finish,
            16..=17 => End::Cut,
            18 => End::Fault,
            _ => End::Status([400, 429, 500, 503][self.0.random_range(0..4)]),
        };
        let holds_at = self.one_in(60).then(|| self.0.random_range(0..pieces));
        let stumbles = self.one_in(8);
        Script { token: token.to_owned(), audio: 0, stumbles, before, pieces, pause_ms, holds_at, end }
    }

    fn listing(&mut self, life: Duration) -> Listing {
        let states = [None, None, Some("pending"), Some("processing"), Some("completed"), Some("failed")];
        Listing {
            at: self.up_to(life),
            caller: self.caller(),
            limit: [1, 20, 100][self.0.random_range(0..3)],
            status: states[self.0.random_range(0..states.len())],
        }
    }
}
