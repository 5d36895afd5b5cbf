//! Walks through the fields of a document beside a scanner that knows where text may stand. For formats in
//! which a field is encoded text (XML, forms): a field may stand only inside a run, whole, and may not
//! share an escape with the text around it.

use super::error::Fault;
use super::render::FieldSpan;

pub(super) struct FieldWalk<'t> {
    fields: &'t [FieldSpan],
    /// Fields before this one have been found in place.
    next: usize,
}

impl<'t> FieldWalk<'t> {
    pub(super) fn new(fields: &'t [FieldSpan]) -> Self {
        Self { fields, next: 0 }
    }

    /// An escape (`&amp;`, `%20`) at `start..end`: part of one field, or of none.
    pub(super) fn escape(&mut self, start: usize, end: usize) -> Result<(), Fault> {
        while let Some(field) = self.fields.get(self.next) {
            if field.start >= end || (field.start <= start && field.end >= end) {
                return Ok(());
            }
            if field.end > start {
                return Err(Fault::Misplaced { field: self.next });
            }
            self.step();
        }
        Ok(())
    }

    /// A run of text at `start..end` has ended. Fields in it are in place; a field before it is not.
    pub(super) fn run(&mut self, from: RunStart, end: usize, lists: bool) -> Result<(), Fault> {
        for (index, field) in self.fields.iter().enumerate().take(self.next).skip(from.next) {
            Self::fits(index, field, from.offset, end, lists)?;
        }
        while let Some(field) = self.fields.get(self.next).filter(|field| field.start <= end) {
            Self::fits(self.next, field, from.offset, end, lists)?;
            self.step();
        }
        Ok(())
    }

    /// To be called where a run begins, before its escapes are reported.
    pub(super) fn start(&self, offset: usize) -> RunStart {
        RunStart { offset, next: self.next }
    }

    /// The document has ended: every field must have been found.
    pub(super) fn end(&self) -> Result<(), Fault> {
        if self.next < self.fields.len() { Err(Fault::Misplaced { field: self.next }) } else { Ok(()) }
    }

    fn fits(index: usize, field: &FieldSpan, start: usize, end: usize, lists: bool) -> Result<(), Fault> {
        if field.start < start || field.end > end {
            Err(Fault::Misplaced { field: index })
        } else if field.list && !lists {
            Err(Fault::ListNotAllowed { field: index })
        } else {
            Ok(())
        }
    }

    fn step(&mut self) {
        self.next = self.next.saturating_add(1);
    }
}

/// Where a run begins.
#[derive(Clone, Copy)]
pub(super) struct RunStart {
    offset: usize,
    next: usize,
}
