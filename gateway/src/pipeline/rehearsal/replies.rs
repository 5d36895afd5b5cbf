//! A partner that answers by a script: each request of a running call is planned and decided about as in production,
//! and then answered from the case instead of being sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;

use super::Setting;
use super::case::ScriptedReply;
use super::told::RehearsedRequest;
use crate::boundary::{
    Crossing, Permitted, PluginReply, PluginRequest, Subject, Violation, plan_exchange, reply,
};
use crate::plugin_host::{Exchanger, NoReply};

/// What one call can ask through.
pub(super) struct ScriptedPartner {
    setting: Arc<Setting>,
    state: Mutex<State>,
}

struct State {
    crossing: Crossing,
    replies: VecDeque<ScriptedReply>,
    asked: Vec<RehearsedRequest>,
}

impl ScriptedPartner {
    pub(super) fn new(setting: &Arc<Setting>, crossing: Crossing, replies: Vec<ScriptedReply>) -> Self {
        let state = State { crossing, replies: replies.into(), asked: Vec::new() };
        Self { setting: Arc::clone(setting), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What crossed until now, and what was asked.
    pub(super) fn end(&self) -> (Crossing, Vec<RehearsedRequest>) {
        let mut state = self.state();
        (state.crossing.clone(), std::mem::take(&mut state.asked))
    }
}

#[async_trait]
impl Exchanger for ScriptedPartner {
    async fn exchange(
        &self,
        request: PluginRequest,
        memory_touched: bool,
        _until: Instant,
    ) -> Result<Permitted<PluginReply>, NoReply> {
        let setting = &self.setting;
        let state = &mut *self.state();
        if memory_touched {
            state.crossing.touch_memory();
        }
        let subject = setting.subject(&setting.conditions);
        let endpoint = setting.connection.release.endpoint(&request.endpoint).map(|known| known.name.clone());
        let planned = plan_exchange(
            &setting.book,
            &setting.connection,
            &mut state.crossing,
            subject,
            setting.moment,
            request,
        );
        let exchange = planned.map_err(|violation| {
            state.asked.push(RehearsedRequest::refused(endpoint.as_deref(), violation.code()));
            match violation {
                Violation::UndeclaredEndpoint { .. } | Violation::NoReplyDeclared { .. } => NoReply::Rejected,
                // Whether it can be put together may depend on a sealed value.
                _ => NoReply::Unavailable,
            }
        })?;
        let planned = &exchange.delivery;
        let subject = Subject { conditions: &planned.conditions, ..subject };
        let stays = setting.toward_partner(planned, subject);
        let mut tell = |outcome: String| {
            state.asked.push(RehearsedRequest::of(planned, outcome, |path| setting.is_sealed(path)));
        };
        if let Err(code) = stays {
            tell(code.into_owned());
            return Err(NoReply::Unavailable);
        }
        state.crossing.join_exchange(&exchange);
        let scripted = state.replies.iter().position(|reply| reply.endpoint == planned.endpoint.name);
        let Some(scripted) = scripted.and_then(|at| state.replies.remove(at)) else {
            tell("no-reply".into());
            return Err(NoReply::Unavailable);
        };
        let body = scripted.body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        match reply(scripted.status, body, false) {
            Ok(reply) => {
                tell("answered".into());
                Ok(reply)
            }
            Err(fault) => {
                tell(fault.code().into());
                Err(NoReply::Unavailable)
            }
        }
    }
}
