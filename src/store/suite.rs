//! Tests of every promise of a store, run against every backend.

mod audio;
mod journals;
mod keys;
pub(super) mod kit;
mod lists;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::memory::{MemoryBackend, MemoryJournals};
use super::{KeyStore, Store, find_keys};
use crate::task::TaskId;
use kit::{CONFIG, keep, until_free};

/// A backend under test: the data that outlives a store, and the way to open a store on it.
pub(super) trait TestBackend {
    /// Makes a backend without data.
    fn new() -> Self;

    /// Opens a store that keeps ended tasks for this long, once the store before has released the data.
    fn open(&self, kept: Duration) -> Store;

    /// Makes the journal of this task refuse its entries, or accept them again.
    fn block_journal(&self, id: &TaskId, is_blocked: bool);

    /// Damages the last entry of this task's journal.
    fn damage_journal(&self, id: &TaskId);

    /// Damages all stored audio.
    fn damage_audio(&self);

    /// Returns the API keys, as another process sees them.
    fn keys(&self) -> Arc<dyn KeyStore>;
}

impl TestBackend for TempDir {
    fn new() -> Self {
        tempfile::tempdir().unwrap()
    }

    fn open(&self, kept: Duration) -> Store {
        until_free(self.path(), kept)
    }

    fn block_journal(&self, id: &TaskId, is_blocked: bool) {
        let path = self.path().join("frames").join(id.as_str());
        if is_blocked { std::fs::create_dir(path) } else { std::fs::remove_dir(path) }.unwrap();
    }

    fn damage_journal(&self, id: &TaskId) {
        let path = self.path().join("frames").join(id.as_str());
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }

    fn damage_audio(&self) {
        let database = rusqlite::Connection::open(self.path().join("hearken.sqlite")).unwrap();
        database
            .execute("UPDATE blobs SET data = zeroblob(octet_length(data)) WHERE data IS NOT NULL", [])
            .unwrap();
        for file in std::fs::read_dir(self.path().join("spool")).unwrap() {
            let path = file.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }

    fn keys(&self) -> Arc<dyn KeyStore> {
        find_keys(self.path()).unwrap().unwrap()
    }
}

struct InMemory(Arc<MemoryBackend>, MemoryJournals);

impl TestBackend for InMemory {
    fn new() -> Self {
        Self(Arc::new(MemoryBackend::new(CONFIG.max_spool_bytes)), MemoryJournals::default())
    }

    fn open(&self, kept: Duration) -> Store {
        Store::over(Arc::clone(&self.0), Arc::new(self.1.clone()), keep(kept))
    }

    fn block_journal(&self, id: &TaskId, is_blocked: bool) {
        self.1.block(id, is_blocked);
    }

    fn damage_journal(&self, id: &TaskId) {
        self.1.damage(id);
    }

    fn damage_audio(&self) {
        self.0.damage_audio();
    }

    fn keys(&self) -> Arc<dyn KeyStore> {
        Arc::clone(&self.0) as _
    }
}

/// Makes a test of each promise for a backend.
macro_rules! store_suite {
    ($backend:ident, $ground:ty, { $($group:ident: [$($promise:ident),* $(,)?]),* $(,)? }) => {
        mod $backend {
            $($(
                #[actix_rt::test]
                async fn $promise() {
                    super::$group::$promise::<$ground>().await;
                }
            )*)*
        }
    };
    ($($backend:ident: $ground:ty),*) => {
        $(
            store_suite!($backend, $ground, {
                tasks: [
                    a_task_is_found_only_by_its_owner,
                    the_first_end_of_a_task_stays_and_the_next_caller_gets_it,
                    two_ends_at_once_give_both_callers_the_same_end,
                    a_task_that_has_not_ended_is_found_after_a_start,
                    runs_are_counted_until_a_task_ends,
                    marks_are_recorded_until_a_task_ends,
                    marks_and_writes_take_effect_in_their_order,
                    a_key_starts_one_task_and_is_free_again_after_its_retention,
                    a_write_that_changes_nothing_fails_alone,
                    a_task_is_not_kept_if_its_caller_stops_waiting,
                    a_committed_task_is_withdrawn_if_its_caller_stops_waiting,
                    an_ended_task_is_hidden_and_then_deleted,
                ],
                lists: [
                    a_list_has_pages_from_the_newest_task_to_the_oldest,
                    a_result_is_not_read_if_it_is_too_large,
                    a_page_ends_before_a_task_that_makes_it_too_large,
                    segments_are_read_with_the_result_if_they_are_requested,
                ],
                audio: [
                    audio_is_kept_until_its_task_ends,
                    audio_of_a_refused_task_is_not_kept,
                    a_download_is_recorded_for_its_audio,
                    a_download_is_read_as_it_was_received,
                    damaged_audio_is_an_error_and_its_task_can_end,
                ],
                journals: [
                    chunks_are_read_as_they_were_written_to_the_journal,
                    a_journal_takes_nothing_from_a_second_writer,
                    a_journal_that_has_refused_entries_takes_no_more,
                    a_damaged_journal_is_read_up_to_the_damage,
                    a_task_with_a_chunk_counts_as_published,
                    a_stream_is_replayed_if_its_chunks_match_the_record,
                    chunks_are_deleted_when_their_retention_ends,
                ],
                keys: [
                    changes_of_keys_by_any_process_are_read,
                    a_change_that_affects_no_key_keeps_the_version,
                ],
            });
        )*
    };
}

store_suite!(on_a_disk: super::TempDir, in_memory: super::InMemory);
