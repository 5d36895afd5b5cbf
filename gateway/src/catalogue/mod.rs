//! The catalogue: which event types there are and what their fields are. It decides no flow.

pub mod path;

pub use path::{FieldPath, FieldPathError, Projection, Segment, project};
