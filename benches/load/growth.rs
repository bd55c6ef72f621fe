//! How rates and costs grow: with clients, the size of objects, their number, drives, hosts, and the writers of one log
//! and of the metadata.

use super::target::Target;
use super::{BUCKET, Figure, Key, Operation, Small, Workload, by_threads, list_after, measure, parts};
use crate::harness::client::S3;
use crate::harness::cluster::{Cluster, Shape};
use crate::harness::data;
use crate::harness::server::Setup;
use plotters::prelude::{
    BLACK, ChartBuilder, Circle, Color, DrawingAreaErrorKind, IntoDrawingArea, IntoLogRange, LineSeries, Palette,
    Palette99, PathElement, SVGBackend, WHITE,
};
use sherd::storage::wal::Durability;
use std::path::Path;
use std::time::{Duration, Instant};

const SMALL_BYTES: usize = 4 << 10;
/// The bytes of each of many objects.
const TINY_BYTES: usize = 100;
const BULK_BYTES: usize = 16 << 20;
const SMALL_AT_ONCE: usize = 64;
const BULK_AT_ONCE: usize = 4;
const PICTURE_PIXELS: (u32, u32) = (720, 420);

/// The amounts of a run.
#[derive(Clone, Debug)]
pub struct Amounts {
    /// The duration of each measurement.
    pub each: Duration,
    pub clients: Vec<usize>,
    pub sizes: Vec<usize>,
    pub objects: Vec<u64>,
    pub drives: Vec<usize>,
    pub hosts: Vec<usize>,
    pub writers: Vec<usize>,
}

impl Amounts {
    /// Returns the amounts of a whole run, with at most `objects` objects.
    pub fn full(objects: u64) -> Self {
        let numbers = [10_000, 100_000, 1_000_000, 10_000_000];
        Self {
            each: Duration::from_secs(3),
            clients: vec![1, 4, 16, 64, 256, 1024],
            sizes: vec![4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20, 1 << 30],
            objects: numbers.into_iter().filter(|number| *number <= objects).collect(),
            drives: vec![1, 4, 16, 64],
            hosts: vec![1, 3, 5, 7],
            writers: vec![1, 2, 4, 8, 16, 32],
        }
    }

    pub fn tiny() -> Self {
        Self {
            each: Duration::from_millis(50),
            clients: vec![1, 2],
            sizes: vec![4 << 10, 64 << 10],
            objects: vec![100, 1000],
            drives: vec![1, 4],
            hosts: vec![],
            writers: vec![1, 2],
        }
    }
}

/// A figure of something, at each amount.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Curves over the same amounts.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The name of its file.
    pub name: &'static str,
    /// What grows, and what is shown of it.
    pub axes: [&'static str; 2],
    pub curves: Vec<Curve>,
}

impl Picture {
    fn new(name: &'static str, axes: [&'static str; 2]) -> Self {
        Self { name, axes, curves: Vec::new() }
    }

    fn add(&mut self, curve: &str, at: impl Into<u64>, value: f64) {
        let at = at.into() as f64;
        match self.curves.iter_mut().find(|known| known.name == curve) {
            Some(known) => known.points.push((at, value)),
            None => self.curves.push(Curve { name: curve.to_owned(), points: vec![(at, value)] }),
        }
    }

    /// Returns a table with a row for each amount.
    pub fn table(&self) -> String {
        let names: Vec<&str> = self.curves.iter().map(|curve| curve.name.as_str()).collect();
        let rule = "---|".repeat(names.len());
        let mut text = format!("{}:\n\n| {} | {} |\n|---|{rule}\n", self.axes[1], self.axes[0], names.join(" | "));
        for (row, (at, _)) in self.curves.first().map(|curve| &curve.points[..]).unwrap_or_default().iter().enumerate()
        {
            let cells = self.curves.iter().map(|curve| match curve.points.get(row) {
                Some((_, value)) if *value < 10.0 => format!(" {value:.2} |"),
                Some((_, value)) => format!(" {value:.0} |"),
                None => " – |".to_owned(),
            });
            text.push_str(&format!("| {at} |{}\n", cells.collect::<String>()));
        }
        text
    }

    /// Draws the curves on logarithmic axes.
    pub fn draw(&self, dir: &Path) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let path = dir.join(format!("{}.svg", self.name));
        let points = || self.curves.iter().flat_map(|curve| curve.points.iter().copied());
        let range = |values: Vec<f64>| {
            let positive = values.into_iter().filter(|value| *value > 0.0);
            let (least, most) =
                positive.fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
            (least * 0.7..most * 1.5).log_scale()
        };
        let root = SVGBackend::new(&path, PICTURE_PIXELS).into_drawing_area();
        root.fill(&WHITE)?;
        let (x, y) = (points().map(|(at, _)| at).collect(), points().map(|(_, value)| value).collect());
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d(range(x), range(y))?;
        chart.configure_mesh().x_desc(self.axes[0]).y_desc(self.axes[1]).light_line_style(WHITE).draw()?;
        for (number, curve) in self.curves.iter().enumerate() {
            let color = Palette99::pick(number).to_rgba();
            let line = chart.draw_series(LineSeries::new(curve.points.iter().copied(), color.stroke_width(2)))?;
            line.label(&curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
            chart.draw_series(curve.points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.4)).draw()?;
        root.present()
    }
}

/// Measures every curve, in `parent`.
pub fn measure_all(parent: &Path, amounts: &Amounts) -> Vec<Picture> {
    let mut pictures = log(parent, amounts);
    pictures.extend(metadata(parent, amounts));
    pictures.extend(clients(parent, amounts));
    pictures.extend(sizes(parent, amounts));
    pictures.extend(objects(parent, amounts));
    pictures.extend(drives(parent, amounts));
    pictures.extend(hosts(parent, amounts));
    pictures
}

/// Measures one log alone, by the number of its writers.
fn log(parent: &Path, amounts: &Amounts) -> Vec<Picture> {
    let mut picture = Picture::new("log", ["writers of one log", "appends of 4 KiB a second"]);
    let relaxed = Durability::Relaxed { flush_delay_max: Duration::from_secs(1) };
    for writers in &amounts.writers {
        for (name, durability) in [("synced", Durability::Strict), ("not synced", relaxed)] {
            picture.add(name, *writers as u64, parts::appends(parent, *writers, durability, amounts.each));
        }
    }
    vec![picture]
}

/// Measures the metadata of one host alone, by the number of those who change it.
fn metadata(parent: &Path, amounts: &Amounts) -> Vec<Picture> {
    let mut picture = Picture::new("metadata", ["writers of the metadata", "synced changes a second"]);
    for writers in &amounts.clients {
        picture.add("one host", *writers as u64, parts::changes(parent, *writers, amounts.each));
    }
    vec![picture]
}

/// The four small requests, each with the rate and the CPU time of one.
struct SmallPictures([Picture; 2]);

impl SmallPictures {
    fn new(names: [&'static str; 2], grows: &'static str) -> Self {
        Self([Picture::new(names[0], [grows, "a second"]), Picture::new(names[1], [grows, "µs of CPU for one"])])
    }

    /// Measures requests that a number of clients send at once to keys that begin with `prefix`.
    fn measure(&mut self, target: &Target, each: Duration, at: u64, at_once: usize, prefix: &str) {
        let body = data::bytes(3, SMALL_BYTES);
        let new = |number, turn| format!("{prefix}/{number}/{turn}");
        let same = |number, _| format!("{prefix}/{number}/0");
        let requests: [(&str, Workload, Small<'_>, &Key<'_>); 4] = [
            ("PUT 4 KiB", Workload::PutSmall, Small::put(&body), &new),
            ("GET 4 KiB", Workload::GetSmall, Small::get(SMALL_BYTES), &same),
            ("HEAD", Workload::Head, Small::HEAD, &same),
            ("DELETE", Workload::Delete, Small::DELETE, &new),
        ];
        for (name, workload, request, key) in requests {
            let work = || request.send(target, at_once, key, &|requests| requests.send(each));
            self.add(name, at, &measure(target, (workload, name, at_once), &work));
        }
    }

    fn add(&mut self, name: &str, at: u64, figure: &Figure) {
        self.0[0].add(name, at, figure.per_second());
        self.0[1].add(name, at, figure.cpu_micros_per_operation());
    }
}

/// PUT and GET of objects, each with the rate in bytes and the CPU time of a GiB.
struct BulkPictures([Picture; 2]);

impl BulkPictures {
    fn new(names: [&'static str; 2], grows: &'static str) -> Self {
        Self([Picture::new(names[0], [grows, "MiB a second"]), Picture::new(names[1], [grows, "s of CPU for a GiB"])])
    }

    fn measure(&mut self, target: &Target, each: Duration, at: u64, bytes: usize, what: &str) {
        let body = data::bytes(1, bytes);
        let key = |worker| format!("{bytes}/{worker}");
        let put = |s3: &S3, worker, _| {
            s3.put(BUCKET, &key(worker), &body).expect("the store answers").expect(200);
            bytes as u64
        };
        let get = |s3: &S3, worker, _| {
            let (status, len) = s3.get_discarding(BUCKET, &key(worker)).expect("the store answers");
            assert_eq!(status, 200);
            len
        };
        let operations: [(String, Workload, &Operation<'_>); 2] =
            [(format!("PUT{what}"), Workload::PutLarge, &put), (format!("GET{what}"), Workload::GetLarge, &get)];
        for (name, workload, operation) in operations {
            let work = || by_threads(target, each, BULK_AT_ONCE, operation);
            let figure = measure(target, (workload, &name, BULK_AT_ONCE), &work);
            self.0[0].add(&name, at, figure.mebibytes_per_second());
            self.0[1].add(&name, at, figure.cpu_seconds_per_gibibyte());
        }
    }
}

fn make_bucket(target: &Target) {
    target.client(0).create_bucket(BUCKET).expect("the store answers").expect(200);
}

fn on_drives(parent: &Path, count: usize, measure: impl FnOnce(&Target)) {
    let root = tempfile::tempdir_in(parent).expect("the directory can be written");
    let server = Setup::drives(root.path(), count).start();
    let target = Target::from(&server);
    make_bucket(&target);
    measure(&target);
}

fn clients(parent: &Path, amounts: &Amounts) -> Vec<Picture> {
    let mut pictures = SmallPictures::new(["clients-rate", "clients-cpu"], "clients at once");
    on_drives(parent, 1, |target| {
        for at_once in &amounts.clients {
            pictures.measure(target, amounts.each, *at_once as u64, *at_once, &format!("c{at_once}"));
        }
    });
    pictures.0.to_vec()
}

fn sizes(parent: &Path, amounts: &Amounts) -> Vec<Picture> {
    let mut pictures = BulkPictures::new(["sizes-rate", "sizes-cpu"], "bytes of an object, 4 clients");
    on_drives(parent, 1, |target| {
        for bytes in &amounts.sizes {
            pictures.measure(target, amounts.each, *bytes as u64, *bytes, "");
        }
    });
    pictures.0.to_vec()
}

fn drives(parent: &Path, amounts: &Amounts) -> Vec<Picture> {
    let mut small = SmallPictures::new(["drives-rate", "drives-cpu"], "drives of a host, 64 clients");
    let mut bulk = BulkPictures::new(["drives-bulk-rate", "drives-bulk-cpu"], "drives of a host, 4 clients");
    for count in &amounts.drives {
        on_drives(parent, *count, |target| {
            small.measure(target, amounts.each, *count as u64, SMALL_AT_ONCE, "d");
            bulk.measure(target, amounts.each, *count as u64, BULK_BYTES, " 16 MiB");
        });
    }
    [small.0, bulk.0].concat()
}

fn hosts(parent: &Path, amounts: &Amounts) -> Vec<Picture> {
    let mut small = SmallPictures::new(["hosts-rate", "hosts-cpu"], "hosts of a drive each, 64 clients");
    let mut bulk = BulkPictures::new(["hosts-bulk-rate", "hosts-bulk-cpu"], "hosts of a drive each, 4 clients");
    for count in &amounts.hosts {
        let shape = Shape { founders: *count, is_direct: true, parent: parent.to_owned(), ..Shape::three(1, 1) };
        let cluster = Cluster::formed(&shape);
        let target = Target::from(&cluster);
        make_bucket(&target);
        small.measure(&target, amounts.each, *count as u64, SMALL_AT_ONCE, "h");
        bulk.measure(&target, amounts.each, *count as u64, BULK_BYTES, " 16 MiB");
    }
    [small.0, bulk.0].concat()
}

/// Measures small requests and listings in a bucket that fills, and the start and memory of its store.
fn objects(parent: &Path, amounts: &Amounts) -> Vec<Picture> {
    let mut small = SmallPictures::new(["objects-rate", "objects-cpu"], "objects of 100 bytes");
    let mut start = Picture::new("objects-start", ["objects of 100 bytes", "s from the process's start to ready"]);
    let mut memory = Picture::new("objects-memory", ["objects of 100 bytes", "MiB of memory"]);
    let root = tempfile::tempdir_in(parent).expect("the directory can be written");
    let mut server = Setup::drives(root.path(), 1).start();
    make_bucket(&Target::from(&server));
    let mut stored = 0;
    for count in &amounts.objects {
        let target = Target::from(&server);
        fill(&target, stored, *count);
        stored = *count;
        small.measure(&target, amounts.each, *count, SMALL_AT_ONCE, "after");
        small.measure_among(&target, amounts.each, *count);
        memory.add("at work", *count, server.process().resident_bytes_peak() as f64 / f64::from(1 << 20));
        let timed = |setup: Setup| {
            let begun = Instant::now();
            let server = setup.start();
            (server, begun.elapsed().as_secs_f64())
        };
        let (setup, ended, _) = server.stop();
        assert!(ended.status.success(), "the store did not stop well: {}", ended.stderr);
        let (again, took) = timed(setup);
        start.add("after a stop", *count, took);
        memory.add("after a start", *count, again.process().resident_bytes() as f64 / f64::from(1 << 20));
        let (again, took) = timed(again.kill());
        start.add("after a kill", *count, took);
        server = again;
    }
    let mut pictures = small.0.to_vec();
    pictures.extend([start, memory]);
    pictures
}

/// Stores objects with the numbers from `stored` to `count`.
fn fill(target: &Target, stored: u64, count: u64) {
    let body = data::bytes(5, TINY_BYTES);
    let first = stored / SMALL_AT_ONCE as u64;
    let turns = (count - stored).div_ceil(SMALL_AT_ONCE as u64);
    let key = move |number, turn| among(number, first + turn);
    let _ = Small::put(&body).send(target, SMALL_AT_ONCE, &key, &|requests| requests.send_turns(turns));
}

/// Returns the key of one of many objects.
fn among(number: usize, turn: u64) -> String {
    format!("many/{turn:09}-{number:02}")
}

impl SmallPictures {
    /// Measures reads of objects all over the bucket, and pages of its listing.
    fn measure_among(&mut self, target: &Target, each: Duration, count: u64) {
        let turns = (count / SMALL_AT_ONCE as u64).max(1);
        // Multiples of a number that has no divisor in common with the count are spread over all.
        let key = move |number, turn: u64| among(number, turn.wrapping_mul(7_919) % turns);
        let read = Small::get(TINY_BYTES);
        let work = || read.send(target, SMALL_AT_ONCE, &key, &|requests| requests.send(each));
        self.add("GET of any", count, &measure(target, (Workload::GetSmall, "GET", SMALL_AT_ONCE), &work));
        let list = |s3: &S3, _, turn: u64| list_after(s3, "many/", &among(0, turn.wrapping_mul(7_919) % turns));
        let work = || by_threads(target, each, BULK_AT_ONCE, &list);
        self.add("LIST of 1,000", count, &measure(target, (Workload::List, "LIST", BULK_AT_ONCE), &work));
    }
}
