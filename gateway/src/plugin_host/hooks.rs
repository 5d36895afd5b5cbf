//! A hook of a release in whichever version of the interface it was built for. Above this file there is one version,
//! the newest; it may not judge what a hook answers.

use wasmtime::Store;
use wasmtime::component::{Component, InstancePre};

use super::bindings::{self, Event, Failure, Message, Outcome};
use super::call::not_started;
use super::instance::InstanceState;

/// What a hook came to: its answer, or its own failure; outside, that it did not return.
type Ran<T> = wasmtime::Result<Result<T, Failure>>;

/// The hook `share`.
pub(super) enum Share {
    V01(bindings::share::SharePluginPre<InstanceState>),
    V02(bindings::share_0_2::SharePluginPre<InstanceState>),
}

/// The hook `decide`.
pub(super) enum Decide {
    V01(bindings::decide::DecidePluginPre<InstanceState>),
    V02(bindings::decide_0_2::DecidePluginPre<InstanceState>),
}

/// The hook `receive`.
pub(super) enum Receive {
    V01(bindings::receive::ReceivePluginPre<InstanceState>),
    V02(bindings::receive_0_2::ReceivePluginPre<InstanceState>),
}

/// Whether a component exports this interface of the package in this version.
fn exports(component: &Component, interface: &str, version: &str) -> bool {
    component.get_export_index(None, format!("integration:plugin/{interface}@{version}")).is_some()
}

impl Share {
    /// The hook, where the component exports it.
    pub(super) fn of(
        component: &Component,
        linked: &InstancePre<InstanceState>,
    ) -> wasmtime::Result<Option<Self>> {
        Ok(if exports(component, "share", "0.2.0") {
            Some(Self::V02(bindings::share_0_2::SharePluginPre::new(linked.clone())?))
        } else if exports(component, "share", "0.1.0") {
            Some(Self::V01(bindings::share::SharePluginPre::new(linked.clone())?))
        } else {
            None
        })
    }

    pub(super) async fn call(&self, store: &mut Store<InstanceState>, event: &Event) -> Ran<Outcome> {
        match self {
            Self::V01(hook) => {
                let plugin = hook.instantiate_async(&mut *store).await.map_err(not_started)?;
                let ran = plugin.integration_plugin_share().call_on_event(store, event).await?;
                Ok(ran.map_err(Failure::from))
            }
            Self::V02(hook) => {
                let plugin = hook.instantiate_async(&mut *store).await.map_err(not_started)?;
                plugin.integration_plugin_share().call_on_event(store, event).await
            }
        }
    }
}

impl Decide {
    /// As [`Share::of`].
    pub(super) fn of(
        component: &Component,
        linked: &InstancePre<InstanceState>,
    ) -> wasmtime::Result<Option<Self>> {
        Ok(if exports(component, "decide", "0.2.0") {
            Some(Self::V02(bindings::decide_0_2::DecidePluginPre::new(linked.clone())?))
        } else if exports(component, "decide", "0.1.0") {
            Some(Self::V01(bindings::decide::DecidePluginPre::new(linked.clone())?))
        } else {
            None
        })
    }

    pub(super) async fn call(
        &self,
        store: &mut Store<InstanceState>,
        slot: &str,
        event: &Event,
    ) -> Ran<String> {
        match self {
            Self::V01(hook) => {
                let plugin = hook.instantiate_async(&mut *store).await.map_err(not_started)?;
                let ran = plugin.integration_plugin_decide().call_decide(store, slot, event).await?;
                Ok(ran.map_err(Failure::from))
            }
            Self::V02(hook) => {
                let plugin = hook.instantiate_async(&mut *store).await.map_err(not_started)?;
                plugin.integration_plugin_decide().call_decide(store, slot, event).await
            }
        }
    }
}

impl Receive {
    /// As [`Share::of`].
    pub(super) fn of(
        component: &Component,
        linked: &InstancePre<InstanceState>,
    ) -> wasmtime::Result<Option<Self>> {
        Ok(if exports(component, "receive", "0.2.0") {
            Some(Self::V02(bindings::receive_0_2::ReceivePluginPre::new(linked.clone())?))
        } else if exports(component, "receive", "0.1.0") {
            Some(Self::V01(bindings::receive::ReceivePluginPre::new(linked.clone())?))
        } else {
            None
        })
    }

    pub(super) async fn call(&self, store: &mut Store<InstanceState>, message: Message) -> Ran<Outcome> {
        match self {
            Self::V01(hook) => {
                let plugin = hook.instantiate_async(&mut *store).await.map_err(not_started)?;
                let ran = plugin.integration_plugin_receive().call_on_message(store, &message).await?;
                Ok(ran.map_err(Failure::from))
            }
            Self::V02(hook) => {
                let Message { id, time, consumer, body, settings } = message;
                let message = bindings::receive_0_2::exports::integration::plugin::receive::Message {
                    id,
                    time,
                    consumer,
                    body,
                    settings,
                };
                let plugin = hook.instantiate_async(&mut *store).await.map_err(not_started)?;
                plugin.integration_plugin_receive().call_on_message(store, &message).await
            }
        }
    }
}
