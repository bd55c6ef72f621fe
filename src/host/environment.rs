//! The environment that every part of a host uses: clock and randomness, disk, threads, buffers, and the settings of
//! all logs.

use crate::actors::drives::{Blocking, ReaderThreads};
use crate::ambient::Ambient;
use crate::config::{Config, Durability, EcSetting, TracesConfig};
use crate::limits::Scale;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::{Disk, SystemDisk};
use crate::storage::identity::WantedGeometry;
use crate::storage::ring::auto_geometry;
use crate::storage::wal;
use crate::traces::{SampleRatio, SpanQueue, Tracer};
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
            threads: Arc::new(ReaderThreads::new(Handle::current())),
            durability: durability(config.durability),
            scale: config.scale,
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

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
