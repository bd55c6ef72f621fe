//! All bounds and sizes of the store, with compile-time checks of the relations between them.

use std::time::Duration;

/// The unit of direct input and output, and of record alignment.
pub const BLOCK_BYTES: usize = 4096;
/// The largest chunk of a shard; the unit of checksums and of range reads.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Stripes that a PUT gathers for one append to each of its nodes.
pub const APPEND_STRIPES: usize = 2;
/// Appends of one PUT that may be under way at once.
pub const PUT_APPENDS_IN_FLIGHT: usize = 2;
/// Stripes that a GET asks its nodes for in one request each.
pub const GET_READ_STRIPES: usize = 2;
/// Stripes that a GET holds or reads ahead of its client.
pub const GET_STRIPES_AHEAD: usize = 4;

/// The longest file that a setting names.
pub const SETTING_FILE_BYTES_MAX: u64 = 16 << 20;
/// The time within which such a file has to be read.
pub const SETTING_FILE_WAIT_MAX: Duration = Duration::from_secs(5);
/// The bounds of the time between the start of a read of such a file that hangs and the admission of another one beside
/// it. It begins with the first, and is doubled for each earlier read that hangs as well.
pub const SETTING_FILE_AGAIN_AFTER: Duration = Duration::from_secs(60);
pub const SETTING_FILE_AGAIN_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The time within which a request that cannot be served is refused: the sum of its waits, for admission or the
/// metadata and then for an append, a change or a read.
pub const REFUSED_WITHIN: Duration = Duration::from_secs(8);
/// The longest time for which a read of the metadata waits for a leader.
pub const META_READ_WAIT_MAX: Duration = Duration::from_secs(4);
/// The time after which a change of the metadata that is not decided is given up; its outcome may be unknown.
pub const PROPOSAL_WAIT_MAX: Duration = Duration::from_secs(6);
/// The time for which an append waits for the other nodes after a quorum has answered.
pub const APPEND_LATE_AFTER: Duration = Duration::from_millis(1500);
/// The same for nodes that are suspect already.
pub const APPEND_SUSPECT_WAIT: Duration = Duration::from_millis(250);
/// The time after which an append without a quorum has failed.
pub const APPEND_WAIT_MAX: Duration = Duration::from_secs(6);
/// The bounds of the time after which a read that takes longer than most of its node asks parity shards as well.
pub const READ_HEDGE_MIN: Duration = Duration::from_millis(5);
pub const READ_HEDGE_MAX: Duration = Duration::from_millis(400);
/// The wait for a node that does not answer, which is asked only if no other shards are left.
pub const READ_GONE_WAIT: Duration = Duration::from_secs(1);
/// The time after which an incomplete read of a group of stripes has failed.
pub const READ_WAIT_MAX: Duration = Duration::from_secs(4);
/// The time after which an unanswered probe of a suspect or gone node has failed.
pub const PROBE_WAIT_MAX: Duration = Duration::from_secs(1);
/// The longest wait of a background job for one look at the metadata tables, or for a call to a node of its own host.
/// Longer than a drive that hangs is in service.
pub const UPKEEP_WAIT_MAX: Duration = Duration::from_secs(60);
/// The longest wait of a drop of shards for its look at the drive's index. A background job that has given a drop up
/// may write the shards anew: by then the drop has appended its tombstones, or never does.
pub const DROP_LOOK_WAIT_MAX: Duration = Duration::from_secs(30);
/// The time after which a request is given up whose client sends no byte of its body.
pub const BODY_IDLE_MAX: Duration = Duration::from_secs(60);
/// The longest time for which a read under way holds back the reclaiming of garbage that it may need.
pub const READ_HOLD_MAX: Duration = Duration::from_secs(3600);
/// The shortest time between an entry that makes a blob garbage and its reclaiming, by the monotonic clock of the host
/// that reclaims it, so that a read which has just looked the blob up can begin.
pub const RECLAIM_GRACE: Duration = Duration::from_secs(60);
/// The shortest time between a move and the dropping of the copy that it left behind, by the monotonic clock of that
/// copy's host: longer than a read uses one lookup of the placement.
pub const LEFTOVER_GRACE: Duration = Duration::from_secs(120);
/// The longest time for which a read uses one lookup of a placement.
pub const PLACEMENT_AGE_MAX: Duration = Duration::from_secs(30);
/// The most requests that wait for admission, and the longest wait of each.
pub const ADMISSION_WAITING_MAX: usize = 1024;
pub const ADMISSION_WAIT_MAX: Duration = Duration::from_secs(2);
/// The most requests with bodies in progress at once.
pub const REQUESTS_IN_PROGRESS_MAX: usize = 4096;

/// The most chunks in one read of a node, and the most shards that one append of tombstones drops.
pub const CHUNKS_READ_MAX: u32 = 64;
pub const SHARDS_DROPPED_MAX: usize = 256;

/// The most steps of all policy decisions of a request, and of one decision. A step is about as much work as comparing
/// a byte. A decision that would take more is denied.
pub const REQUEST_STEPS_MAX: u64 = 256 << 20;
pub const DECISION_STEPS_MAX: u64 = 8 << 20;
const _: () = assert!(REQUEST_STEPS_MAX.is_multiple_of(DECISION_STEPS_MAX));
/// The largest value of a condition key in a request, and the most such values of a request.
pub const CONDITION_VALUE_BYTES_MAX: usize = 8 << 10;
pub const CONDITION_VALUES_MAX: usize = 512;

/// The most appends of a host that are retried until the shard index has them: it failed, or the log answered late.
pub const LATE_PUBLICATIONS_MAX: usize = 1024;

/// The size of a shard segment's file.
pub const SHARD_SEGMENT_BYTES: u32 = 256 << 20;
/// The size of a shard segment's file on a small drive.
pub const SHARD_SEGMENT_BYTES_MIN: u32 = 24 << 20;
/// The number of segments that a drive has room for, unless they have the smallest or the largest size.
pub const SEGMENTS_OF_DRIVE: u64 = 256;
/// The size of a Raft log segment's file.
pub const META_SEGMENT_BYTES: u32 = 16 << 20;
/// The largest body of a record, in either log.
pub const RECORD_BODY_BYTES_MAX: usize = 8 << 20;
/// A body of this size or more is written from the caller's buffer, block-aligned; a smaller one is packed.
pub const RECORD_PACKED_BYTES_MAX: usize = 32 << 10;
/// The largest write to a log: the largest record with its header's block and padding.
pub const LOG_BATCH_BYTES_MAX: usize = RECORD_BODY_BYTES_MAX + 2 * BLOCK_BYTES;
/// The most bodies of one write that are written from their callers' buffers. Each takes two slices, and a system call
/// accepts 1024.
pub const LOG_BATCH_DIRECT_BODIES_MAX: usize = 400;
/// The most bytes that are queued in a log and not written yet; it refuses more.
pub const LOG_QUEUED_BYTES_MAX: u64 = 256 << 20;
/// The time after which an append that is not on stable storage fails.
pub const LOG_APPEND_SECONDS_MAX: u64 = 30;
/// The longest time before a write that nobody waits for is synced, in strict mode.
pub const LOG_IDLE_FLUSH_MS_MAX: u64 = 200;
/// The time after its last sync at which an idle log marks its end.
pub const LOG_MARK_DELAY_MS: u64 = 250;
/// The shortest interval at which a log that is written to checks the drive's free space.
pub const LOG_SPACE_CHECK_MS_MIN: u64 = 1000;
/// The most free segments that a log keeps for reuse; more are removed.
pub const LOG_FREE_SEGMENTS_MAX: usize = 2;
/// The files of segments that a log keeps open between reads, unless it has a share of its host's.
pub const LOG_OPEN_SEGMENTS: usize = 64;
/// The largest read of a log, unless one record is larger.
pub const LOG_READ_BYTES_MAX: usize = 4 << 20;
/// The size of one read in a scan of a whole log, unless one record is larger. Several logs are scanned at once.
pub const LOG_SCAN_BYTES: usize = 1 << 20;
/// The size of one write of zeros that fills a new segment's file.
pub const LOG_ZEROS_BYTES: usize = 1 << 20;
/// The largest gap between two records that are still read in one call.
pub const LOG_READ_GAP_BYTES_MAX: u32 = 64 << 10;

/// The largest header and the largest body of a frame between hosts.
pub const NET_HEADER_BYTES_MAX: usize = 160 << 10;
pub const NET_BODY_BYTES_MAX: usize = 16 << 20;
/// The most shards that a request to a peer names, or that a page of its inventory holds; longer lists are split.
pub const NET_SHARDS_MAX: usize = 4096;
/// The longest error text from a peer.
pub const NET_WORDS_BYTES_MAX: usize = 1024;
/// The most requests under way on one connection, in each direction.
pub const NET_STREAMS_MAX: u64 = 200;
/// The streams of these that are reserved for Raft calls, so that an election does not wait for bulk data.
pub const NET_STREAMS_OF_GROUPS: u64 = 120;
/// The number of handshakes, under way or begun in one second without a proof, above which a caller must first prove
/// that it receives packets at its address.
pub const NET_HANDSHAKES_MAX: usize = 64;
/// The most handshakes that an address (of IPv6, a /64 network) may begin in a second, once it had to prove that it
/// receives packets; and those that a site (a /48 network of IPv6) may.
pub const NET_HANDSHAKES_OF_ADDRESS_MAX: usize = 32;
pub const NET_HANDSHAKES_OF_SITE_MAX: usize = 4 * NET_HANDSHAKES_OF_ADDRESS_MAX;
/// The most connections of peers that a host accepts at once.
pub const NET_CONNECTIONS_MAX: usize = 256;
/// The most bytes of bodies of requests and answers that a host holds for all its peers, and for one of them.
pub const NET_SERVE_BYTES_MAX: usize = 256 << 20;
pub const NET_SERVE_PEER_BYTES_MAX: usize = 128 << 20;
/// The same for Raft calls, which are counted separately.
pub const NET_SERVE_GROUPS_BYTES_MAX: usize = 128 << 20;
pub const NET_SERVE_PEER_GROUPS_BYTES_MAX: usize = 32 << 20;
/// Flow control: the most bytes of a stream that are received and not consumed, and that are sent and not acknowledged.
/// A connection allows as many for each of its streams, so that blocked streams do not block the others.
pub const NET_STREAM_WINDOW_BYTES: u64 = 1 << 20;
pub const NET_SEND_BUFFER_BYTES: u32 = 1 << 20;
/// The largest UDP packet. With segmentation offload, larger packets crash the sender.
pub const NET_PACKET_BYTES_MAX: u16 = 9000;
pub const NET_SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// The longest time for a connection's handshake and greeting.
pub const NET_HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(5);
pub const NET_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The time after which a connection that receives nothing is dead.
pub const NET_IDLE_WAIT_MAX: Duration = Duration::from_secs(30);
/// The time after which a connection without requests is closed.
pub const NET_EVICT_AFTER: Duration = Duration::from_secs(300);
/// The interval at which the connection pool looks for connections to close.
pub const NET_EVICT_CHECK: Duration = Duration::from_secs(30);
/// The pause before a host that did not answer is dialed again.
pub const NET_REDIAL_AFTER: Duration = Duration::from_secs(1);
/// The longest time for which a request waits for a stream of the connection.
pub const NET_OPEN_WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest time for which a server waits for memory for a body before it refuses the request.
pub const NET_ROOM_WAIT_MAX: Duration = Duration::from_secs(5);
/// The longest time for a frame's head and header to arrive.
pub const NET_HEADER_WAIT_MAX: Duration = Duration::from_secs(10);
/// The slowest rate of a body: so many bytes in such a time, or its end.
pub const NET_PROGRESS_BYTES: usize = 64 << 10;
pub const NET_PROGRESS_WAIT_MAX: Duration = Duration::from_secs(8);
/// The interval at which a host reports that it still works on a peer's request, and the longest time for which it
/// does.
pub const NET_WORKING_EVERY: Duration = Duration::from_secs(2);
pub const NET_SERVE_WAIT_MAX: Duration = Duration::from_secs(60);
/// The interval at which a host looks whether a peer has given up the request that it works on.
pub const NET_GIVEN_UP_CHECK: Duration = Duration::from_millis(100);
/// The time after which a stream without progress is logged.
pub const NET_QUIET_LOG_AFTER: Duration = Duration::from_secs(3);

/// The number of node ids that are reserved for each host, which is the most drives that it may have.
pub const NODES_OF_HOST_MAX: u32 = 64;
/// The interval at which a host looks for a new layout in its tables, and the longest lag of its ring.
pub const LAYOUT_LOOK_EVERY: Duration = Duration::from_millis(50);
pub const RING_LAG_MAX: Duration = Duration::from_millis(150);
/// The longest wait for a host's answer to a question about the membership.
pub const MEMBERSHIP_PATIENCE: Duration = Duration::from_secs(6);
/// The longest wait for a host's answer to a question or an order about its jobs.
pub const JOBS_PATIENCE: Duration = Duration::from_secs(5);
/// The interval at which hosts ask each other for the states of their drives, and the time after which a host that has
/// not answered counts as absent.
pub const HOST_PROBE_EVERY: Duration = Duration::from_secs(1);
pub const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// The largest object whose bytes are part of the Raft entry.
pub const INLINE_BYTES_MAX: usize = 16 << 10;
/// The most bytes and the most commands of a Raft entry that combines several.
pub const RAFT_BATCH_BYTES_MAX: usize = 1 << 20;
pub const RAFT_BATCH_COMMANDS_MAX: usize = 256;
/// The most bytes of entries that are read from the log, or sent to a follower, at once; a larger entry goes alone.
pub const RAFT_READ_BYTES_MAX: u64 = 4 << 20;
/// The largest encoded command; a larger one is refused before it is proposed.
pub const COMMAND_BYTES_MAX: usize = 4 << 20;
/// The largest commands of an entry that a log accepts from another host: a record's body without its head.
pub const ENTRY_BYTES_MAX: usize = RECORD_BODY_BYTES_MAX - BLOCK_BYTES;
/// The most bytes of deletes that are combined in a command; a larger one goes alone.
pub const DELETES_BYTES_MAX: usize = 1 << 20;
/// The longest name of a document, and its largest value. The large size is for identities, and for configurations of
/// buckets for which AWS allows as much.
pub const DOCUMENT_NAME_BYTES_MAX: usize = 1024;
pub const DOCUMENT_BYTES_MAX: usize = 64 << 10;
pub const LARGE_DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// The largest configuration of a bucket of a kind with ids (inventory, analytics, metrics, intelligent tiering), as
/// stored. A document that S3 accepts is smaller: two prefixes of 1,024 bytes, and ten tags of up to 1,152 bytes.
pub const CONFIGURATION_BYTES_MAX: usize = 16 << 10;
/// The most versions of a named encryption key, all of which are in one document, with up to 192 bytes each.
pub const KEY_VERSIONS_MAX: usize = 4096;
/// The size at which a page of documents of a bucket or of the store ends (the last one may exceed it).
pub const DOCUMENTS_PAGE_BYTES: usize = 1 << 20;
/// The size at which a page of identities ends (the last one may exceed it), and the most bytes that a listing call of
/// IAM looks at.
pub const IDENTITIES_PAGE_BYTES: usize = 1 << 20;
pub const IDENTITIES_LISTED_BYTES: usize = 16 << 20;
/// The largest call between the replicas of a Raft group, and the largest answer.
pub const GROUP_CALL_BYTES_MAX: usize = 8 << 20;
/// The size of the pieces in which a snapshot is sent to a follower.
pub const SNAPSHOT_PIECE_BYTES: usize = 1 << 20;
/// The most answers to forwarded changes that are remembered, and the number that are forgotten together.
pub const ANSWERS_MAX: u64 = 16_384;
pub const ANSWERS_FORGOTTEN_AT_ONCE: usize = 256;
/// The most changes of a host that are on their way to the leader. They leave streams of the connection free for
/// elections and read barriers. Those of several hosts are far fewer than the remembered answers, so that a change
/// which is sent again after an election finds its answer.
pub const FORWARDS_MAX: usize = 100;

/// The most shards of a blob, data and parity.
pub const SHARDS_MAX: usize = 32;

/// The most data directories (drives) of a host.
pub const DATA_DIRS_MAX: usize = 64;

/// The sketches of traffic: the most names that a worker keeps of a kind in a time slot, the length and the number of
/// slots, and the most bytes of a name. Of each ranking, `TOP_NAMES_SHOWN` names go from host to host, and `HEAVY_SHOWN` are
/// shown.
pub const TOP_NAMES_KEPT: usize = 64;
pub const HEAVY_SLOT: Duration = Duration::from_secs(20);
pub const HEAVY_SLOTS: usize = 16;
pub const HEAVY_NAME_BYTES_MAX: usize = 64;
pub const TOP_NAMES_SHOWN: usize = 40;
pub const HEAVY_SHOWN: usize = 20;

/// The interval at which the stored bytes are measured, the number of measurements that are kept (a week), and the
/// measured period that a forecast needs.
pub const GROWTH_SAMPLE_EVERY: Duration = Duration::from_secs(60 * 60);
pub const GROWTH_SAMPLES_MAX: usize = 7 * 24 + 1;
pub const GROWTH_KNOWN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// The history of the buckets' sizes: the days that are kept, and the most buckets of a day; the largest ones are kept.
pub const GROWTH_DAYS: u64 = 8;
pub const GROWTH_BUCKETS_MAX: usize = 10_000;

/// Bounds of S3: bytes of an object's key (UTF-8) and of user metadata, keys of a page of a listing and of a
/// multi-delete.
pub const KEY_BYTES_MAX: usize = 1024;
pub const USER_METADATA_BYTES_MAX: usize = 2048;
/// The bytes of the content headers that are stored with an object, names and values together; and of an encryption
/// context as it is sent. Both are what S3 allows all headers of a request to have.
pub const CONTENT_HEADERS_BYTES_MAX: usize = 8 << 10;
pub const ENCRYPTION_CONTEXT_BYTES_MAX: usize = 8 << 10;
pub const LIST_KEYS_MAX: usize = 1000;
pub const DELETE_KEYS_MAX: usize = 1000;
/// The most versions or uploads that lifecycle examines in one step, and so the most that it removes in one change.
pub const LIFECYCLE_PAGE: usize = 256;
/// The number of uploads that lifecycle aborts concurrently: each takes a change of its own.
pub const LIFECYCLE_ABORTS_AT_ONCE: usize = 16;
/// The number of versions that are listed for an inventory in one step.
pub const INVENTORY_PAGE: usize = 1000;
/// Bound of S3: a bucket's configurations with ids of one kind.
pub const CONFIGURATIONS_OF_A_KIND_MAX: usize = 1000;
/// The number of buckets that a background chore looks through in one step.
pub const BUCKETS_LOOKED_AT: usize = 100;
/// The number of rows (buckets, configurations, versions) for which nothing was to be done after which a step of a
/// background chore ends.
pub const ROWS_LOOKED_AT: usize = 256;
/// Bounds of S3: buckets of an account (S3's bound where none is agreed upon), and buckets in a page of their list.
pub const BUCKETS_OF_ACCOUNT_MAX: u64 = 10_000;
pub const LIST_BUCKETS_MAX: usize = 10_000;
/// Bounds of S3: parts of an upload, and the smallest size of any part but the last.
pub const PARTS_MAX: u16 = 10_000;
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// The longest list of parts that an append copies, because copies of the object refer to it. A list is copied where
/// changes are applied, on every replica. A longer one is not appended to while it is shared; that of an object which
/// grew by appends is not shared, so that a copy never ends the appends to its source.
pub const SHARED_PARTS_COPIED_MAX: u16 = 64;
/// Bounds of S3: the body of a PUT or of a part, and a whole object.
pub const PUT_BYTES_MAX: u64 = 5 << 30;
pub const OBJECT_BYTES_MAX: u64 = 5 << 40;

/// The largest bodies that are read whole, by kind. The first is for a completion of 10,000 parts or a delete of 1,000
/// keys, the largest documents of S3. The others follow AWS's bounds, with room for different ways of writing the same
/// document.
pub const LIST_BODY_BYTES_MAX: usize = 4 << 20;
pub const LIFECYCLE_BODY_BYTES_MAX: usize = 1 << 20;
pub const NOTIFICATION_BODY_BYTES_MAX: usize = 512 << 10;
pub const POLICY_BODY_BYTES_MAX: usize = 256 << 10;
pub const WEBSITE_BODY_BYTES_MAX: usize = 256 << 10;
pub const TAGGING_BODY_BYTES_MAX: usize = 128 << 10;
pub const ACL_BODY_BYTES_MAX: usize = 128 << 10;
pub const CORS_BODY_BYTES_MAX: usize = 64 << 10;
/// The largest body of any other kind, and of requests that are not signed or whose signer is not known yet.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// The largest body of a call of IAM by an authenticated caller, with room for white space in policies.
pub const IAM_BODY_BYTES_MAX: usize = 256 << 10;
/// The memory for bodies that are read whole: one part in so many of `SHERD_MEMORY_MAX`, at most so many bytes.
pub const BODIES_MEMORY_PART: u64 = 4;
pub const BODIES_BYTES_MAX: u64 = 256 << 20;
/// The time after which an incomplete body is given up.
pub const BODY_WAIT_MAX: Duration = Duration::from_secs(60);
/// The recent processor time of an account's requests, on all workers, up to which they are polled at once; and the
/// half-life with which it decays.
pub const TURN_FREE: Duration = Duration::from_millis(20);
pub const TURN_HALF_LIFE: Duration = Duration::from_millis(100);
/// The bytes that a connection hands on before its task makes way for the others of its worker.
pub const READ_BYTES_AT_ONCE: usize = 32 << 10;
/// The age up to which a reading of a thread's processor time counts as the begin of a poll. A poll is overcharged by
/// at most this.
pub const TURN_READING_AGE: Duration = Duration::from_micros(200);
/// The time from which a poll is long; and the processor time above which a request is slow: a fixed part, and a part
/// for each MiB of its bodies. Signatures of chunks cost the most per byte, up to 3 ms for a MiB.
pub const TURN_POLL_LONG: Duration = Duration::from_millis(2);
pub const TURN_REQUEST_FREE: Duration = Duration::from_millis(2);
pub const TURN_FREE_PER_MIB: Duration = Duration::from_millis(8);
/// The recent processor time of an account's slow requests above which its requests go to the slow lanes; and the
/// half-life with which it decays.
pub const TURN_SLOW_FREE: Duration = Duration::from_millis(10);
pub const TURN_SLOW_HALF_LIFE: Duration = Duration::from_secs(10);
/// The nice value of the slow lanes' threads: they run at a lower priority than the workers.
pub const SLOW_LANE_NICE: i32 = 10;
/// The most accounts and addresses that are remembered without requests under way.
pub const TURN_HOLDERS_MAX: usize = 16_384;
/// The most access keys whose accounts are remembered.
pub const TURN_KEYS_MAX: usize = 16_384;
/// The most bytes of documents whose parsed values are kept, for each kind of values; and the bytes that each value
/// counts additionally. A parsed value is up to 40 times as large as its document.
pub const MEMO_BYTES_MAX: usize = 1 << 20;
pub const MEMO_ENTRY_BYTES: usize = 256;
/// Limits on rates: the smallest limit of bytes per second, the size of the pieces in which a delayed body goes on, and
/// the time for which the number of hosts that share a limit is cached.
pub const RATE_BYTES_MIN: u64 = 64 << 10;
pub const RATE_PIECE_BYTES: usize = 64 << 10;
pub const RATE_SHARES_KNOWN_FOR: Duration = Duration::from_secs(1);
/// The longest wait of a piece of a body under a limit of bytes: requests that would make the waits longer are refused.
pub const RATE_WAIT_MAX: Duration = Duration::from_secs(10);
/// A listener accepts one connection for so many files that the process may open.
pub const FILES_PER_CONNECTION: usize = 4;
/// The shards' logs of a host together keep one file of a segment open for so many files that the process may open. Two
/// listeners have a half; the rest is for appends, tables and calls to others.
pub const FILES_PER_OPEN_SEGMENT: usize = 4;
/// The bounds of that number of segments, whatever follows from the limit of files.
pub const OPEN_SEGMENTS_MIN: usize = 64;
pub const OPEN_SEGMENTS_MAX: usize = 65_536;
/// A listener accepts one connection for so many bytes of `SHERD_MEMORY_MAX`.
pub const CONNECTION_MEMORY_BYTES: u64 = 64 << 10;
/// The bounds of the number of connections that a listener accepts, whatever follows from files and memory.
pub const CONNECTIONS_MIN: usize = 64;
pub const CONNECTIONS_MAX: usize = 16_384;
/// The largest header section of a request; S3 allows 8 KiB.
pub const REQUEST_HEADERS_BYTES_MAX: usize = 32 << 10;
/// The longest target of a request, its path and query: a presigned URL may have a session token of 16 KiB, and a key
/// and a prefix of 1,024 bytes of which each is three characters.
pub const REQUEST_TARGET_BYTES_MAX: usize = 32 << 10;
/// The size from which a head that is not complete is refused. actix-http refuses it from the same size.
pub const REQUEST_HEAD_BYTES_MAX: usize = 128 << 10;
/// The memory from which an incomplete head is long: all connections of a listener share room for what is beyond.
pub const REQUEST_HEAD_LONG_BYTES: usize = 16 << 10;
/// That room, for each connection that the listener accepts.
pub const CONNECTION_HEAD_BYTES: usize = 16 << 10;
/// The longest time from the opening of a connection, or the first byte of a later head, to the complete head of a
/// request. A head that arrives while this host is frozen counts as late, so this is longer than a live migration of a
/// virtual machine.
pub const REQUEST_HEAD_WAIT_MAX: Duration = Duration::from_secs(60);
/// The mean size that the HTTP chunks of a body should have, and the number of smaller ones that are allowed besides.
pub const HTTP_CHUNK_BYTES_MEAN: u64 = 32;
pub const HTTP_CHUNKS_SMALL_MAX: u64 = 1024;
/// The most names of headers that a cross-origin request may ask for.
pub const CORS_REQUESTED_HEADERS_MAX: usize = 100;
/// Bound of S3: the fields of a browser's form before its file.
pub const FORM_FIELDS_BYTES_MAX: usize = 20 << 10;
/// The most rows of a dropped list (such as the parts of a deleted object) that become garbage with the change that
/// dropped it. The rest follows with later reclaims, so that the cost of a delete does not grow with the number of
/// parts.
pub const DROPPED_ROWS_AT_ONCE: usize = 64;
/// The most rows of all lists that one change drops, and of those that one reclaim takes apart.
pub const DROPPED_ROWS_PER_RECLAIM: usize = 1024;

/// The longest pause after failed orders of a certificate. Let's Encrypt takes five failed proofs of a name in an hour.
pub const ACME_RETRY_MAX: Duration = Duration::from_secs(12 * 3600);

/// Sizes and times that decide how soon segments are compacted, snapshots are taken, tables are written out, garbage is
/// reclaimed and the old copies of moved shards are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    pub shard_segment_bytes: u32,
    pub meta_segment_bytes: u32,
    /// The size of the log since the last snapshot at which a snapshot of the metadata is due.
    pub snapshot_log_bytes_min: u64,
    /// The most bytes of a table's rows in memory before they are written out. A process has a database for each drive
    /// and one for the metadata, so that this and the cache, not the data, decide how much memory it uses.
    pub memtable_bytes: u64,
    pub reclaim_grace: Duration,
    pub leftover_grace: Duration,
    pub placement_age_max: Duration,
    /// The least interval between passes of the mover while shards are to be moved or a node is draining.
    pub move_recheck: Duration,
    /// The pause of the compactors and the reclaimer when there is nothing to do.
    pub upkeep_idle: Duration,
    /// The interval after which a shard index is made durable, so that a start after a power cut replays little.
    pub index_persist_every: Duration,
    /// The pause after the first failed order of a certificate; each failure after it doubles the pause.
    pub acme_retry_min: Duration,
}

impl Scale {
    pub const PRODUCTION: Self = Self {
        shard_segment_bytes: SHARD_SEGMENT_BYTES,
        meta_segment_bytes: META_SEGMENT_BYTES,
        snapshot_log_bytes_min: 64 << 20,
        memtable_bytes: 4 << 20,
        reclaim_grace: RECLAIM_GRACE,
        leftover_grace: LEFTOVER_GRACE,
        placement_age_max: PLACEMENT_AGE_MAX,
        move_recheck: Duration::from_secs(30),
        upkeep_idle: Duration::from_secs(5),
        index_persist_every: Duration::from_secs(30),
        acme_retry_min: Duration::from_secs(300),
    };

    /// The scale for tests: compaction and snapshots happen within seconds instead of hours.
    pub const SMALL: Self = Self {
        shard_segment_bytes: 24 << 20,
        meta_segment_bytes: 10 << 20,
        snapshot_log_bytes_min: 3 << 20,
        memtable_bytes: 128 << 10,
        reclaim_grace: Duration::from_secs(3),
        leftover_grace: Duration::from_secs(16),
        placement_age_max: Duration::from_secs(4),
        move_recheck: Duration::from_secs(3),
        upkeep_idle: Duration::from_secs(1),
        index_persist_every: Duration::from_secs(5),
        acme_retry_min: Duration::from_secs(1),
    };

    /// Returns the segment size for a drive of this size. It keeps the number of files small on large drives, and
    /// leaves room for several segments on small ones.
    pub fn shard_segment_bytes_of(&self, drive_bytes: u64) -> u32 {
        let wanted = u32::try_from(drive_bytes / SEGMENTS_OF_DRIVE).unwrap_or(u32::MAX);
        let least = SHARD_SEGMENT_BYTES_MIN.min(self.shard_segment_bytes);
        wanted.clamp(least, self.shard_segment_bytes) / BLOCK_BYTES as u32 * BLOCK_BYTES as u32
    }

    const fn is_sound(&self) -> bool {
        self.meta_segment_bytes as usize > 2 * BLOCK_BYTES + LOG_BATCH_BYTES_MAX
            && self.shard_segment_bytes > self.meta_segment_bytes
            && (self.shard_segment_bytes as usize).is_multiple_of(BLOCK_BYTES)
            && (self.meta_segment_bytes as usize).is_multiple_of(BLOCK_BYTES)
            && self.placement_age_max.as_millis() + READ_WAIT_MAX.as_millis() <= self.leftover_grace.as_millis() / 2
    }
}

/// The smallest drive that a store is formed on. A file system on a device of 256 MB offers less than that, and is
/// accepted.
pub const DRIVE_BYTES_MIN: u64 = 192 << 20;

/// The free space below which writes are refused, and below which a warning is logged, in percent of the drive.
pub const SPACE_REFUSE_PERCENT: u64 = 5;
pub const SPACE_WARN_PERCENT: u64 = 15;

/// The distance by which a command may advance the confirmed time without naming its source.
pub const CLOCK_ADVANCE_MAX: Duration = Duration::from_secs(60 * 60);
/// The longest interval at which the leader writes the confirmed time into the log, so that a restarted host has it.
pub const CLOCK_RECORD_EVERY: Duration = Duration::from_secs(10 * 60);
/// The largest difference between clocks that agree.
pub const CLOCKS_AGREE_WITHIN: Duration = Duration::from_secs(60);
/// The time for which a wall clock must have run in step with the monotonic clock before it is trusted after a step,
/// and before it may confirm a time.
pub const CLOCK_STEADY_AFTER: Duration = Duration::from_secs(10 * 60);
/// The slew of the confirmed time: it approaches the hosts' clocks by at most one part in so many of the time that
/// passes, which is an hour per day.
pub const CLOCK_SLEW_DIVISOR: u32 = 24;
/// The difference between a host's clock and the confirmed time above which health reports it.
pub const CLOCK_GAP_REPORTED: Duration = Duration::from_secs(60 * 60);
/// The validity of another host's report of its clock.
pub const CLOCK_REPORT_COUNTS_FOR: Duration = Duration::from_secs(5);

/// The most lines of the audit log that wait for one destination, and their most bytes. Lines of denied calls may take
/// half of both, so that denied callers cannot crowd out the lines of others' changes.
pub const AUDIT_LINES_MAX: usize = 16_384;
pub const AUDIT_BYTES_MAX: usize = 16 << 20;
/// The most lines of the audit log that are handed to a destination at once.
pub const AUDIT_BATCH_LINES: usize = 256;
/// The longest text in a line of the audit log; longer texts are cut.
pub const AUDIT_TEXT_BYTES_MAX: usize = 512;

/// The most spans of one trace on one host.
pub const TRACE_SPANS_MAX: usize = 256;
/// The longest text in an attribute of a span; longer texts are cut.
pub const TRACE_TEXT_BYTES_MAX: usize = 1024;
/// The most memory of the traces that wait for export; further ones are lost.
pub const TRACE_QUEUE_BYTES_MAX: usize = 8 << 20;
/// The spans that are exported together, and the longest wait for them. The last trace of a batch may exceed it.
pub const TRACE_BATCH_SPANS: usize = 512;
pub const TRACE_BATCH_WAIT_MAX: Duration = Duration::from_secs(1);

const _: () = assert!(REQUEST_HEAD_BYTES_MAX > REQUEST_TARGET_BYTES_MAX + REQUEST_HEADERS_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(RECORD_BODY_BYTES_MAX >= CHUNK_BYTES_MAX);
const _: () = assert!(GET_STRIPES_AHEAD.is_multiple_of(GET_READ_STRIPES));
const _: () = assert!(READ_HEDGE_MIN.as_millis() < READ_HEDGE_MAX.as_millis());
const _: () = assert!(READ_HEDGE_MAX.as_millis() + READ_GONE_WAIT.as_millis() < READ_WAIT_MAX.as_millis());
const _: () = assert!(APPEND_SUSPECT_WAIT.as_millis() < APPEND_LATE_AFTER.as_millis());
const _: () = assert!(APPEND_LATE_AFTER.as_millis() < APPEND_WAIT_MAX.as_millis());
const _: () = assert!(DROP_LOOK_WAIT_MAX.as_millis() < UPKEEP_WAIT_MAX.as_millis());
const _: () = assert!(ADMISSION_WAIT_MAX.as_millis() + APPEND_WAIT_MAX.as_millis() <= REFUSED_WITHIN.as_millis());
const _: () = assert!(ADMISSION_WAIT_MAX.as_millis() + PROPOSAL_WAIT_MAX.as_millis() <= REFUSED_WITHIN.as_millis());
const _: () = assert!(META_READ_WAIT_MAX.as_millis() + READ_WAIT_MAX.as_millis() <= REFUSED_WITHIN.as_millis());
const _: () = assert!(RAFT_BATCH_BYTES_MAX + INLINE_BYTES_MAX < RECORD_BODY_BYTES_MAX);
const _: () = assert!(LARGE_DOCUMENT_BYTES_MAX + DOCUMENT_NAME_BYTES_MAX < COMMAND_BYTES_MAX);
const _: () = assert!(DELETES_BYTES_MAX < COMMAND_BYTES_MAX);
const _: () = assert!(KEY_VERSIONS_MAX * 192 + DOCUMENT_BYTES_MAX < LARGE_DOCUMENT_BYTES_MAX);
const _: () = assert!(2 * 2 * KEY_BYTES_MAX + 10 * 1152 < CONFIGURATION_BYTES_MAX);
const _: () = assert!(COMMAND_BYTES_MAX + RAFT_BATCH_BYTES_MAX < ENTRY_BYTES_MAX);
const _: () = assert!(COMMAND_BYTES_MAX + RAFT_BATCH_BYTES_MAX < GROUP_CALL_BYTES_MAX);
const _: () = assert!(BUCKETS_OF_ACCOUNT_MAX <= LIST_BUCKETS_MAX as u64);
const _: () = assert!(LIFECYCLE_PAGE < DELETE_KEYS_MAX);
const _: () = assert!(RAFT_READ_BYTES_MAX as usize + RAFT_BATCH_BYTES_MAX < GROUP_CALL_BYTES_MAX);
const _: () = assert!(SNAPSHOT_PIECE_BYTES < GROUP_CALL_BYTES_MAX);
const _: () = assert!(FORWARDS_MAX as u64 * 8 < ANSWERS_MAX);
const _: () = assert!(Scale::PRODUCTION.is_sound() && Scale::SMALL.is_sound());
const _: () = assert!(LOG_BATCH_DIRECT_BODIES_MAX * 2 < 1024);
const _: () = assert!(LOG_QUEUED_BYTES_MAX > 2 * RECORD_BODY_BYTES_MAX as u64);
const _: () = assert!(SPACE_REFUSE_PERCENT < SPACE_WARN_PERCENT);
const _: () = assert!(LIFECYCLE_BODY_BYTES_MAX <= LARGE_DOCUMENT_BYTES_MAX);
const _: () = assert!(BODY_WAIT_MAX.as_millis() >= BODY_IDLE_MAX.as_millis());
const _: () = assert!(NET_BODY_BYTES_MAX >= CHUNKS_READ_MAX as usize * CHUNK_BYTES_MAX);
const _: () = assert!(NET_BODY_BYTES_MAX >= RECORD_BODY_BYTES_MAX + (1 << 20));
const _: () = assert!(NET_HEADER_BYTES_MAX >= NET_SHARDS_MAX * 32);
const _: () =
    assert!(NET_SERVE_PEER_BYTES_MAX >= NET_BODY_BYTES_MAX && NET_SERVE_BYTES_MAX >= NET_SERVE_PEER_BYTES_MAX);
const _: () = assert!(
    NET_SERVE_PEER_GROUPS_BYTES_MAX > NET_BODY_BYTES_MAX
        && NET_SERVE_GROUPS_BYTES_MAX >= NET_SERVE_PEER_GROUPS_BYTES_MAX
);
const _: () = assert!(NET_STREAMS_OF_GROUPS < NET_STREAMS_MAX);
const _: () = assert!(FORWARDS_MAX as u64 + 8 <= NET_STREAMS_OF_GROUPS);
const _: () = assert!(NET_WORKING_EVERY.as_millis() * 3 < NET_HEADER_WAIT_MAX.as_millis());
const _: () = assert!(NET_ROOM_WAIT_MAX.as_millis() < NET_PROGRESS_WAIT_MAX.as_millis());
const _: () = assert!(CLOCK_RECORD_EVERY.as_millis() * 2 < CLOCK_ADVANCE_MAX.as_millis());
const _: () = assert!(GROWTH_SAMPLE_EVERY.as_secs() * (GROWTH_SAMPLES_MAX as u64 - 1) > GROWTH_KNOWN_AFTER.as_secs());
const _: () = assert!(GROWTH_SAMPLES_MAX * 64 < DOCUMENT_BYTES_MAX);
const _: () = assert!(GROWTH_BUCKETS_MAX * 66 + 64 < LARGE_DOCUMENT_BYTES_MAX);
const _: () = assert!(LARGE_DOCUMENT_BYTES_MAX + DOCUMENT_BYTES_MAX < COMMAND_BYTES_MAX);
const _: () = assert!(HEAVY_SHOWN < TOP_NAMES_SHOWN && TOP_NAMES_SHOWN < TOP_NAMES_KEPT);
const _: () = assert!(HEAVY_SLOT.as_secs() * (HEAVY_SLOTS as u64 - 1) == 300);
const _: () = assert!(PROBE_PATIENCE.as_millis() < CLOCK_REPORT_COUNTS_FOR.as_millis());
const _: () = assert!(
    2 * FILES_PER_OPEN_SEGMENT + FILES_PER_CONNECTION < FILES_PER_CONNECTION * FILES_PER_OPEN_SEGMENT,
    "listeners and segments leave files to others"
);
const _: () = assert!(NET_KEEP_ALIVE.as_millis() < NET_IDLE_WAIT_MAX.as_millis());
const _: () = assert!(SETTING_FILE_WAIT_MAX.as_millis() < SETTING_FILE_AGAIN_AFTER.as_millis());

#[cfg(test)]
mod tests {
    use super::Scale;

    #[test]
    fn the_segment_size_follows_the_size_of_the_drive() {
        let of = |gib: u64| Scale::PRODUCTION.shard_segment_bytes_of(gib << 30) >> 20;
        assert_eq!([0, 1, 6, 10, 40, 63, 64, 20_000].map(of), [24, 24, 24, 40, 160, 252, 256, 256]);
        assert_eq!(Scale::SMALL.shard_segment_bytes_of(1 << 50), 24 << 20);
        let odd = Scale::PRODUCTION.shard_segment_bytes_of((100 << 30) + 4_000_000);
        assert!((odd as usize).is_multiple_of(super::BLOCK_BYTES));
    }
}
