//! Turns the database's errors into the store's. Their text goes to the log, never to a caller; it names
//! tables and columns and never bound values.

use super::super::StoreError;

/// What stopped a group of operations.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The database said so.
    Database(sqlx::Error),
    /// A statement wrote fewer rows than there were operations: one of them is void, and the group does not
    /// know which.
    Void,
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Trouble {
    /// Whether it lies with an operation rather than with the database: then the others may still succeed.
    pub(super) fn is_of_one(&self) -> bool {
        match self {
            Self::Void => true,
            Self::Database(error) => is_refusal(error),
        }
    }
}

/// Whether the database refused what was asked, being in order itself.
fn is_refusal(error: &sqlx::Error) -> bool {
    /// SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE.
    const REFUSALS: [u32; 4] = [18, 19, 20, 25];
    match error {
        sqlx::Error::Database(error) => error
            .code()
            .and_then(|code| code.parse::<u32>().ok())
            .is_some_and(|code| REFUSALS.contains(&(code & 0xff))),
        sqlx::Error::Encode(_) => true,
        _ => false,
    }
}

/// Whether the connection itself is gone.
pub(super) fn is_broken(error: &sqlx::Error) -> bool {
    !matches!(error, sqlx::Error::Database(_) | sqlx::Error::Encode(_) | sqlx::Error::RowNotFound)
}

/// Logs the database's error; what the caller gets.
pub(super) fn unavailable(doing: &'static str, error: &sqlx::Error) -> StoreError {
    tracing::error!(%error, doing, "the store is unavailable");
    StoreError::Unavailable
}

/// Logs the database's error about one operation; what its caller gets.
pub(super) fn refused(what: &'static str, trouble: &Trouble) -> StoreError {
    match trouble {
        Trouble::Void => tracing::debug!(what, "an operation of the store was void"),
        Trouble::Database(error) => tracing::error!(%error, what, "the store refused an operation"),
    }
    StoreError::Contradiction(what)
}
