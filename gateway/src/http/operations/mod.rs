//! The operations of the API, one file each: its documentation, whom it admits, its handler, and what it
//! alone needs.

pub(super) mod accept_events;
pub(super) mod approve_disclosure;
mod choices_schema;
mod cloud_event;
pub(super) mod decide;
pub(super) mod delete_connection;
pub(super) mod export_disclosure;
pub(super) mod get_aggregate;
pub(super) mod get_choices;
pub(super) mod get_connection;
pub(super) mod get_consumer;
pub(super) mod get_disclosure;
pub(super) mod get_flow;
pub(super) mod healthz;
pub(super) mod link_consumers;
pub(super) mod list_connections;
pub(super) mod list_dead_letters;
pub(super) mod list_flows;
pub(super) mod list_plugins;
pub(super) mod list_releases;
pub(super) mod list_returns;
pub(super) mod metrics;
pub(super) mod openapi_document;
pub(super) mod preview_connection;
pub(super) mod problem_page;
pub(super) mod publish_release;
pub(super) mod put_brand;
pub(super) mod put_choices;
pub(super) mod put_connection;
pub(super) mod put_contract;
pub(super) mod put_partner;
pub(super) mod readyz;
pub(super) mod receive_message;
pub(super) mod request_disclosure;
pub(super) mod resend_dead_letter;
