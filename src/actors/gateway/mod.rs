//! The API's handle to the store: admission, then the request tasks, over the metadata and the nodes.

mod reports;

pub use super::get_task::{OpenObject, Opened};
pub use super::put_task::AppendObjectRequest;
pub use super::request::{
    BodyChecks, BodyFault, BodyStream, ByteRange, Kept, PutObjectRequest, PutPartRequest, StoreError, StoredPart,
    TrailerChecksum, Upload,
};
pub use reports::Reports;

use super::drives::health::HostState;
use super::frontend::{AdmitGet, AdmitPut, Holder, Permit, S3Frontend};
use super::request::{Metadata, RequestContext};
use super::{get_task, put_task};
use crate::storage::kv::KvResult;
use crate::storage::meta::record::{Body, ObjectVersion, Pick};
use crate::storage::meta::view::MetaView;
use crate::types::BucketId;
use actix::Addr;
use futures::StreamExt;
use std::sync::Arc;

/// The store as the API sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    frontend: Addr<S3Frontend>,
    context: Arc<RequestContext>,
    /// Whose share of the memory requests take.
    holder: Holder,
}

impl Gateway {
    pub fn new(frontend: Addr<S3Frontend>, context: Arc<RequestContext>) -> Self {
        Self { frontend, context, holder: Holder::Store }
    }

    /// Returns one whose requests hold memory for this holder.
    pub fn held_by(&self, holder: Holder) -> Self {
        Self { holder, ..self.clone() }
    }

    /// Lookups and metadata-only changes.
    pub fn meta(&self) -> &dyn Metadata {
        self.context.metadata.as_ref()
    }

    /// Counts the hosts that serve S3 and are up, as far as this one knows. One that was not asked yet counts.
    pub fn serving_hosts(&self, view: &MetaView) -> KvResult<u32> {
        let (roles, health) = (view.roles()?, self.context.health.current());
        let is_up = |host| host == self.context.host || health.host(host).is_none_or(HostState::is_up);
        let serving = view.hosts()?.into_iter().filter(|host| roles.of(host.id).gateway && is_up(host.id)).count();
        Ok(u32::try_from(serving).unwrap_or(u32::MAX))
    }

    /// Stores an object; the version as it stands. 200 may be answered on return.
    pub async fn put_object(&self, request: PutObjectRequest) -> Result<ObjectVersion, StoreError> {
        let declared = request.upload.checks.length_bytes;
        let held = |stored| put_task::object_held_bytes_max(self.context.geometry, stored);
        let permit = self.admit_put(put_task::held_bytes_max(request.data_key.as_ref(), declared, held)).await?;
        put_task::put_object(&self.context, permit, request).await
    }

    /// Adds to the end of an object; the version as it stands then.
    pub async fn append_object(&self, request: AppendObjectRequest) -> Result<ObjectVersion, StoreError> {
        let held = |stored| put_task::part_held_bytes_max(self.context.geometry, stored);
        let data_key = request.standing.data_key();
        let manifest = &request.standing.version.manifest;
        let head = match manifest.body {
            Body::Inline => put_task::held_bytes_max(data_key, Some(manifest.size_bytes), held),
            _ => 0,
        };
        let body = put_task::held_bytes_max(data_key, request.upload.checks.length_bytes, held);
        // All in one: who waited for more while holding some would hold up others who do the same.
        let all = self.admit_put(head + body).await?;
        let permits = if head == 0 {
            put_task::AppendPermits { body: all, head: Permit::unmetered() }
        } else {
            put_task::AppendPermits { body: Permit::unmetered(), head: all }
        };
        put_task::append_object(&self.context, permits, request).await
    }

    pub async fn put_part(&self, request: PutPartRequest) -> Result<StoredPart, StoreError> {
        let declared = request.upload.checks.length_bytes;
        let held = |stored| put_task::part_held_bytes_max(self.context.geometry, stored);
        let permit = self.admit_put(put_task::held_bytes_max(request.data_key.as_ref(), declared, held)).await?;
        put_task::put_part(&self.context, permit, request).await
    }

    /// A version of a key, held so that what it refers to is not reclaimed before it is read. `view` is where it is looked up
    /// first; where the object is replaced meanwhile, it is looked up again.
    pub async fn open_object(
        &self,
        view: MetaView,
        bucket: BucketId,
        key: &str,
        pick: Pick,
    ) -> Result<Opened, StoreError> {
        get_task::open_object(&self.context, view, bucket, key, pick).await
    }

    /// The bytes of an opened object. The first chunk has been read when this returns, so that what cannot be read is an
    /// error and not a broken body.
    pub async fn read_object(&self, object: OpenObject, range: ByteRange) -> Result<BodyStream, StoreError> {
        let permit = self.admit_get(&object, range).await?;
        let body = get_task::read_object(&self.context, permit, object, range).await?;
        // A copy makes this the body of a PUT, whose reader may ask again after the end.
        Ok(Box::pin(body.fuse()))
    }

    /// The bytes of one object version that is not sealed, as `read_object`; `Unavailable` where it was replaced since it was looked up and its
    /// bytes went with it.
    pub async fn read_body(&self, version: &ObjectVersion, range: ByteRange) -> Result<BodyStream, StoreError> {
        let object = get_task::reopen(&self.context, version).await?;
        self.read_object(object, range).await
    }

    /// Refuses a user's change through `meta().propose` while writes are refused (too few drives, no space), with the
    /// reason.
    pub fn check_writable(&self) -> Result<(), StoreError> {
        self.context.check_writable()
    }

    /// As `check_writable`, for changes that free space or need none: a full drive does not refuse them.
    pub fn check_changeable(&self) -> Result<(), StoreError> {
        self.context.check_changeable()
    }

    async fn admit_put(&self, bytes: u64) -> Result<Permit, StoreError> {
        self.context.check_writable()?;
        self.frontend.send(AdmitPut { bytes, holder: self.holder.clone() }).await.map_err(|_| stopping())?
    }

    /// Bytes that ride in the metadata are bounded by the connections that carry them and need no permit.
    async fn admit_get(&self, object: &OpenObject, range: ByteRange) -> Result<Permit, StoreError> {
        match get_task::held_by_object(self.context.geometry, object, range) {
            0 => Ok(Permit::unmetered()),
            bytes => {
                self.frontend.send(AdmitGet { bytes, holder: self.holder.clone() }).await.map_err(|_| stopping())?
            }
        }
    }
}

fn stopping() -> StoreError {
    StoreError::Unavailable { why: "the server is shutting down".to_owned() }
}
