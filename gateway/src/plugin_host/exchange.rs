//! The interface `exchange`: hands a request of the running call on and waits for the reply, within the call's
//! deadline. It decides nothing, sends nothing, and knows of no reason.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::boundary::{Permitted, PluginReply, PluginRequest};

use super::bindings::{Failure, Failure01, Request, Response};
use super::error::CallError;
use super::instance::{InstanceState, charge};
use super::limits::{HOST_CALL_FUEL, Limits};
use super::output;

/// What a plugin hears of a request that its manifest does not allow.
const REJECTED: &str = "the manifest does not allow this request";
/// What it hears of every other request without a reply: that a partner was not asked says nothing about the
/// consumer, if a partner that was asked may have said the same.
const UNAVAILABLE: &str = "the partner has given no answer that can be used";

/// Takes the requests of one call to the partner, while the call waits.
#[async_trait]
pub trait Exchanger: Send + Sync {
    /// Asks once, and answers by `until`. `memory_touched` says whether the call has looked at its memory: then
    /// the request carries its labels.
    ///
    /// # Errors
    /// [`NoReply`], which says as little as the plugin may know.
    async fn exchange(
        &self,
        request: PluginRequest,
        memory_touched: bool,
        until: Instant,
    ) -> Result<Permitted<PluginReply>, NoReply>;
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// The manifest has no such endpoint, or none that answers.
    Rejected,
    /// Anything else.
    Unavailable,
}

/// A call's requests.
pub(super) struct Exchanges {
    exchanger: Option<Arc<dyn Exchanger>>,
    until: Instant,
    made: usize,
    most: usize,
    request_bytes: usize,
}

impl Exchanges {
    /// Without an exchanger, every request goes without a reply.
    pub(super) fn new(limits: &Limits, exchanger: Option<Arc<dyn Exchanger>>, until: Instant) -> Self {
        Self { exchanger, until, made: 0, most: limits.exchanges, request_bytes: limits.request_bytes }
    }
}

impl Exchanges {
    /// Requests made, and how many may be.
    pub(super) fn spent(&self) -> (usize, usize) {
        (self.made, self.most)
    }
}

/// A call that asks for too much ends, as one does that gives back too much.
#[derive(Debug)]
pub(super) struct OverLimit(CallError);

impl OverLimit {
    /// The error of the call.
    pub(super) fn error(&self) -> CallError {
        match self.0 {
            CallError::OutputTooLarge { what, used, allowed } => {
                CallError::OutputTooLarge { what, used, allowed }
            }
            _ => CallError::Internal,
        }
    }
}

impl fmt::Display for OverLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for OverLimit {}

/// Gives guests the interface.
pub(super) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.instance("integration:plugin/exchange@0.1.0")?.func_wrap_async("send", |store, (request,)| {
        Box::new(async move {
            let answer = send(store, request).await?;
            Ok((answer.map_err(|none| match none {
                NoReply::Rejected => Failure01::Rejected(REJECTED.to_owned()),
                NoReply::Unavailable => Failure01::Unavailable(UNAVAILABLE.to_owned()),
            }),))
        })
    })?;
    linker.instance("integration:plugin/exchange@0.2.0")?.func_wrap_async("send", |store, (request,)| {
        Box::new(async move {
            let answer = send(store, request).await?;
            Ok((answer.map_err(|none| match none {
                NoReply::Rejected => Failure::Rejected(REJECTED.to_owned()),
                NoReply::Unavailable => Failure::Unavailable(UNAVAILABLE.to_owned()),
            }),))
        })
    })
}

async fn send(
    mut store: StoreContextMut<'_, InstanceState>,
    request: Request,
) -> wasmtime::Result<Result<Response, NoReply>> {
    let state = store.data_mut();
    let exchanges = &mut state.exchanges;
    exchanges.made += 1;
    if exchanges.made > exchanges.most {
        let error =
            CallError::OutputTooLarge { what: "exchanges", used: exchanges.made, allowed: exchanges.most };
        return Err(OverLimit(error).into());
    }
    let (exchanger, until) = (exchanges.exchanger.clone(), exchanges.until);
    let (request, bytes) = output::request(exchanges.request_bytes, request).map_err(OverLimit)?;
    let touched = state.memory.is_touched();
    charge(&mut store, HOST_CALL_FUEL.saturating_add(bytes as u64))?;
    let Some(exchanger) = exchanger else {
        return Ok(Err(NoReply::Unavailable));
    };
    match exchanger.exchange(request, touched, until).await {
        Ok(reply) => {
            let PluginReply { status, body } = reply.release();
            charge(&mut store, body.len() as u64)?;
            Ok(Ok(Response { status, body }))
        }
        Err(none) => Ok(Err(none)),
    }
}
