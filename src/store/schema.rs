//! The tables of the database, their versions, and the steps from one version to the next.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;
use super::sqlite::database;

/// The steps between the versions of the tables: each entry leads from the version with its index to the next one. A
/// version that was released never changes; later entries add to it. `tests/fixtures/store` has a database of each
/// version, to test the way to the newest.
const MIGRATIONS: &[&str] = &[include_str!("schema/1.sql")];

/// The newest version of the tables.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// Makes the tables of a new database, and upgrades those of an earlier version to the newest.
pub(super) fn migrate(data_dir: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = version(data_dir, &transaction)?;
    if version < VERSION {
        for migration in MIGRATIONS.iter().skip(version) {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "user_version", u32::try_from(VERSION).unwrap_or(u32::MAX))?;
    }
    Ok(transaction.commit()?)
}

/// Reads the version of the tables. Returns 0 if there are no tables yet.
///
/// # Errors
/// [`StoreError::Refused`] if the version is from a newer hearken or from before version 1, or if the tables are those
/// of another program.
pub(super) fn version(data_dir: &Path, connection: &Connection) -> Result<usize, StoreError> {
    let path = database(data_dir);
    let path = path.display();
    // Another program may have written a negative number.
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let (tables, is_own, has_references) = connection.query_row(
        "SELECT count(*), count(*) FILTER (WHERE name = 'keys_version'),
         EXISTS (SELECT 1 FROM pragma_table_info('blobs') WHERE name = 'refs')
         FROM sqlite_schema WHERE type = 'table'",
        [],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)? > 0, row.get::<_, bool>(2)?)),
    )?;
    match usize::try_from(found) {
        Ok(0) if tables == 0 => Ok(0),
        // Versions were counted from 1 again after that, so the number does not identify the version.
        Ok(1..) if is_own && !has_references => Err(StoreError::Refused(format!(
            "{path} was written by a development version of hearken, which no release can read; choose another data \
             directory, or move this one to another place"
        ))),
        Ok(version @ 1..=VERSION) if is_own => Ok(version),
        Ok(version @ 1..) if is_own => Err(StoreError::Refused(format!(
            "{path} was written by a newer hearken: the version of its tables is {version}, and hearken {} knows those up \
             to {VERSION}; install the newer hearken again, or restore the data directory from a backup that is older than \
             it, or choose another data directory",
            env!("CARGO_PKG_VERSION")
        ))),
        _ => Err(StoreError::Refused(format!(
            "{path} is the database of another program; choose another data directory, or move the file to another place"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::claim::make_database;
    use crate::store::sqlite::connect;

    /// Describes all tables and indexes: the columns of each, in their order.
    fn described(connection: &Connection) -> Vec<String> {
        let mut statement = connection
            .prepare(
                "SELECT format('%s %s %s %s %s', s.type, s.name, c.name, c.type, c.\"notnull\")
                 FROM sqlite_schema AS s JOIN pragma_table_xinfo(s.name) AS c ORDER BY s.name, c.cid",
            )
            .unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn a_database_from_before_version_1_has_its_own_error() {
        let connection = Connection::open_in_memory().unwrap();
        let tables = "CREATE TABLE keys_version (version INTEGER); CREATE TABLE tasks (id TEXT)";
        connection.execute_batch(tables).unwrap();
        for more in ["", "CREATE TABLE blobs (id INTEGER)"] {
            connection.execute_batch(more).unwrap();
            for number in 1..=7 {
                connection.pragma_update(None, "user_version", number).unwrap();
                let refused = version(Path::new("/data"), &connection).unwrap_err().to_string();
                assert!(
                    refused.starts_with("/data/hearken.sqlite was written by a development version"),
                    "{refused}"
                );
            }
        }
    }

    #[test]
    fn a_database_of_each_version_is_upgraded_to_the_newest() {
        let data_dir = tempfile::tempdir().unwrap();
        drop(make_database(data_dir.path()).unwrap());
        let fresh = described(&connect(data_dir.path(), true).unwrap());
        assert!(fresh.len() > 30);
        for version in 1..=VERSION {
            let mut old = Connection::open_in_memory().unwrap();
            let path = format!("tests/fixtures/store/{version}.sql");
            old.execute_batch(&std::fs::read_to_string(path).unwrap()).unwrap();
            assert_eq!(self::version(data_dir.path(), &old).unwrap(), version);
            migrate(data_dir.path(), &mut old).unwrap();
            assert_eq!(described(&old), fresh, "version {version}");
        }
    }
}
