//! `Gateway`: the API's handle to the store. It has a request admitted, then runs the request's PUT or GET task.

mod reports;
mod traced;

pub use super::get_task::{OpenObject, Opened};
pub use super::put_task::{AppendObjectRequest, PutObjectRequest};
pub use super::request::{
    BodyChecks, BodyFault, BodyStream, ByteRange, Kept, PutPartRequest, StoreError, StoredPart, TrailerChecksum, Upload,
};
pub use reports::{AclAllowed, Reports, acl_of_report};

use super::drives::health::HostState;
use super::frontend::{Admissions, Holder, Permit};
use super::request::{Metadata, RequestContext};
use super::{get_task, put_task};
use crate::storage::kv::KvResult;
use crate::storage::meta::record::{Body, ObjectVersion, Pick};
use crate::storage::meta::view::MetaView;
use crate::storage::sealing::DataKey;
use crate::traces::Spans;
use crate::types::BucketId;
use futures::StreamExt;
use std::sync::Arc;

/// What the bytes of a copy are written to.
#[derive(Clone, Copy, Debug)]
pub enum CopyTarget {
    Object,
    /// A part of an upload. Small parts take more memory than small objects.
    Part,
}

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
        let held = self.held_by_put(request.data_key.as_ref(), request.upload.checks.length_bytes);
        self.put_object_within(self.admit_put(held).await?, request).await
    }

    /// Like `put_object`, with a permit that was had before.
    pub async fn put_object_within(
        &self,
        permit: Permit,
        request: PutObjectRequest,
    ) -> Result<ObjectVersion, StoreError> {
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
        self.put_part_within(permit, request).await
    }

    /// Like `put_part`, with a permit that was had before.
    pub async fn put_part_within(&self, permit: Permit, request: PutPartRequest) -> Result<StoredPart, StoreError> {
        put_task::put_part(&self.context, permit, request).await
    }

    /// Returns a range of an opened object, like `read_object`, and the permit for writing its bytes, sealed with
    /// `data_key`. The permit is for both, and is to be kept for as long as the bytes are read: copies that each held
    /// one for their read and waited for another could block each other.
    pub async fn read_for_put(
        &self,
        object: OpenObject,
        range: ByteRange,
        data_key: Option<&DataKey>,
        to: CopyTarget,
    ) -> Result<(BodyStream, Permit), StoreError> {
        let (geometry, length) = (self.context.geometry, Some(range.end - range.start));
        let read = get_task::held_by_object(geometry, &object, range);
        let as_part = |stored| put_task::part_held_bytes_max(geometry, stored);
        let written = match to {
            CopyTarget::Object => self.held_by_put(data_key, length),
            CopyTarget::Part => put_task::held_bytes_max(data_key, length, as_part),
        };
        let permit = self.admit_put(read.saturating_add(written)).await?;
        let body = get_task::read_object(&self.context, Permit::unmetered(), object, range).await?;
        // A PUT may poll its body again after its end.
        Ok((Box::pin(body.fuse()), permit))
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
        get_task::read_object(&self.context, permit, object, range).await
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

    /// Returns the bytes that a PUT of an object of this declared length holds at most.
    fn held_by_put(&self, data_key: Option<&DataKey>, declared: Option<u64>) -> u64 {
        let held = |stored| put_task::object_held_bytes_max(self.context.geometry, stored);
        put_task::held_bytes_max(data_key, declared, held)
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

#[cfg(test)]
mod tests {
    use super::{ByteRange, CopyTarget, Gateway, OpenObject, Upload};
    use crate::actors::frontend::{AdmissionLimits, Admissions};
    use crate::actors::request::test_world::{KEY, World, upload};
    use crate::storage::meta::record::Pick;
    use bytes::Bytes;
    use futures::future::try_join_all;
    use std::sync::Arc;
    use std::time::Duration;

    const SIZE: u64 = 3 << 20;

    fn gateway(world: &World, bytes: u64) -> Gateway {
        let limits = AdmissionLimits { bytes, requests: 100, waiting: 100 };
        Gateway::new(Admissions::start(limits, Duration::from_secs(30)), Arc::clone(&world.context))
    }

    async fn open(world: &World, gateway: &Gateway) -> OpenObject {
        let opened = gateway.open_object(world.meta.view(), world.bucket, KEY, Pick::Current).await;
        opened.expect("looked up").object().expect("it is there")
    }

    #[actix::test]
    async fn copies_do_not_wait_for_each_others_memory() {
        let world = World::new(2, 1);
        world.put_bytes(&Bytes::from(vec![7; SIZE as usize])).await.expect("put");
        let range = ByteRange { start: 0, end: SIZE };
        let ample = gateway(&world, 1 << 30);
        let (_, permit) =
            ample.read_for_put(open(&world, &ample).await, range, None, CopyTarget::Object).await.expect("admitted");
        // Room for two copies, or for the reads of four.
        let gateway = gateway(&world, permit.bytes() * 5 / 2);
        let copy = async || {
            let (body, permit) =
                gateway.read_for_put(open(&world, &gateway).await, range, None, CopyTarget::Object).await?;
            let put = world.put_request(Upload { body, ..upload(&Bytes::new(), 1) });
            gateway.put_object_within(permit, put).await
        };
        let copies = try_join_all((0..8).map(|_| copy())).await.expect("each has its turn");
        assert!(copies.iter().all(|copy| copy.manifest.size_bytes == SIZE));
    }
}
