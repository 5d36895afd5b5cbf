//! A stable word for each way in which a build falls short, under which the reference of codes says what to do.

use super::{BuildError, ToolError};
use crate::cli::plugin::toolchain::ToolchainError;

impl BuildError {
    /// Its section in the reference of codes; none where it lists problems that have their own.
    pub fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Manifest { .. } | Self::Refused { .. } => return None,
            Self::NotAPlugin { .. } => "not-a-plugin",
            Self::TwoLanguages { .. } => "two-languages",
            Self::Catalogue(_) => "internal",
            Self::Toolchain(ToolchainError::Missing { .. }) => "compiler-missing",
            Self::Toolchain(ToolchainError::CannotInstall { .. } | ToolchainError::Install { .. }) => {
                "compiler-not-installed"
            }
            Self::Toolchain(ToolchainError::Start { .. }) => "program-not-started",
            Self::Tool(ToolError::Missing { .. }) => "tool-missing",
            Self::Tool(ToolError::TooOld { .. }) => "tool-too-old",
            Self::Tool(ToolError::Install { .. }) => "tool-not-installed",
            Self::Tool(ToolError::NoCache | ToolError::Write { .. }) => "tool-without-place",
            Self::Package { .. } => "package-unreadable",
            Self::NotLocked { .. } => "not-locked",
            Self::Dependencies { .. } => "dependencies-not-installed",
            Self::Compile { .. } => "does-not-compile",
            Self::NoModule { .. } => "no-module",
            Self::Encode { .. } => "not-encoded",
            Self::UnknownApi { .. } => "api-not-served",
            Self::Embed(_) => "not-embedded",
            Self::NotAFile { .. } => "source-not-a-file",
            Self::File { .. } => "file-not-usable",
        })
    }
}
