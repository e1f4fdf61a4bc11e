//! One SQLite file: what it may be, what is written to it, and what is true after a failure.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Transaction, TransactionBehavior, params};

use crate::files;
use crate::store::{Change, Entry, Image, Order, Page, PutError, Revision, StoreError, Stored};

/// `Weir`, in the header of the file.
const APPLICATION: i64 = 0x5765_6972;
/// The schema that this program reads and writes.
const SCHEMA: i64 = 1;
/// Bytes that have to fit for a store that was full to be tried again.
const PROBE: usize = 256 << 10;
/// Said of a store on a file system that takes no writes, for whatever reason it was mounted so.
const READ_ONLY: &str =
    "is on a file system that is mounted read-only; mount it for writing, or name another file in `store: {path: …}`";
/// Said of a store that this user may read alone.
const NOT_WRITABLE: &str = "cannot be written; let this user write the file and its directory";
/// `head` has one row. It is no `max(revision)` of the journal, because that may be trimmed to nothing.
const TABLES: &str = "
    CREATE TABLE head (revision INTEGER NOT NULL) STRICT;
    INSERT INTO head VALUES (0);
    CREATE TABLE texts (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, text TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE journal (revision INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
";

/// An open file that nobody else has open.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    revision: Revision,
    /// Whether all that can be read is known to be on the disk.
    settled: bool,
    doubtful: bool,
}

/// Why a transaction failed, and what that says about the file.
enum Failure {
    /// It was not written.
    Nothing(rusqlite::Error),
    /// Nobody knows.
    Doubt(rusqlite::Error),
}

impl Database {
    /// Opens the file at an absolute path, or makes a new one. What can be read may not be on the disk before it is settled.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        create(path)?;
        let damaged = |error| StoreError(explain(path, &error));
        // The path is absolute, so that SQLite takes no part of it for a URI or a name with a meaning of its own. Its folder
        // has no link in its name, because SQLite follows none here.
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut connection = Connection::open_with_flags(path, flags).map_err(damaged)?;
        let new = identify(&connection).map_err(damaged)?.map_err(|why| refuse(path, why))?;
        if connection.is_readonly("main").map_err(damaged)? {
            return Err(refuse(path, if is_read_only(path) { READ_ONLY } else { NOT_WRITABLE }));
        }
        if new {
            found(&mut connection).map_err(damaged)?;
        }
        configure(&connection).map_err(damaged)?;
        let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(damaged)?;
        if check != "ok" {
            return Err(refuse(path, format!("is damaged ({check}); restore a copy of it")));
        }
        let revision =
            connection.query_row("SELECT revision FROM head", [], |row| unsigned(row, 0)).map_err(damaged)?;
        Ok(Self { connection, path: path.to_owned(), revision, settled: false, doubtful: false })
    }

    /// The revision of what is stored.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether it has to be opened again before it is read or written.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Makes sure that all that can be read is on the disk: copies the WAL into the file, with an fsync after it, and
    /// fsyncs the directory, for the names of both. Done once; it may be tried again after an error.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        if self.settled {
            return Ok(());
        }
        self.checkpoint().map_err(|error| explain(&self.path, &error))?;
        let directory = self.path.parent().expect("an absolute path of a file has a parent");
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| format!("the directory {} cannot be fsynced: {error}", directory.display()))?;
        self.settled = true;
        Ok(())
    }

    pub(super) fn load(&self, prefix: &str) -> Result<Image, StoreError> {
        let texts = || {
            // SQLite compares names as bytes, as Rust does, so all names with one prefix stand together.
            let select = "SELECT name, revision, text FROM texts WHERE name >= ?1 ORDER BY name";
            let mut select = self.connection.prepare_cached(select)?;
            let mut rows = select.query([prefix])?;
            let mut texts = Vec::new();
            while let Some(row) = rows.next()? {
                let name: String = row.get(0)?;
                if !name.starts_with(prefix) {
                    break;
                }
                texts.push((name, Stored { revision: unsigned(row, 1)?, text: text(row, 2)? }));
            }
            Ok(texts.into_iter().collect())
        };
        Ok(Image { revision: self.revision, texts: texts().map_err(|error| self.error(&error))? })
    }

    pub(super) fn put_if(&mut self, revision: Revision, changes: &[Change], entry: &str) -> Result<Revision, PutError> {
        if revision != self.revision {
            return Err(PutError::Conflict { current: self.revision });
        }
        let next = revision + 1;
        self.put(next, |transaction| write(transaction, signed(next), changes, entry))
    }

    pub(super) fn restore(&mut self, image: &Image, journal: &[Entry]) -> Result<(), PutError> {
        if self.revision != 0 {
            return Err(PutError::Conflict { current: self.revision });
        }
        self.put(image.revision, |transaction| fill(transaction, image, journal)).map(|_| ())
    }

    /// Runs `write`, which makes this the revision.
    fn put(
        &mut self,
        revision: Revision,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<Revision, PutError> {
        self.settle().map_err(PutError::Unavailable)?;
        self.transact(write).map_err(|failure| match failure {
            Failure::Nothing(error) => PutError::Unavailable(explain(&self.path, &error)),
            Failure::Doubt(error) => PutError::Unknown(explain(&self.path, &error)),
        })?;
        self.revision = revision;
        Ok(revision)
    }

    pub(super) fn journal(&self, page: Page) -> Result<Vec<Entry>, StoreError> {
        let order = match page.order {
            Order::OldestFirst => "ASC",
            Order::NewestFirst => "DESC",
        };
        let select = format!(
            "SELECT revision, text FROM journal WHERE revision > ?1 AND revision < ?2 ORDER BY revision {order} LIMIT ?3"
        );
        let entries = || {
            let mut select = self.connection.prepare_cached(&select)?;
            let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
            let rows = select.query_map(params![signed(page.after), signed(page.before), limit], |row| {
                Ok(Entry { revision: unsigned(row, 0)?, text: text(row, 1)? })
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        entries().map_err(|error| self.error(&error))
    }

    pub(super) fn journal_bytes(&self, after: Revision, before: Revision) -> Result<u64, StoreError> {
        // Lengths stand in the rows: long texts, which lie elsewhere, are not read.
        let sum = "SELECT coalesce(sum(octet_length(text)), 0) FROM journal WHERE revision > ?1 AND revision < ?2";
        let bytes = self.connection.query_row(sum, params![signed(after), signed(before)], |row| unsigned(row, 0));
        bytes.map_err(|error| self.error(&error))
    }

    pub(super) fn trim(&mut self, until: Revision) -> Result<u64, StoreError> {
        let trimmed = self
            .transact(|transaction| transaction.execute("DELETE FROM journal WHERE revision <= ?1", [signed(until)]));
        let trimmed = trimmed.map_err(|(Failure::Nothing(error) | Failure::Doubt(error))| self.error(&error))?;
        Ok(trimmed as u64)
    }

    /// Writes a file beside the database, and removes it: there is room for small changes if that is possible.
    pub(super) fn probe(&mut self) -> Result<(), StoreError> {
        let path = self.path.with_extension("probe");
        let written = probe(&path);
        // It is not there, or was of no use.
        let _ = std::fs::remove_file(&path);
        written.map_err(|error| match error.kind() {
            ErrorKind::ReadOnlyFilesystem => refuse(&self.path, READ_ONLY),
            ErrorKind::PermissionDenied => refuse(&self.path, NOT_WRITABLE),
            _ => refuse(&self.path, format!("has no room for changes: {error}; free some space there")),
        })
    }

    /// Runs `body` as one transaction, which is durable when this succeeds.
    fn transact<T>(&mut self, body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, Failure> {
        let result = commit(&mut self.connection, body);
        self.doubtful |= match &result {
            Ok(_) => false,
            Err(Failure::Nothing(error)) => error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure),
            Err(Failure::Doubt(_)) => true,
        };
        // A transaction that could not even be rolled back.
        self.doubtful |= !self.connection.is_autocommit();
        result
    }

    fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| match row.get(0)? {
            0 => Ok(()),
            busy => Err(rusqlite::Error::IntegralValueOutOfRange(0, busy)),
        })
    }

    fn error(&self, error: &rusqlite::Error) -> StoreError {
        StoreError(explain(&self.path, error))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // So that the file alone is the whole store while nobody runs. What is in doubt is left for the next to settle.
        if self.settled && !self.doubtful {
            let _ = self.checkpoint();
        }
    }
}

/// Makes an empty file if there is none. An existing one is not opened: to close it again would drop SQLite's locks.
fn create(path: &Path) -> Result<(), StoreError> {
    match files::open_to_write(path, OpenOptions::new().write(true).create_new(true)) {
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => Err(refuse(path, READ_ONLY)),
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(refuse(path, format!("cannot be created: {error}; its directory must be there and writable")))
        }
        Err(_) => check_existing(path),
        Ok(_) => Ok(()),
    }
}

/// Checks what is there without opening it.
fn check_existing(path: &Path) -> Result<(), StoreError> {
    let found =
        std::fs::symlink_metadata(path).map_err(|error| refuse(path, format!("cannot be looked at: {error}")))?;
    if found.is_symlink() {
        return Err(refuse(path, "is a symbolic link, which is not followed; name the file itself"));
    }
    if !found.is_file() {
        return Err(refuse(path, "is no regular file; give another path"));
    }
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        let file = path.display();
        tracing::warn!("others can read or change the store {file} (mode {mode:04o}); `chmod 600 {file}` ends that");
    }
    Ok(())
}

/// Tells if nothing can be written beside the store because its file system is mounted read-only.
fn is_read_only(path: &Path) -> bool {
    let path = path.with_extension("probe");
    let written = probe(&path);
    // It is not there, or was of no use.
    let _ = std::fs::remove_file(&path);
    written.is_err_and(|error| error.kind() == ErrorKind::ReadOnlyFilesystem)
}

/// Writes a new file, whatever is there, to the disk.
fn probe(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&[0; PROBE])?;
    file.sync_all()
}

/// Whether the file is new, or why it is none of ours. Reads only.
fn identify(connection: &Connection) -> rusqlite::Result<Result<bool, String>> {
    // Else closing a file of another program would move its WAL into it. Ours is moved by `settle`.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
    let number = |select: &str| connection.query_row(select, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let schema = number("PRAGMA user_version")?;
    let objects = number("SELECT count(*) FROM sqlite_schema")?;
    Ok(match (application, schema) {
        (APPLICATION, SCHEMA) => Ok(false),
        (APPLICATION, newer) if newer > SCHEMA => Err(format!(
            "was written by a newer weir (schema {newer}, this one knows {SCHEMA}) and was left as it is; run that weir"
        )),
        (0, 0) if objects == 0 => Ok(true),
        _ => Err("is an SQLite file of another program and was left as it is; give another path".into()),
    })
}

/// Makes the schema in a file that holds nothing.
fn found(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.execute_batch(TABLES)?;
    transaction.commit()
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // An fsync with each commit.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // In bytes: what a large transaction leaves of the WAL.
    connection.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))
}

fn commit<T>(
    connection: &mut Connection,
    body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> Result<T, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Failure::Nothing)?;
    let value = body(&transaction).map_err(Failure::Nothing)?;
    transaction.commit().map_err(|error| match error.sqlite_error_code() {
        // SQLite says so of writes alone, and after the last of them, the frame that commits, it writes no more.
        Some(ErrorCode::DiskFull) => Failure::Nothing(error),
        _ => Failure::Doubt(error),
    })?;
    Ok(value)
}

fn write(transaction: &Transaction<'_>, next: i64, changes: &[Change], entry: &str) -> rusqlite::Result<()> {
    let upsert = "INSERT INTO texts VALUES (?1, ?2, ?3)
        ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, text = excluded.text";
    let mut upsert = transaction.prepare_cached(upsert)?;
    let mut delete = transaction.prepare_cached("DELETE FROM texts WHERE name = ?1")?;
    for Change { name, text } in changes {
        match text {
            Some(text) => upsert.execute(params![name, next, text])?,
            None => delete.execute([name])?,
        };
    }
    transaction.prepare_cached("INSERT INTO journal VALUES (?1, ?2)")?.execute(params![next, entry])?;
    let heads = transaction.prepare_cached("UPDATE head SET revision = ?1 WHERE revision = ?1 - 1")?.execute([next])?;
    if heads == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(heads)) }
}

fn fill(transaction: &Transaction<'_>, image: &Image, journal: &[Entry]) -> rusqlite::Result<()> {
    let mut text = transaction.prepare_cached("INSERT INTO texts VALUES (?1, ?2, ?3)")?;
    for (name, stored) in &image.texts {
        text.execute(params![name, signed(stored.revision), stored.text])?;
    }
    let mut line = transaction.prepare_cached("INSERT INTO journal VALUES (?1, ?2)")?;
    for entry in journal {
        line.execute(params![signed(entry.revision), entry.text])?;
    }
    transaction.execute("UPDATE head SET revision = ?1", [signed(image.revision)]).map(|_| ())
}

fn refuse(path: &Path, why: impl std::fmt::Display) -> StoreError {
    StoreError(format!("the store {} {why}", path.display()))
}

/// Which file, what happened, and what would help.
fn explain(path: &Path, error: &rusqlite::Error) -> String {
    let code = error.sqlite_error().map_or(0, |error| error.extended_code);
    let why = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "is in use by another process; stop that one, or give another path".into()
        }
        Some(ErrorCode::DiskFull) => "is on a full disk; free some space there".into(),
        // SQLite has no word for it: a write fails there as on a failing disk.
        Some(
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly,
        ) if is_read_only(path) => READ_ONLY.into(),
        Some(ErrorCode::SystemIoFailure) => {
            format!("is on a failing disk: {error} (SQLite's code {code}); the system's log may say more")
        }
        Some(ErrorCode::NotADatabase) => {
            "is no store of weir and was left as it is; give another path, or restore a copy if it was one".into()
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            format!("cannot be opened for reading and writing: {error}; let this user write the file and its directory")
        }
        Some(ErrorCode::DatabaseCorrupt) | None => format!("is damaged ({error}); restore a copy of it"),
        Some(_) => format!("failed: {error} (SQLite's code {code})"),
    };
    refuse(path, why).0
}

/// A revision as SQLite counts. None exceeds its largest number, so as a bound that stands for all above it.
fn signed(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// A text. One that is damaged and no UTF-8 any more is read behind a NUL, which no reader takes: it is damaged alone.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<str>> {
    let bytes = row.get_ref(column)?.as_bytes()?;
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => format!("\0{}", String::from_utf8_lossy(bytes)).into(),
    })
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<Revision> {
    let revision = row.get(column)?;
    Revision::try_from(revision).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, revision))
}
