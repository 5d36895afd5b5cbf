//! The manifest of what is built, checked as publication checks it.

use std::path::Path;

use super::BuildError;
use crate::catalogue::Catalogue;
use crate::manifest::{Manifest, ManifestErrors, Problem, Reading, load_dir, read_dir};

/// A problem that is told and keeps nothing from being built: the gateway that it is published to may have event types
/// that this program does not know.
fn is_left_to_publication(problem: &Problem) -> bool {
    problem.code == "unknown-event"
}

/// Reads and checks it.
///
/// # Errors
/// [`BuildError::Manifest`] with everything that is wrong.
pub(super) fn read(dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<Manifest, BuildError> {
    let wrong = |source| BuildError::Manifest { dir: dir.to_path_buf(), source };
    let catalogue = Catalogue::embedded().map_err(|error| BuildError::Catalogue(error.to_string()))?;
    let Reading { manifest, problems } = read_dir(dir, &catalogue);
    match manifest {
        Some(manifest) => Ok(manifest),
        None if problems.iter().all(is_left_to_publication) => {
            problems.iter().for_each(|problem| progress(&format!("warning: {problem}")));
            load_dir(dir).map_err(wrong)
        }
        None => Err(wrong(ManifestErrors(problems))),
    }
}
