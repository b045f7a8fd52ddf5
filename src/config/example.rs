//! Examples of good values of each key, for messages about a wrong value.

use super::file::{ConnectionKeys, TopKeys};
use super::listen::MetricsKeys;
use super::tls::TlsKeys;
use crate::actors::TaskKeys;
use crate::channel::{ChannelKeys, RetryBudgetKeys};
use crate::fanout::StreamKeys;
use crate::fetch::FetchKeys;
use crate::keys::KeyEntry;
use crate::setting::Keys;
use crate::store::StoreKeys;
use crate::trace::TracesKeys;
use crate::upstream::{KINDS, RemoteKeys};

/// The owners of the keys, with their sections and examples. Numbers whose names end with their unit need no example.
const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    ("", TopKeys::EXAMPLES),
    ("keys", KeyEntry::EXAMPLES),
    ("channels", ChannelKeys::EXAMPLES),
    ("channels", RemoteKeys::EXAMPLES),
    ("fetch", FetchKeys::EXAMPLES),
    ("limits", TaskKeys::EXAMPLES),
    ("limits", ConnectionKeys::EXAMPLES),
    ("limits", RetryBudgetKeys::EXAMPLES),
    ("stream", StreamKeys::EXAMPLES),
    ("metrics", MetricsKeys::EXAMPLES),
    ("traces", TracesKeys::EXAMPLES),
    ("store", StoreKeys::EXAMPLES),
    ("tls", TlsKeys::EXAMPLES),
];

/// Returns an example of a key's value, in TOML. Returns none if any example would be misleading.
pub(super) fn of(key: &str) -> Option<&'static str> {
    // `channels[0].models[1]` is one of the `models` of `channels`.
    let plain: String =
        key.split('[').map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit())).collect();
    let plain = plain.replace(']', "");
    let (section, name) = plain.split_once('.').unwrap_or(("", &plain));
    let kinds = KINDS.iter().map(|kind| ("channels", kind.examples));
    let owners = EXAMPLES.iter().copied().chain(kinds).filter(|(other, _)| *other == section);
    let known = owners.flat_map(|(_, examples)| examples).find(|(other, _)| *other == name);
    let by_unit = || {
        let units = [("_seconds", "30"), ("_ms", "5000"), ("_bytes", "20000000")];
        units.into_iter().find(|(unit, _)| name.ends_with(unit)).map(|(_, example)| example)
    };
    known.map(|(_, example)| *example).or_else(by_unit)
}
