//! Notes in SQLite, on threads that may block.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::{env, io, io::Write, time::Duration};

use rusqlite::{Connection, OptionalExtension, Result, Statement, ffi};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// How many statements may run at once, per worker. Others wait for their turn without occupying a
/// thread.
const MAX_TURNS: usize = 4;

/// With a write-ahead log a reader never waits for a writer.
const SCHEMA: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, user TEXT NOT NULL, text TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS notes_by_user ON notes (user);";
const INSERT: &str = "INSERT INTO notes (user, text) VALUES (?1, ?2)";
const SELECT: &str = "SELECT text FROM notes WHERE user = ?1 AND id = ?2";
/// The beginnings of the latest notes: responses need a limit as requests do.
const LIST: &str =
    "SELECT id, substr(text, 1, 80) FROM notes WHERE user = ?1 ORDER BY id DESC LIMIT 100";

/// The database of one worker.
pub struct Database {
    turns: Arc<Semaphore>,
    unused: Arc<Mutex<Vec<Connection>>>,
    /// How long a statement waits for its turn, and again for each of two locks. Together this is less
    /// than the engine waits for a handler, so that the client of a write learns its outcome.
    patience: Duration,
}

impl Database {
    pub fn open() -> io::Result<Self> {
        let file = env::var_os("NOTES_FILE").unwrap_or("notes.sqlite".into());
        let file = Path::new(".").join(file); // never a name for a database in memory
        let seconds = env::var("API_ANSWER_TIMEOUT").map_or(Ok(30), |seconds| seconds.parse());
        let patience = Duration::from_secs(seconds.unwrap_or(30)) / 4;
        let connect = |_| {
            let connection = Connection::open(&file)?;
            connection.busy_timeout(patience)?;
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        };
        let unused: Result<_> = (0..MAX_TURNS).map(connect).collect();
        let unused = unused.map_err(|error| io::Error::other(format!("NOTES_FILE: {error}")))?;
        Ok(Self {
            turns: Arc::new(Semaphore::new(MAX_TURNS)),
            unused: Arc::new(Mutex::new(unused)),
            patience,
        })
    }

    pub async fn create(&self, user: String, text: String) -> Result<i64> {
        let insert = |insert: &mut Statement| insert.insert((user, text));
        self.run(INSERT, insert).await
    }

    pub async fn note(&self, user: String, id: i64) -> Result<Option<String>> {
        let note =
            move |note: &mut Statement| note.query_one((user, id), |row| row.get(0)).optional();
        self.run(SELECT, note).await
    }

    pub async fn list(&self, user: String) -> Result<Vec<(i64, String)>> {
        let rows = |list: &mut Statement| list.query_map([user], |row| row.try_into())?.collect();
        self.run(LIST, rows).await
    }

    /// Runs a statement on a blocking thread. It completes there even if the handler is dropped first, so
    /// the thread owns the turn.
    async fn run<T: Send + 'static>(
        &self,
        sql: &'static str,
        work: impl FnOnce(&mut Statement) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let busy = || rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None);
        let turn = timeout(self.patience, self.turns.clone().acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(busy)?;
        let unused = Arc::clone(&self.unused);
        let work = spawn_blocking(move || {
            let _turn = turn;
            let connection = unused.lock().unwrap().pop().unwrap();
            let result = connection.prepare_cached(sql);
            let result = result.and_then(|mut statement| work(&mut statement));
            if let Err(error) = &result {
                // A blocked output blocks only this thread.
                let _ = writeln!(io::stderr(), "{sql}: {error}");
            }
            unused.lock().unwrap().push(connection);
            result
        });
        work.await.unwrap_or_else(|_| Err(busy()))
    }
}
