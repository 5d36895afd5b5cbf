//! Progress of what takes longer than a second, on standard error: a moving line on a terminal, plain
//! lines elsewhere. Nothing of it goes to standard output.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line that tells what goes on, or how much is done. Clones are the same line.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Line>);

#[derive(Debug)]
struct Line {
    /// None: standard error is no terminal.
    bar: Option<ProgressBar>,
}

/// How often a moving line is drawn anew.
const TICK: Duration = Duration::from_millis(120);

impl Progress {
    /// Something whose length nobody knows.
    pub(super) fn spinner(message: &str) -> Self {
        Self::new(ProgressBar::new_spinner, "{spinner} {wide_msg}", message)
    }

    /// Something with `total` parts.
    pub(super) fn bar(total: u64, message: &str) -> Self {
        Self::new(|| ProgressBar::new(total), "{msg} {wide_bar} {percent} % {eta}", message)
    }

    fn new(bar: impl FnOnce() -> ProgressBar, template: &str, message: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            eprintln!("{message}");
            return Self(Arc::new(Line { bar: None }));
        }
        let bar = bar();
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(message.to_owned());
        bar.enable_steady_tick(TICK);
        Self(Arc::new(Line { bar: Some(bar) }))
    }

    /// What goes on now.
    pub(super) fn say(&self, message: &str) {
        match &self.0.bar {
            Some(bar) => bar.set_message(message.to_owned()),
            None => eprintln!("{message}"),
        }
    }

    /// A line that stays.
    pub(super) fn keep(&self, message: &str) {
        match &self.0.bar {
            Some(bar) => bar.println(message),
            None => eprintln!("{message}"),
        }
    }

    /// So many parts more are done.
    pub(super) fn advance(&self, parts: u64) {
        if let Some(bar) = &self.0.bar {
            bar.inc(parts);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
