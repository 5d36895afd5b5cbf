//! Statements over many rows in few round trips. It knows no table.
//!
//! Each statement costs a hop to the connection's thread and back, about 10 µs, whatever it does. So rows
//! go in chunks of a few fixed sizes, each a prepared statement; a chunk is filled up with rows of NULLs,
//! which the statements pass over.

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, SqlSafeStr, SqlStr, SqliteConnection};

/// Rows of a statement: the smallest that fits is taken.
const SIZES: [usize; 6] = [1, 4, 8, 16, 32, 64];
const LARGEST: usize = 64;

/// Fills the arguments of one row, in the order of its placeholders.
pub(super) type Bind<T> = fn(&mut SqliteArguments, &T) -> Result<(), BoxDynError>;

/// A statement over rows of values.
pub(super) struct Bulk {
    statements: [SqlStr; SIZES.len()],
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
        let statement = |size| template.replace("{rows}", &vec![row.as_str(); size].join(","));
        // Only the names of tables and columns of this room are in it.
        Self { statements: SIZES.map(|size| AssertSqlSafe(statement(size)).into_sql_str().clone()), columns }
    }

    /// Executes it over the rows; the number of rows that it wrote.
    pub(super) async fn execute<T>(
        &self,
        connection: &mut SqliteConnection,
        rows: &[T],
        bind: Bind<T>,
    ) -> Result<u64, sqlx::Error> {
        let mut affected = 0;
        for chunk in rows.chunks(LARGEST) {
            let (statement, arguments) = self.prepare(chunk, bind)?;
            affected +=
                sqlx::query_with(statement, arguments).execute(&mut *connection).await?.rows_affected();
        }
        Ok(affected)
    }

    /// Executes it over the rows; what it answers.
    pub(super) async fn fetch<T>(
        &self,
        connection: &mut SqliteConnection,
        rows: &[T],
        bind: Bind<T>,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut fetched = Vec::new();
        for chunk in rows.chunks(LARGEST) {
            let (statement, arguments) = self.prepare(chunk, bind)?;
            fetched.append(&mut sqlx::query_with(statement, arguments).fetch_all(&mut *connection).await?);
        }
        Ok(fetched)
    }

    /// The statement for the most rows.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        self.statements[SIZES.len() - 1].as_str().to_owned()
    }

    fn prepare<T>(&self, chunk: &[T], bind: Bind<T>) -> Result<(SqlStr, SqliteArguments), sqlx::Error> {
        let (size, statement) = fitting(&self.statements, chunk.len())?;
        let mut arguments = SqliteArguments::default();
        arguments.reserve(size * self.columns, 0);
        // Placeholders beyond the arguments are NULL.
        bind_rows(&mut arguments, chunk, bind)?;
        Ok((statement.clone(), arguments))
    }
}

/// Two statements over the same rows in one round trip.
pub(super) struct Pair {
    statements: [SqlStr; SIZES.len()],
    first: usize,
    second: usize,
}

impl Pair {
    pub(super) fn new(first: Bulk, second: Bulk) -> Self {
        let mut both = first.statements.iter().zip(&second.statements);
        let statements = std::array::from_fn(|_| {
            let text = both.next().map(|(a, b)| format!("{}; {}", a.as_str(), b.as_str()));
            AssertSqlSafe(text.unwrap_or_default()).into_sql_str().clone()
        });
        Self { statements, first: first.columns, second: second.columns }
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        self.statements[SIZES.len() - 1].as_str().to_owned()
    }

    /// Executes both over the rows, the first wholly before the second; the number of rows that they wrote.
    pub(super) async fn execute<T>(
        &self,
        connection: &mut SqliteConnection,
        rows: &[T],
        first: Bind<T>,
        second: Bind<T>,
    ) -> Result<u64, sqlx::Error> {
        let mut affected = 0;
        for chunk in rows.chunks(LARGEST) {
            let (size, statement) = fitting(&self.statements, chunk.len())?;
            let mut arguments = SqliteArguments::default();
            arguments.reserve(size * (self.first + self.second), 0);
            bind_rows(&mut arguments, chunk, first)?;
            // The second statement's arguments follow the first's, so these are filled up.
            for _ in 0..(size - chunk.len()) * self.first {
                arguments.add(None::<i64>).map_err(sqlx::Error::Encode)?;
            }
            bind_rows(&mut arguments, chunk, second)?;
            let done = sqlx::query_with(statement.clone(), arguments).execute(&mut *connection).await?;
            affected += done.rows_affected();
        }
        Ok(affected)
    }
}

/// The smallest statement for so many rows, and its size.
fn fitting(statements: &[SqlStr; SIZES.len()], rows: usize) -> Result<(usize, &SqlStr), sqlx::Error> {
    SIZES
        .into_iter()
        .zip(statements)
        .find(|(size, _)| *size >= rows)
        .ok_or_else(|| sqlx::Error::Protocol("a chunk is larger than the largest statement".into()))
}

fn bind_rows<T>(arguments: &mut SqliteArguments, rows: &[T], bind: Bind<T>) -> Result<(), sqlx::Error> {
    rows.iter().try_for_each(|row| bind(arguments, row)).map_err(sqlx::Error::Encode)
}
