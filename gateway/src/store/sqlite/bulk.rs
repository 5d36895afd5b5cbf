//! Statements over many rows, sent together. It knows no table.
//!
//! Whatever is sent to the connection's thread costs a hop there and one back, some 10 µs on an idle machine and
//! milliseconds on a busy one, however much it is. So statements are put into a [`Script`] and go as one text,
//! which the connection prepares once. Rows go in chunks of a few fixed sizes, the same for all statements of
//! a part, so that there are few texts; a chunk is filled up with rows of NULLs, which the statements pass over.

use futures::TryStreamExt;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Executor, SqliteConnection};

use super::errors::Trouble;

/// Rows of a statement: the smallest that fits is taken.
const SIZES: [usize; 6] = [1, 4, 8, 16, 32, 64];

/// Fills the arguments of one row, in the order of its placeholders.
pub(super) type Bind<T> = fn(&mut SqliteArguments, &T) -> Result<(), BoxDynError>;

/// A statement over rows of values.
pub(super) struct Bulk {
    texts: [String; SIZES.len()],
    columns: usize,
}

impl Bulk {
    /// `INSERT INTO table (columns) …`; the first column is one that is never NULL. `tail`: a conflict
    /// clause, or nothing.
    pub(super) fn insert(table: &str, columns: &[&str], tail: &str) -> Self {
        let names = columns.join(", ");
        Self::new(
            &format!(
                "INSERT INTO {table} ({names}) SELECT * FROM (VALUES {{rows}}) WHERE column1 IS NOT NULL {tail}"
            ),
            columns.len(),
        )
    }

    /// Any statement with `{rows}` where a list of rows of values belongs, in which NULLs match nothing.
    pub(super) fn new(template: &str, columns: usize) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        let text = |size| template.replace("{rows}", &vec![row.as_str(); size].join(","));
        Self { texts: SIZES.map(text), columns }
    }

    /// The statement for the most rows.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        self.texts[SIZES.len() - 1].clone()
    }
}

/// Statements that go to the connection together, in their order.
pub(super) struct Script {
    text: String,
    arguments: SqliteArguments,
    /// For each statement the rows that it must write, where it must.
    wanted: Vec<Option<u64>>,
    /// Rows of each statement's chunks: which of [`SIZES`].
    size: usize,
}

impl Script {
    /// A script that begins with this statement, where it is one.
    pub(super) fn new(first: &'static str) -> Self {
        let arguments = SqliteArguments::default();
        let mut script = Self { text: String::new(), arguments, wanted: vec![], size: 0 };
        if !first.is_empty() {
            script.command(first);
        }
        script
    }

    /// From here on statements take so many rows each.
    pub(super) fn sized(&mut self, rows: usize) {
        self.size = SIZES.into_iter().position(|size| size >= rows).unwrap_or(SIZES.len() - 1);
    }

    /// Adds a statement over the rows.
    pub(super) fn write<T>(&mut self, bulk: &Bulk, rows: &[T], bind: Bind<T>) -> Result<(), Trouble> {
        self.add(bulk, rows, bind, false)
    }

    /// Adds a statement over the rows that must write as many rows, else the script is void.
    pub(super) fn write_each<T>(&mut self, bulk: &Bulk, rows: &[T], bind: Bind<T>) -> Result<(), Trouble> {
        self.add(bulk, rows, bind, true)
    }

    fn add<T>(&mut self, bulk: &Bulk, rows: &[T], bind: Bind<T>, each: bool) -> Result<(), Trouble> {
        let (Some(text), Some(&size)) = (bulk.texts.get(self.size), SIZES.get(self.size)) else {
            return Err(Trouble::Void);
        };
        for chunk in rows.chunks(size) {
            self.command(text);
            if let Some(wanted) = self.wanted.last_mut() {
                *wanted = each.then_some(chunk.len() as u64);
            }
            self.arguments.reserve(size * bulk.columns, 0);
            let bound = chunk.iter().try_for_each(|row| bind(&mut self.arguments, row));
            // The next statement's arguments follow, so the missing rows are filled up.
            let missing = (size - chunk.len()) * bulk.columns;
            bound
                .and_then(|()| (0..missing).try_for_each(|_| self.arguments.add(None::<i64>)))
                .map_err(sqlx::Error::Encode)?;
        }
        Ok(())
    }

    fn command(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push_str("; ");
        }
        self.text.push_str(text);
        self.wanted.push(None);
    }

    /// Sends what there is, and a last statement over the rows; what that one answers.
    pub(super) async fn fetch<T>(
        &mut self,
        connection: &mut SqliteConnection,
        bulk: &Bulk,
        rows: &[T],
        bind: Bind<T>,
    ) -> Result<Vec<SqliteRow>, Trouble> {
        if self.is_checked() {
            self.run(connection).await?;
        }
        self.write(bulk, rows, bind)?;
        self.wanted.clear();
        Ok(self.take().fetch_all(connection).await?)
    }

    /// Sends what there is; void where a statement wrote fewer rows than it must.
    pub(super) async fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), Trouble> {
        let wanted = std::mem::take(&mut self.wanted);
        if wanted.is_empty() {
            return Ok(());
        }
        let mut wanted = wanted.into_iter();
        let mut void = false;
        let mut done = connection.execute_many(self.take());
        while let Some(done) = done.try_next().await? {
            let rows = wanted.next().flatten();
            void |= rows.is_some_and(|rows| rows != done.rows_affected());
        }
        // A statement that did not run is no less missing than one that wrote nothing.
        if void || wanted.any(|rows| rows.is_some()) { Err(Trouble::Void) } else { Ok(()) }
    }

    /// Sends what there is, with this statement as the last: by itself where something must be seen first.
    pub(super) async fn end(mut self, connection: &mut SqliteConnection, last: &str) -> Result<(), Trouble> {
        if self.is_checked() {
            self.run(connection).await?;
        }
        self.command(last);
        self.run(connection).await
    }

    fn is_checked(&self) -> bool {
        self.wanted.iter().any(Option::is_some)
    }

    fn take(&mut self) -> sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments> {
        let text = std::mem::take(&mut self.text);
        // Only the names of tables and columns of this room are in it.
        sqlx::query_with(AssertSqlSafe(text), std::mem::take(&mut self.arguments))
    }
}
