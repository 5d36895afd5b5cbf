//! Statements over many rows in few round trips. It knows no table.
//!
//! Each statement costs a hop to the connection's thread and back, about 10 µs, whatever it does. So rows
//! go in chunks of a few fixed sizes, each a prepared statement; a chunk is filled up with rows of NULLs,
//! which the statements pass over.

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr, SqliteConnection};

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

    fn prepare<T>(&self, chunk: &[T], bind: Bind<T>) -> Result<(SqlStr, SqliteArguments), sqlx::Error> {
        let statement = SIZES
            .iter()
            .zip(&self.statements)
            .find_map(|(size, statement)| (*size >= chunk.len()).then_some(statement))
            .ok_or_else(|| sqlx::Error::Protocol("a chunk is larger than the largest statement".into()))?;
        let mut arguments = SqliteArguments::default();
        sqlx::Arguments::reserve(&mut arguments, chunk.len() * self.columns, 0);
        for row in chunk {
            bind(&mut arguments, row).map_err(sqlx::Error::Encode)?;
        }
        // Placeholders beyond the arguments are NULL.
        Ok((statement.clone(), arguments))
    }
}
