-- The rows are in the order of the submits, so that tasks of the same moment share pages, and a row with a result stays
-- in one piece. With WITHOUT ROWID, a task takes a fifth more pages of the write-ahead log.
CREATE TABLE tasks (
    id TEXT NOT NULL PRIMARY KEY,
    owner BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    -- The position in the submitter's trace (JSON), if there is one.
    trace TEXT,
    question TEXT NOT NULL,
    -- The format of the task's stream, if it has one.
    stream TEXT,
    -- The facts about each piece of audio (a JSON list). They stay when the audio itself is deleted.
    audio_facts TEXT NOT NULL,
    -- The location of each piece of audio (a JSON list), until the task ends.
    audio TEXT,
    -- 0 pending, 1 processing, 2 completed, 3 failed.
    state INTEGER NOT NULL,
    progress INTEGER NOT NULL DEFAULT 0,
    timeline TEXT NOT NULL,
    runs INTEGER NOT NULL,
    published INTEGER NOT NULL DEFAULT 0,
    irreplaceable_caller INTEGER NOT NULL,
    completion TEXT,
    -- The spoken text with its start and end times (a JSON list), if the channel measured them.
    segments TEXT,
    failure TEXT,
    -- For an ended task with a stream: the number of chunks in its journal, while they are kept, and their CRC-32.
    chunks INTEGER,
    chunks_sum INTEGER,
    ended_ms INTEGER
) STRICT;
-- All columns that a list reads before it has found its tasks.
CREATE INDEX tasks_by_owner ON tasks (owner, state, created_ms, id, ended_ms);
CREATE INDEX tasks_by_end ON tasks (ended_ms) WHERE ended_ms IS NOT NULL;
CREATE INDEX tasks_unfinished ON tasks (created_ms, id) WHERE ended_ms IS NULL;
CREATE INDEX tasks_with_chunks ON tasks (ended_ms) WHERE chunks IS NOT NULL;

-- The bytes of audio.
CREATE TABLE blobs (
    id INTEGER PRIMARY KEY,
    -- The number of tasks that refer to the blob. The blob is deleted with its last reference. Each version of the
    -- schema has this column; development versions from before version 1 do not.
    refs INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    -- CRC-32.
    sum INTEGER NOT NULL,
    -- NULL if the bytes are in a file of the spool. The id names the file.
    data BLOB
) STRICT;

CREATE TABLE idempotency (
    owner BLOB NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    task TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (created_ms);

CREATE TABLE keys (
    name TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    models TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    -- NULL means no limit.
    requests_per_minute INTEGER,
    max_running_tasks INTEGER
) STRICT, WITHOUT ROWID;
-- The version changes with every change of a key. Each version of the schema has this table: it identifies a database
-- of hearken.
CREATE TABLE keys_version (version INTEGER NOT NULL) STRICT;
INSERT INTO keys_version VALUES (0);

-- The number of commits that the server has made.
CREATE TABLE commits (count INTEGER NOT NULL) STRICT;
INSERT INTO commits VALUES (0);
