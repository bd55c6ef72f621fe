//! `Gateway`: the API's handle to the store. It has a request admitted, then runs the request's PUT or GET task.

mod reports;
mod traced;

pub use super::get_task::{OpenObject, Opened};
pub use super::put_task::AppendObjectRequest;
pub use super::request::{
    BodyChecks, BodyFault, BodyStream, ByteRange, Kept, PutObjectRequest, PutPartRequest, StoreError, StoredPart,
    TrailerChecksum, Upload,
};
pub use reports::Reports;

use super::drives::health::HostState;
use super::frontend::{Admissions, Holder, Permit};
use super::request::{Metadata, RequestContext};
use super::{get_task, put_task};
use crate::storage::kv::KvResult;
use crate::storage::meta::record::{Body, ObjectVersion, Pick};
use crate::storage::meta::view::MetaView;
use crate::traces::Spans;
use crate::types::BucketId;
use futures::StreamExt;
use std::sync::Arc;

/// The store as the API sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    admissions: Admissions,
    context: Arc<RequestContext>,
    /// The party on whose share of the memory the requests count.
    holder: Holder,
}

impl Gateway {
    pub fn new(admissions: Admissions, context: Arc<RequestContext>) -> Self {
        Self { admissions, context, holder: Holder::Store }
    }

    /// Returns a gateway whose requests count on this holder's share of the memory.
    pub fn held_by(&self, holder: Holder) -> Self {
        Self { holder, ..self.clone() }
    }

    /// Returns a gateway whose requests record their spans here; `None` if nothing is recorded.
    pub fn traced(&self, spans: &Spans) -> Option<Self> {
        spans.is_on().then(|| Self { context: traced::traced(&self.context, spans), ..self.clone() })
    }

    /// Returns the handle for lookups, and for changes of the metadata alone.
    pub fn meta(&self) -> &dyn Metadata {
        self.context.metadata.as_ref()
    }

    /// Counts the hosts that serve S3 and are up, as far as this host knows. A host whose health is not known yet
    /// counts.
    pub fn serving_hosts(&self, view: &MetaView) -> KvResult<u32> {
        let (roles, health) = (view.roles()?, self.context.health.current());
        let is_up = |host| host == self.context.host || health.host(host).is_none_or(HostState::is_up);
        let serving = view.hosts()?.into_iter().filter(|host| roles.of(host.id).gateway && is_up(host.id)).count();
        Ok(u32::try_from(serving).unwrap_or(u32::MAX))
    }

    /// Stores an object and returns its version. It is durable on return: the client may be answered 200.
    pub async fn put_object(&self, request: PutObjectRequest) -> Result<ObjectVersion, StoreError> {
        let declared = request.upload.checks.length_bytes;
        let held = |stored| put_task::object_held_bytes_max(self.context.geometry, stored);
        let permit = self.admit_put(put_task::held_bytes_max(request.data_key.as_ref(), declared, held)).await?;
        put_task::put_object(&self.context, permit, request).await
    }

    /// Appends to an object and returns the version that results.
    pub async fn append_object(&self, request: AppendObjectRequest) -> Result<ObjectVersion, StoreError> {
        let held = |stored| put_task::part_held_bytes_max(self.context.geometry, stored);
        let data_key = request.standing.data_key();
        let manifest = &request.standing.version.manifest;
        let head = match manifest.body {
            Body::Inline => put_task::held_bytes_max(data_key, Some(manifest.size_bytes), held),
            _ => 0,
        };
        let body = put_task::held_bytes_max(data_key, request.upload.checks.length_bytes, held);
        // One permit for both: requests that each held one and waited for another could block each other for ever.
        let permit = self.admit_put(head + body).await?;
        put_task::append_object(&self.context, permit, request).await
    }

    pub async fn put_part(&self, request: PutPartRequest) -> Result<StoredPart, StoreError> {
        let declared = request.upload.checks.length_bytes;
        let held = |stored| put_task::part_held_bytes_max(self.context.geometry, stored);
        let permit = self.admit_put(put_task::held_bytes_max(request.data_key.as_ref(), declared, held)).await?;
        put_task::put_part(&self.context, permit, request).await
    }

    /// Opens a version of a key: looks it up and keeps its blobs from being reclaimed before they are read. The first
    /// lookup is in `view`. If the object is replaced meanwhile, it is looked up again.
    pub async fn open_object(
        &self,
        view: MetaView,
        bucket: BucketId,
        key: &str,
        pick: Pick,
    ) -> Result<Opened, StoreError> {
        get_task::open_object(&self.context, view, bucket, key, pick).await
    }

    /// Returns the bytes of an opened object. The first chunk has been read on return, so that an unreadable object is
    /// an error instead of a broken body.
    pub async fn read_object(&self, object: OpenObject, range: ByteRange) -> Result<BodyStream, StoreError> {
        let permit = self.admit_get(&object, range).await?;
        let body = get_task::read_object(&self.context, permit, object, range).await?;
        // A copy uses this stream as the body of a PUT, which may poll it again after its end.
        Ok(Box::pin(body.fuse()))
    }

    /// Returns the bytes of an object version that is not encrypted, like `read_object`. `Unavailable` if the version
    /// was replaced since its lookup and its bytes are gone.
    pub async fn read_body(&self, version: &ObjectVersion, range: ByteRange) -> Result<BodyStream, StoreError> {
        let object = get_task::reopen(&self.context, version).await?;
        self.read_object(object, range).await
    }

    /// Refuses while writes are refused (too few drives, no space), with the reason. Call it before a user's change
    /// through `meta().propose`.
    pub fn check_writable(&self) -> Result<(), StoreError> {
        self.context.check_writable()
    }

    /// Like `check_writable`, for changes that free space or need none: full drives are no reason to refuse these.
    pub fn check_changeable(&self) -> Result<(), StoreError> {
        self.context.check_changeable()
    }

    async fn admit_put(&self, bytes: u64) -> Result<Permit, StoreError> {
        self.context.check_writable()?;
        let _span = self.context.spans.begin("admit");
        self.admissions.admit(bytes, &self.holder).await
    }

    /// Admits a GET. Inline bytes need no permit: the limits of connections bound them.
    async fn admit_get(&self, object: &OpenObject, range: ByteRange) -> Result<Permit, StoreError> {
        match get_task::held_by_object(self.context.geometry, object, range) {
            0 => Ok(Permit::unmetered()),
            bytes => {
                let _span = self.context.spans.begin("admit");
                self.admissions.admit(bytes, &self.holder).await
            }
        }
    }
}
