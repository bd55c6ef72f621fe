//! Every bound in one place, with the relations between them checked at compile time.

use std::time::Duration;

/// The unit of direct input and output, and of record alignment.
pub const BLOCK_BYTES: usize = 4096;
/// A chunk of a shard, at most; the unit of checksum and of range reads.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Stripes that a PUT gathers for one append to each of its nodes.
pub const APPEND_STRIPES: usize = 2;
/// Appends of one PUT that may be under way at once.
pub const PUT_APPENDS_IN_FLIGHT: usize = 2;
/// Stripes that a GET asks its nodes for in one request each.
pub const GET_READ_STRIPES: usize = 2;
/// Stripes that a GET holds or reads ahead of its client.
pub const GET_STRIPES_AHEAD: usize = 4;

/// The time within which a request that cannot be served is refused: it waits for something that does not come, and
/// before that for admission, or for the metadata.
pub const REFUSED_WITHIN: Duration = Duration::from_secs(8);
/// A read of the metadata waits this long for a leader.
pub const META_READ_WAIT_MAX: Duration = Duration::from_secs(4);
/// A change of the metadata that is not decided after this has failed, or its outcome is not known.
pub const PROPOSAL_WAIT_MAX: Duration = Duration::from_secs(6);
/// A node that has not answered an append this long after a quorum has is not waited for.
pub const APPEND_LATE_AFTER: Duration = Duration::from_millis(1500);
/// As above, for a node that is suspect already.
pub const APPEND_SUSPECT_WAIT: Duration = Duration::from_millis(250);
/// An append that has no quorum after this has failed.
pub const APPEND_WAIT_MAX: Duration = Duration::from_secs(6);
/// A chunk that has not come in the time that most take is asked of parity as well; between these.
pub const READ_HEDGE_MIN: Duration = Duration::from_millis(5);
pub const READ_HEDGE_MAX: Duration = Duration::from_millis(400);
/// A node that does not answer is asked where nothing else is left, and for this long.
pub const READ_GONE_WAIT: Duration = Duration::from_secs(1);
/// A read of some stripes that is not complete after this has failed.
pub const READ_WAIT_MAX: Duration = Duration::from_secs(4);
/// A probe of a node in trouble has failed after this.
pub const PROBE_WAIT_MAX: Duration = Duration::from_secs(1);
/// A client that sends no byte of its body for this long is given up.
pub const BODY_IDLE_MAX: Duration = Duration::from_secs(60);
/// A read keeps garbage that it may want from being reclaimed for this long at most.
pub const READ_HOLD_MAX: Duration = Duration::from_secs(3600);
/// Garbage is not reclaimed sooner than this after the host that reclaims it applied the entry that made it garbage, by the
/// monotonic clock of that host, so that a read that has just looked it up can begin.
pub const RECLAIM_GRACE: Duration = Duration::from_secs(60);
/// A copy that a move left behind is not dropped sooner than this after its host applied the move, by the monotonic clock of
/// that host: longer than a read goes on by one lookup of the placement.
pub const LEFTOVER_GRACE: Duration = Duration::from_secs(120);
/// A placement that was looked up is not read by for longer than this.
pub const PLACEMENT_AGE_MAX: Duration = Duration::from_secs(30);
/// Requests that may wait for admission, and how long each.
pub const ADMISSION_WAITING_MAX: usize = 1024;
pub const ADMISSION_WAIT_MAX: Duration = Duration::from_secs(2);
/// Requests with bodies that may be in progress at once.
pub const REQUESTS_IN_PROGRESS_MAX: usize = 4096;

/// Chunks that one read of a node may ask for, and shards that one append of tombstones drops.
pub const CHUNKS_READ_MAX: u32 = 64;
pub const SHARDS_DROPPED_MAX: usize = 256;

/// Steps that the decisions of one request may take, and one of them: each is about as much work as comparing a byte. What would
/// take more is denied.
pub const REQUEST_STEPS_MAX: u64 = 256 << 20;
pub const DECISION_STEPS_MAX: u64 = 8 << 20;
const _: () = assert!(REQUEST_STEPS_MAX.is_multiple_of(DECISION_STEPS_MAX));
/// A value that conditions of policies are compared with, and all that a request has of them.
pub const CONDITION_VALUE_BYTES_MAX: usize = 8 << 10;
pub const CONDITION_VALUES_MAX: usize = 512;

/// Appends of a host that are in a log and not in its index, and are published there as soon as it takes them.
pub const LATE_PUBLICATIONS_MAX: usize = 1024;

/// A shard segment's file.
pub const SHARD_SEGMENT_BYTES: u32 = 256 << 20;
/// The segments of a small drive.
pub const SHARD_SEGMENT_BYTES_MIN: u32 = 24 << 20;
/// A drive has room for so many segments, where they are not the smallest or the largest.
pub const SEGMENTS_OF_DRIVE: u64 = 256;
/// A Raft log segment's file.
pub const META_SEGMENT_BYTES: u32 = 16 << 20;
/// A record's body, at most, in either log.
pub const RECORD_BODY_BYTES_MAX: usize = 8 << 20;
/// A body of this size or more is written from the caller's buffer, block-aligned; a smaller one is packed.
pub const RECORD_PACKED_BYTES_MAX: usize = 32 << 10;
/// One write to a log, at most: the largest record with its header's block and padding.
pub const LOG_BATCH_BYTES_MAX: usize = RECORD_BODY_BYTES_MAX + 2 * BLOCK_BYTES;
/// Bodies of one write that are taken from their own buffers: two slices each, and the system takes 1024 in a call.
pub const LOG_BATCH_DIRECT_BODIES_MAX: usize = 400;
/// Bytes given to a log and not yet written, beyond which it refuses more.
pub const LOG_QUEUED_BYTES_MAX: u64 = 256 << 20;
/// An append that is not on stable storage after this time is answered with an error.
pub const LOG_APPEND_SECONDS_MAX: u64 = 30;
/// The latest sync after a write that nobody waits to see synced, in strict mode.
pub const LOG_IDLE_FLUSH_MS_MAX: u64 = 200;
/// The time after its last sync at which an idle log marks its end.
pub const LOG_MARK_DELAY_MS: u64 = 250;
/// The shortest interval at which a log that is written to checks the drive's free space.
pub const LOG_SPACE_CHECK_MS_MIN: u64 = 1000;
/// Segments that a log keeps for reuse; more are removed.
pub const LOG_FREE_SEGMENTS_MAX: usize = 2;
/// One read of a log, at most, except for a record that is larger.
pub const LOG_READ_BYTES_MAX: usize = 4 << 20;
/// One read of a log that is scanned from one end to the other, except for a record that is larger. Several are scanned at once.
pub const LOG_SCAN_BYTES: usize = 1 << 20;
/// One write of zeros over a segment's new file.
pub const LOG_ZEROS_BYTES: usize = 1 << 20;
/// Unwanted bytes between two records that are still read in one call.
pub const LOG_READ_GAP_BYTES_MAX: u32 = 64 << 10;

/// A frame between hosts: its header and its body, at most.
pub const NET_HEADER_BYTES_MAX: usize = 160 << 10;
pub const NET_BODY_BYTES_MAX: usize = 16 << 20;
/// Shards that one request to a peer names, or one page of its inventory holds; longer lists go in several.
pub const NET_SHARDS_MAX: usize = 4096;
/// Text of an error that a peer tells, at most.
pub const NET_WORDS_BYTES_MAX: usize = 1024;
/// Requests under way on one connection, in each direction.
pub const NET_STREAMS_MAX: u64 = 100;
/// The streams, of these, that requests about drives' data leave to the calls of groups: an election does not wait for
/// bulk.
pub const NET_STREAMS_OF_GROUPS: u64 = 20;
/// Handshakes under way, beyond which a caller must show that packets reach the address that it claims.
pub const NET_HANDSHAKES_MAX: usize = 64;
/// Connections that a host accepts at once.
pub const NET_CONNECTIONS_MAX: usize = 256;
/// Bytes of requests' and answers' bodies that a host holds for its peers, and for one of them.
pub const NET_SERVE_BYTES_MAX: usize = 256 << 20;
pub const NET_SERVE_PEER_BYTES_MAX: usize = 128 << 20;
/// The same of the calls of groups, beside these.
pub const NET_SERVE_GROUPS_BYTES_MAX: usize = 128 << 20;
pub const NET_SERVE_PEER_GROUPS_BYTES_MAX: usize = 32 << 20;
/// Flow control: bytes of one stream that have come and are not taken, and that are sent and not acknowledged. A connection
/// allows as many for each of its streams, or streams that wait would hold up those that do not.
pub const NET_STREAM_WINDOW_BYTES: u64 = 1 << 20;
pub const NET_SEND_BUFFER_BYTES: u32 = 1 << 20;
/// Larger packets crash the sender with segmentation offload.
pub const NET_PACKET_BYTES_MAX: u16 = 9000;
pub const NET_SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// A connection that is not made and greeted by then is not made.
pub const NET_HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(5);
pub const NET_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A connection on which nothing comes for this long is dead.
pub const NET_IDLE_WAIT_MAX: Duration = Duration::from_secs(30);
/// A connection without requests for this long is closed.
pub const NET_EVICT_AFTER: Duration = Duration::from_secs(300);
/// The interval at which the pool looks for such connections.
pub const NET_EVICT_CHECK: Duration = Duration::from_secs(30);
/// A host that did not answer is dialed again after this.
pub const NET_REDIAL_AFTER: Duration = Duration::from_secs(1);
/// A request waits this long for one of the connection's streams.
pub const NET_OPEN_WAIT_MAX: Duration = Duration::from_secs(10);
/// A server waits this long for room to hold a body, and refuses the request then.
pub const NET_ROOM_WAIT_MAX: Duration = Duration::from_secs(5);
/// A frame's head and header must have come within this.
pub const NET_HEADER_WAIT_MAX: Duration = Duration::from_secs(10);
/// A body must go on by so many bytes in such a time, or come to its end.
pub const NET_PROGRESS_BYTES: usize = 64 << 10;
pub const NET_PROGRESS_WAIT_MAX: Duration = Duration::from_secs(8);
/// A host that works on a request says so this often, and works on it no longer than this.
pub const NET_WORKING_EVERY: Duration = Duration::from_secs(2);
pub const NET_SERVE_WAIT_MAX: Duration = Duration::from_secs(60);
/// A stream without progress for this long is logged.
pub const NET_QUIET_LOG_AFTER: Duration = Duration::from_secs(3);

/// Node ids that a host's name has for itself: as many drives it may have.
pub const NODES_OF_HOST_MAX: u32 = 64;
/// The interval at which a host looks for another layout in the metadata, and the longest lag of its ring.
pub const LAYOUT_LOOK_EVERY: Duration = Duration::from_millis(50);
pub const RING_LAG_MAX: Duration = Duration::from_millis(150);
/// A host is given this long to answer a question about the membership.
pub const MEMBERSHIP_PATIENCE: Duration = Duration::from_secs(6);
/// A host is given this long to tell of its jobs, or to take an order about them.
pub const JOBS_PATIENCE: Duration = Duration::from_secs(5);
/// Hosts ask each other how their drives are this often, and take one that does not answer in time for absent.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);
pub const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// Objects up to this size ride in the Raft entry.
pub const INLINE_BYTES_MAX: usize = 16 << 10;
/// One Raft entry's commands, at most.
pub const RAFT_BATCH_BYTES_MAX: usize = 1 << 20;
pub const RAFT_BATCH_COMMANDS_MAX: usize = 256;
/// Entries read from the log, or sent to a follower, together; one that is larger goes alone.
pub const RAFT_READ_BYTES_MAX: u64 = 4 << 20;
/// One command, as it is encoded: a larger one is refused before it is proposed.
pub const COMMAND_BYTES_MAX: usize = 4 << 20;
/// One entry's commands that a log takes from another host: what a record holds, less its head.
pub const ENTRY_BYTES_MAX: usize = RECORD_BODY_BYTES_MAX - BLOCK_BYTES;
/// Deletes that go in one command, by what they weigh; one that weighs more goes alone.
pub const DELETES_BYTES_MAX: usize = 1 << 20;
/// A document's name within its kind, and its value. What identities are, and what a bucket has of which AWS allows much, may be
/// large; all else is small.
pub const DOCUMENT_NAME_BYTES_MAX: usize = 1024;
pub const DOCUMENT_BYTES_MAX: usize = 64 << 10;
pub const LARGE_DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Identities that are read at once, with one that exceeds it; and what one call of IAM that lists some looks at.
pub const IDENTITIES_PAGE_BYTES: usize = 1 << 20;
pub const IDENTITIES_LISTED_BYTES: usize = 16 << 20;
/// One call between the replicas of a group, and its answer.
pub const GROUP_CALL_BYTES_MAX: usize = 8 << 20;
/// One piece of a snapshot on its way to a follower.
pub const SNAPSHOT_PIECE_BYTES: usize = 1 << 20;
/// Answers to forwarded changes that are remembered, and those that are forgotten together.
pub const ANSWERS_MAX: u64 = 16_384;
pub const ANSWERS_FORGOTTEN_AT_ONCE: usize = 256;
/// Changes that a host may have on their way to the leader. A few hosts' together are far fewer than the answers that are
/// remembered, so that a change that is sent again after an election finds its answer.
pub const FORWARDS_MAX: usize = 1024;

/// Data and parity shards of a blob, at most.
pub const SHARDS_MAX: usize = 32;

/// Data directories (drives) of one host, at most.
pub const DATA_DIRS_MAX: usize = 64;

/// The sketches of traffic: names that a worker keeps of one kind in one slot of time, the slots, and the entries kept
/// of a name. Of each list so many go from host to host, and the first are shown.
pub const HEAVY_KEPT: usize = 64;
pub const HEAVY_SLOT: Duration = Duration::from_secs(20);
pub const HEAVY_SLOTS: usize = 16;
pub const HEAVY_NAME_BYTES_MAX: usize = 64;
pub const HEAVY_TOLD: usize = 40;
pub const HEAVY_SHOWN: usize = 20;

/// The interval of measurements of the stored bytes, the number kept (a week), and the period that a forecast needs.
pub const GROWTH_SAMPLE_EVERY: Duration = Duration::from_secs(60 * 60);
pub const GROWTH_SAMPLES_MAX: usize = 7 * 24 + 1;
pub const GROWTH_KNOWN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// The growth of each bucket: the days that are kept, and the buckets of a day, which are the largest.
pub const GROWTH_DAYS: u64 = 8;
pub const GROWTH_BUCKETS_MAX: usize = 10_000;

/// S3: an object's key (UTF-8 bytes), a bucket's name, user metadata, a listing's page, a multi-delete.
pub const KEY_BYTES_MAX: usize = 1024;
pub const USER_METADATA_BYTES_MAX: usize = 2048;
pub const LIST_KEYS_MAX: usize = 1000;
pub const DELETE_KEYS_MAX: usize = 1000;
/// Versions, or uploads, of a bucket that its lifecycle looks at in one step, and so removes in one change.
pub const LIFECYCLE_PAGE: usize = 256;
/// Uploads that lifecycle aborts at once: each is a change of its own.
pub const LIFECYCLE_ABORTS_AT_ONCE: usize = 16;
/// Versions of a bucket that are listed for its inventory in one step.
pub const INVENTORY_PAGE: usize = 1000;
/// S3: configurations of one kind that have ids, of a bucket.
pub const CONFIGURATIONS_OF_A_KIND_MAX: usize = 1000;
/// Buckets that work in the background looks through in one step for those that concern it.
pub const BUCKETS_LOOKED_AT: usize = 100;
/// S3: buckets in one answer.
pub const LIST_BUCKETS_MAX: usize = 10_000;
/// S3: parts of an upload, and the least size of any part but the last.
pub const PARTS_MAX: u16 = 10_000;
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// S3: one PUT or one part, and a whole object.
pub const PUT_BYTES_MAX: u64 = 5 << 30;
pub const OBJECT_BYTES_MAX: u64 = 5 << 40;

/// One request's body that is gathered whole, by what it is: a completion of 10,000 parts or a delete of 1,000 keys; the others by
/// AWS's bounds, and room for how differently the same can be written. Nothing of S3's is larger than the first.
pub const LIST_BODY_BYTES_MAX: usize = 4 << 20;
pub const LIFECYCLE_BODY_BYTES_MAX: usize = 1 << 20;
pub const NOTIFICATION_BODY_BYTES_MAX: usize = 512 << 10;
pub const POLICY_BODY_BYTES_MAX: usize = 256 << 10;
pub const WEBSITE_BODY_BYTES_MAX: usize = 256 << 10;
pub const TAGGING_BODY_BYTES_MAX: usize = 128 << 10;
pub const ACL_BODY_BYTES_MAX: usize = 128 << 10;
pub const CORS_BODY_BYTES_MAX: usize = 64 << 10;
/// Any other, and whatever nobody has signed, or whose signer is not known yet.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// A call of IAM by who is known: policies may be longer by their white space.
pub const IAM_BODY_BYTES_MAX: usize = 256 << 10;
/// The bodies held at once: this part of `SHERD_MEMORY_MAX`, and at most so much.
pub const BODIES_MEMORY_PART: u64 = 4;
pub const BODIES_BYTES_MAX: u64 = 256 << 20;
/// A body that is not whole after this is given up.
pub const BODY_WAIT_MAX: Duration = Duration::from_secs(60);
/// Processor time that the requests of one account may have used lately, on all workers, and still be polled at once; and how
/// soon half of it is forgotten.
pub const TURN_FREE: Duration = Duration::from_millis(20);
pub const TURN_HALF_LIFE: Duration = Duration::from_millis(100);
/// The age up to which what was read of a thread's processor time serves as the begin of a poll: what a poll is charged is too
/// much by this at most.
pub const TURN_READING_AGE: Duration = Duration::from_micros(200);
/// A poll of a request is long from here; and a request is slow that took more processor time than this, and this for each MiB of its
/// bodies. Signatures of chunks cost the most of a byte, up to 3 ms a MiB.
pub const TURN_POLL_LONG: Duration = Duration::from_millis(2);
pub const TURN_REQUEST_FREE: Duration = Duration::from_millis(2);
pub const TURN_FREE_PER_MIB: Duration = Duration::from_millis(8);
/// Processor time of slow requests that one account may have used lately without its requests going to the slow lanes; and how soon
/// half of it is forgotten.
pub const TURN_SLOW_FREE: Duration = Duration::from_millis(10);
pub const TURN_SLOW_HALF_LIFE: Duration = Duration::from_secs(10);
/// The slow lanes' priority below that of the workers.
pub const SLOW_LANE_NICE: i32 = 10;
/// Holders that are remembered without requests under way.
pub const TURN_HOLDERS_MAX: usize = 16_384;
/// Access keys whose accounts are remembered.
pub const TURN_KEYS_MAX: usize = 16_384;
/// Bytes of the documents of which values are kept, of one kind of values; and what a value counts besides. What documents are
/// parsed into is up to 40 times as large.
pub const MEMO_BYTES_MAX: usize = 1 << 20;
pub const MEMO_ENTRY_BYTES: usize = 256;
/// Limits on rates: the least of bytes a second, the piece of a body that waits at a time, and for how long the number of the hosts
/// that share a limit is taken for known.
pub const RATE_BYTES_MIN: u64 = 64 << 10;
pub const RATE_PIECE_BYTES: usize = 64 << 10;
pub const RATE_SHARES_KNOWN_FOR: Duration = Duration::from_secs(1);
/// With a limit of bytes, so many requests may be under way that a piece of each passes within this time.
pub const RATE_WAIT_MAX: Duration = Duration::from_secs(10);
/// Connections of a listener: for so many files that the process may open, one; between these.
pub const FILES_PER_CONNECTION: usize = 4;
pub const CONNECTIONS_MIN: usize = 64;
pub const CONNECTIONS_MAX: usize = 16_384;
/// A request's header section; S3 allows 8 KiB.
pub const REQUEST_HEADERS_BYTES_MAX: usize = 32 << 10;
/// S3: what a browser's form has before its file.
pub const FORM_FIELDS_BYTES_MAX: usize = 20 << 10;
/// Rows of a dropped list (the parts of a deleted object, say) that become garbage with the change that dropped it; the rest
/// follows with each reclaiming, so that no delete costs by the number of parts.
pub const DROPPED_ROWS_AT_ONCE: usize = 64;
pub const DROPPED_ROWS_PER_RECLAIM: usize = 1024;

/// The longest pause after failed orders of a certificate. Let's Encrypt takes five failed proofs of a name in an hour.
pub const ACME_RETRY_MAX: Duration = Duration::from_secs(12 * 3600);

/// Sizes and times that decide how much happens before segments are compacted, snapshots are taken, tables are written out
/// and garbage is reclaimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    pub shard_segment_bytes: u32,
    pub meta_segment_bytes: u32,
    /// A snapshot of the metadata is due when the log behind the last one has grown to this size.
    pub snapshot_log_bytes_min: u64,
    /// Rows of one table that are kept in memory before they are written out. A process has a database for each drive and one
    /// for the metadata, so this and the cache, not the data, decide how much memory it holds.
    pub memtable_bytes: u64,
    pub reclaim_grace: Duration,
    /// Pause of the compactors and of the reclaimer when there is nothing to do.
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
        upkeep_idle: Duration::from_secs(5),
        index_persist_every: Duration::from_secs(30),
        acme_retry_min: Duration::from_secs(300),
    };

    /// For tests: what takes hours of a busy store happens in seconds.
    pub const SMALL: Self = Self {
        shard_segment_bytes: 24 << 20,
        meta_segment_bytes: 10 << 20,
        snapshot_log_bytes_min: 3 << 20,
        memtable_bytes: 128 << 10,
        reclaim_grace: Duration::from_secs(3),
        upkeep_idle: Duration::from_secs(1),
        index_persist_every: Duration::from_secs(5),
        acme_retry_min: Duration::from_secs(1),
    };

    /// Returns the segment size for a drive of this size: large drives have few files, and small ones have room for
    /// several segments.
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
    }
}

/// The smallest drive that a store is formed on: a file system on 256 MB has somewhat less to give.
pub const DRIVE_BYTES_MIN: u64 = 192 << 20;

/// Free space under which writes are refused, and under which a warning is logged, in percent of the drive.
pub const SPACE_REFUSE_PERCENT: u64 = 5;
pub const SPACE_WARN_PERCENT: u64 = 15;

/// The distance by which a command may advance the confirmed time without naming its source.
pub const CLOCK_ADVANCE_MAX: Duration = Duration::from_secs(60 * 60);
/// The leader puts the confirmed time into the log this often, at least, so that a host that restarts has it.
pub const CLOCK_RECORD_EVERY: Duration = Duration::from_secs(10 * 60);
/// Clocks that differ by at most this agree.
pub const CLOCKS_AGREE_WITHIN: Duration = Duration::from_secs(60);
/// The time for which a wall clock must have run as the monotonic clock does before it is trusted after it was set, and
/// before it may confirm a time.
pub const CLOCK_STEADY_AFTER: Duration = Duration::from_secs(10 * 60);
/// The confirmed time comes nearer to the hosts' clocks by at most one part in so many of the time that passes: an hour a day.
pub const CLOCK_SLEW_DIVISOR: u32 = 24;
/// A greater difference of a host's clock from the confirmed time is reported by health.
pub const CLOCK_GAP_REPORTED: Duration = Duration::from_secs(60 * 60);
/// The validity of another host's report of its clock.
pub const CLOCK_REPORT_COUNTS_FOR: Duration = Duration::from_secs(5);

/// Lines of the audit log that wait for one destination, and their bytes. Lines of denied calls may take half of either, so that
/// whoever is denied cannot crowd out the changes of others.
pub const AUDIT_LINES_MAX: usize = 16_384;
pub const AUDIT_BYTES_MAX: usize = 16 << 20;
/// Lines that are handed to a destination at once.
pub const AUDIT_BATCH_LINES: usize = 256;
/// A text of a line of the audit log is cut after so many bytes.
pub const AUDIT_TEXT_BYTES_MAX: usize = 512;

const _: () = assert!(CHUNK_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(RECORD_BODY_BYTES_MAX >= CHUNK_BYTES_MAX);
const _: () = assert!(GET_STRIPES_AHEAD.is_multiple_of(GET_READ_STRIPES));
const _: () = assert!(READ_HEDGE_MIN.as_millis() < READ_HEDGE_MAX.as_millis());
const _: () = assert!(READ_HEDGE_MAX.as_millis() + READ_GONE_WAIT.as_millis() < READ_WAIT_MAX.as_millis());
const _: () = assert!(APPEND_SUSPECT_WAIT.as_millis() < APPEND_LATE_AFTER.as_millis());
const _: () = assert!(APPEND_LATE_AFTER.as_millis() < APPEND_WAIT_MAX.as_millis());
const _: () = assert!(ADMISSION_WAIT_MAX.as_millis() + APPEND_WAIT_MAX.as_millis() <= REFUSED_WITHIN.as_millis());
const _: () = assert!(ADMISSION_WAIT_MAX.as_millis() + PROPOSAL_WAIT_MAX.as_millis() <= REFUSED_WITHIN.as_millis());
const _: () = assert!(META_READ_WAIT_MAX.as_millis() + READ_WAIT_MAX.as_millis() <= REFUSED_WITHIN.as_millis());
const _: () = assert!(RAFT_BATCH_BYTES_MAX + INLINE_BYTES_MAX < RECORD_BODY_BYTES_MAX);
const _: () = assert!(LARGE_DOCUMENT_BYTES_MAX + DOCUMENT_NAME_BYTES_MAX < COMMAND_BYTES_MAX);
const _: () = assert!(DELETES_BYTES_MAX < COMMAND_BYTES_MAX);
const _: () = assert!(COMMAND_BYTES_MAX + RAFT_BATCH_BYTES_MAX < ENTRY_BYTES_MAX);
const _: () = assert!(COMMAND_BYTES_MAX + RAFT_BATCH_BYTES_MAX < GROUP_CALL_BYTES_MAX);
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
const _: () = assert!(NET_WORKING_EVERY.as_millis() * 3 < NET_HEADER_WAIT_MAX.as_millis());
const _: () = assert!(NET_ROOM_WAIT_MAX.as_millis() < NET_PROGRESS_WAIT_MAX.as_millis());
const _: () = assert!(CLOCK_RECORD_EVERY.as_millis() * 2 < CLOCK_ADVANCE_MAX.as_millis());
const _: () = assert!(GROWTH_SAMPLE_EVERY.as_secs() * (GROWTH_SAMPLES_MAX as u64 - 1) > GROWTH_KNOWN_AFTER.as_secs());
const _: () = assert!(GROWTH_SAMPLES_MAX * 64 < DOCUMENT_BYTES_MAX);
const _: () = assert!(GROWTH_BUCKETS_MAX * 66 + 64 < LARGE_DOCUMENT_BYTES_MAX);
const _: () = assert!(LARGE_DOCUMENT_BYTES_MAX + DOCUMENT_BYTES_MAX < COMMAND_BYTES_MAX);
const _: () = assert!(HEAVY_SHOWN < HEAVY_TOLD && HEAVY_TOLD < HEAVY_KEPT);
const _: () = assert!(HEAVY_SLOT.as_secs() * (HEAVY_SLOTS as u64 - 1) == 300);
const _: () = assert!(PROBE_PATIENCE.as_millis() < CLOCK_REPORT_COUNTS_FOR.as_millis());
const _: () = assert!(NET_KEEP_ALIVE.as_millis() < NET_IDLE_WAIT_MAX.as_millis());

#[cfg(test)]
mod tests {
    use super::Scale;

    #[test]
    fn segments_are_as_large_as_a_drive_has_room_for() {
        let of = |gib: u64| Scale::PRODUCTION.shard_segment_bytes_of(gib << 30) >> 20;
        assert_eq!([0, 1, 6, 10, 40, 63, 64, 20_000].map(of), [24, 24, 24, 40, 160, 252, 256, 256]);
        assert_eq!(Scale::SMALL.shard_segment_bytes_of(1 << 50), 24 << 20);
        let odd = Scale::PRODUCTION.shard_segment_bytes_of((100 << 30) + 4_000_000);
        assert!((odd as usize).is_multiple_of(super::BLOCK_BYTES));
    }
}
