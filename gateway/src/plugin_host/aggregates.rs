//! The interface `aggregates`: hands a guest's question on, and its answer back. It knows no consumer, and who
//! may ask is the boundary's to say.

use std::future::Future;

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::boundary::{AggregateQuestion, MayAsk};

use super::instance::{InstanceState, charge};
use super::limits::{AGGREGATE_CALL_FUEL, AGGREGATE_CALLS, AGGREGATE_TEXT_BYTES};

/// The one refusal.
const NO_ANSWER: &str = "there is no answer to this question";

/// What a call may still ask.
pub(super) struct Asking {
    /// None: nothing.
    may_ask: Option<MayAsk>,
    left: u32,
}

impl Asking {
    pub(super) fn new(may_ask: Option<MayAsk>) -> Self {
        Self { may_ask, left: AGGREGATE_CALLS }
    }

    /// Takes one of the call's questions.
    fn take(&mut self) -> Option<MayAsk> {
        self.left = self.left.checked_sub(1)?;
        self.may_ask.clone()
    }
}

type Asked = (String, String, Option<String>, String, Option<String>);
type Answer = Result<Vec<(String, f64)>, String>;

/// Gives guests `query`.
pub(super) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.instance("integration:plugin/aggregates@0.1.0")?.func_wrap_async("query", query)?;
    linker.instance("integration:plugin/aggregates@0.2.0")?.func_wrap_async("query", query)
}

fn query(
    mut store: StoreContextMut<'_, InstanceState>,
    asked: Asked,
) -> Box<dyn Future<Output = wasmtime::Result<(Answer,)>> + Send + '_> {
    Box::new(async move {
        charge(&mut store, AGGREGATE_CALL_FUEL)?;
        let (measure, event, field, day, by) = asked;
        let texts = [Some(&measure), Some(&event), field.as_ref(), Some(&day), by.as_ref()];
        let short = texts.into_iter().flatten().all(|text| text.len() <= AGGREGATE_TEXT_BYTES);
        let answer = match store.data_mut().asking.take() {
            Some(may_ask) if short => may_ask.ask(AggregateQuestion { measure, event, field, day, by }).await,
            _ => None,
        };
        Ok((answer.ok_or_else(|| NO_ANSWER.to_owned()),))
    })
}
