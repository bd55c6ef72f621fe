//! The environment that every part of a host uses: clock and randomness, disk, threads, buffers, and the settings of
//! all logs.

use crate::actors::drives::{Blocking, ReaderThreads};
use crate::ambient::Ambient;
use crate::config::{Config, Durability, EcSetting, TracesConfig};
use crate::limits::{FILES_PER_OPEN_SEGMENT, OPEN_SEGMENTS_MAX, OPEN_SEGMENTS_MIN, Scale};
use crate::storage::buffer::BufferPool;
use crate::storage::disk::{Disk, OpenFilesBudget, SystemDisk};
use crate::storage::identity::WantedGeometry;
use crate::storage::ring::auto_geometry;
use crate::storage::wal;
use crate::traces::{SampleRatio, SpanQueue, Tracer};
use rustix::process::{Resource, getrlimit};
use std::sync::Arc;
use tokio::runtime::Handle;

/// The most memory that the buffer pool keeps in free buffers.
const IDLE_BUFFERS_BYTES_MAX: usize = 16 << 20;

/// The environment that every part of a host uses.
#[derive(Clone)]
pub(super) struct Environment {
    pub ambient: Ambient,
    pub disk: Arc<dyn Disk>,
    pub buffers: BufferPool,
    /// The segments of shards that all drives together keep open between reads.
    pub open_segments: OpenFilesBudget,
    pub threads: Arc<dyn Blocking>,
    pub durability: wal::Durability,
    pub scale: Scale,
    /// `None` if requests are not traced.
    pub traced: Option<Traced>,
}

/// The tracer of requests, and the queue that it fills.
#[derive(Clone, Debug)]
pub(super) struct Traced {
    pub tracer: Tracer,
    pub queue: Arc<SpanQueue>,
}

impl Traced {
    fn new(config: &TracesConfig, ambient: &Ambient) -> Self {
        let queue = Arc::<SpanQueue>::default();
        let ratio = SampleRatio::new(f64::from(config.sampled_per_million) / 1e6);
        Self { tracer: Tracer::new(ratio, ambient.clone(), Arc::clone(&queue)), queue }
    }
}

impl Environment {
    /// Returns the environment of a process: the machine's clock, disks and threads.
    pub fn of_process(config: &Config) -> Self {
        let (buffers, ambient) = (BufferPool::new(IDLE_BUFFERS_BYTES_MAX), Ambient::system());
        Self {
            traced: config.traces.as_ref().map(|traces| Traced::new(traces, &ambient)),
            ambient,
            disk: Arc::new(SystemDisk::new(buffers.clone())),
            buffers,
            open_segments: OpenFilesBudget::new(open_segments_max(open_files_max())),
            threads: Arc::new(ReaderThreads::new(Handle::current())),
            durability: durability(config.durability),
            scale: config.scale,
        }
    }
}

#[cfg(test)]
impl Environment {
    /// Returns an environment for tests with this disk. What blocks runs in the caller's thread.
    pub fn of_test(disk: Arc<dyn Disk>) -> Self {
        Self {
            ambient: Ambient::system(),
            disk,
            buffers: BufferPool::new(0),
            open_segments: OpenFilesBudget::new(OPEN_SEGMENTS_MIN),
            threads: Arc::new(crate::actors::drives::Inline),
            durability: wal::Durability::Strict,
            scale: Scale::SMALL,
            traced: None,
        }
    }
}

fn durability(setting: Durability) -> wal::Durability {
    match setting {
        Durability::Strict => wal::Durability::Strict,
        Durability::Relaxed { sync_interval } => wal::Durability::Relaxed { flush_delay_max: sync_interval },
    }
}

/// Returns the geometry that the settings ask for.
pub(super) fn wanted_geometry(config: &Config) -> WantedGeometry {
    let (data, parity, explicit) = match config.ec {
        EcSetting::Fixed { data, parity } => (data, parity, true),
        EcSetting::Auto => {
            let (data, parity) = auto_geometry(config.data.len());
            (data, parity, false)
        }
    };
    WantedGeometry { data, parity, explicit, alone: config.cluster.is_none() }
}

/// Returns the number of files that the process may have open.
pub(super) fn open_files_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    files.unwrap_or(usize::MAX)
}

/// Returns the number of segments that the drives of a host keep open, if the process may have `files` open.
fn open_segments_max(files: usize) -> usize {
    (files / FILES_PER_OPEN_SEGMENT).clamp(OPEN_SEGMENTS_MIN, OPEN_SEGMENTS_MAX)
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::open_segments_max;

    #[test]
    fn the_segments_that_stay_open_are_a_share_of_the_limit_of_open_files() {
        assert_eq!([100, 1024, 65_536, 1 << 20, usize::MAX].map(open_segments_max), [64, 256, 16_384, 65_536, 65_536]);
    }
}
