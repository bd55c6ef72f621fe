//! The background work of a host for buckets: sends events to webhooks, writes access logs and inventories, and removes
//! what is due by lifecycle rules.

use super::error::HostError;
use super::requests::Requests;
use crate::actors::events::access_log::{self, AccessLogger, LogLimits};
use crate::actors::events::inventory::{Inventories, InventoryContext, InventoryOptions, Reporting};
use crate::actors::events::{
    Deliverer, DeliveryContext, DeliveryOptions, EventSink, EventSource, MetadataQueue, ReportStore, Target, Targets,
    Webhook, deliveries,
};
use crate::actors::gateway::Reports;
use crate::actors::lifecycle::{Lifecycle, LifecycleContext, LifecycleOptions, Sweeping};
use crate::actors::upkeep::{Background, Stop};
use crate::ambient::Ambient;
use crate::api::{ROOT_ACCOUNT, allows_acl};
use crate::config::{self, Config};
use crate::net::Poster;
use actix::{Actor, Addr};
use futures::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The longest wait, when the host stops, for lines of access logs to be written; later lines are lost.
const LOGS_PATIENCE: Duration = Duration::from_millis(1500);
/// The longest wait, when the host stops, for the current step of each chore. An event that no webhook has acknowledged
/// by then is delivered again by the next leader.
const STEPS_PATIENCE: Duration = Duration::from_millis(500);

/// Makes the webhooks that the configuration names.
pub(super) fn targets(webhooks: &[config::Webhook], ambient: &Ambient) -> Result<Targets, HostError> {
    let target = |hook: &config::Webhook| -> Result<(String, Target), HostError> {
        Ok((hook.name.clone(), Target { sink: webhook(hook, ambient)?, queue_limit: hook.queue_limit }))
    };
    Ok(Targets::new(webhooks.iter().map(target).collect::<Result<Vec<_>, _>>()?))
}

pub(super) fn webhook(webhook: &config::Webhook, ambient: &Ambient) -> Result<Arc<dyn EventSink>, HostError> {
    let poster = Poster::new(&webhook.url, webhook.ca_file.as_deref());
    let poster = poster.map_err(|cause| {
        let end = if cause.is_of_authorities() { "CA_FILE" } else { "URL" };
        HostError::Webhook { setting: format!("SHERD_WEBHOOK_{}_{end}", webhook.name), cause }
    })?;
    Ok(Arc::new(Webhook::new(poster, webhook.secret.as_deref(), ambient.clone())))
}

/// The running chores.
pub(super) struct BucketChores {
    deliverers: Vec<Addr<Deliverer>>,
    lifecycle: Addr<Lifecycle>,
    inventories: Addr<Inventories>,
    /// Takes the lines of buckets' access logs.
    pub access_log: Addr<AccessLogger>,
}

impl BucketChores {
    pub fn start(config: &Config, requests: &Requests, targets: &Targets, host_id: &str) -> Self {
        let (cluster, ambient) = (&requests.cluster, &requests.cluster.ambient);
        let delivery = DeliveryContext {
            queue: Arc::new(MetadataQueue::new(cluster.clone())),
            ambient: ambient.clone(),
            speaker: EventSource { region: config.region.clone(), account: ROOT_ACCOUNT.to_owned() },
            options: DeliveryOptions::default(),
        };
        let deliverers = deliveries(targets, &delivery).into_iter().map(|one| Background::new(one).start());
        let lifecycle = LifecycleContext {
            metadata: Arc::clone(&cluster.metadata),
            threads: Arc::clone(&cluster.threads),
            ambient: ambient.clone(),
            load: cluster.load.clone(),
            targets: targets.clone(),
            host_id: host_id.to_owned(),
        };
        let options = LifecycleOptions { day: config.lifecycle_day, ..LifecycleOptions::default() };
        let reports = Reports {
            gateway: requests.gateway.clone(),
            targets: targets.clone(),
            ambient: ambient.clone(),
            host_id: host_id.to_owned(),
            acl_allowed: allows_acl,
        };
        let reports: Arc<dyn ReportStore> = Arc::new(reports);
        let inventories = InventoryContext {
            metadata: Arc::clone(&cluster.metadata),
            threads: Arc::clone(&cluster.threads),
            ambient: ambient.clone(),
            load: cluster.load.clone(),
            reports: Arc::clone(&reports),
        };
        let limits = LogLimits { age_max: config.access_log_interval, ..LogLimits::default() };
        Self {
            deliverers: deliverers.collect(),
            lifecycle: Background::new(Sweeping::new(lifecycle, options)).start(),
            inventories: Background::new(Reporting::new(inventories, InventoryOptions::default())).start(),
            access_log: AccessLogger::new(reports, ambient.clone(), limits).start(),
        }
    }

    /// Stops the work, once no request is left and while objects can still be written.
    pub async fn stop(&self) {
        let deliverers = join_all(self.deliverers.iter().map(|deliverer| deliverer.send(Stop)));
        let steps = async { tokio::join!(deliverers, self.lifecycle.send(Stop), self.inventories.send(Stop)) };
        let logs = timeout(LOGS_PATIENCE, self.access_log.send(access_log::Stop));
        // A chore that has stopped already does not answer. A step that is still running fails at its next request.
        let (logs, _) = tokio::join!(logs, timeout(STEPS_PATIENCE, steps));
        if logs.is_err() {
            tracing::warn!("lines of access logs were not written in time and are lost");
        }
    }
}
