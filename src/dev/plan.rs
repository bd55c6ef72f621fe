//! The plan of a development cluster: names, ports and secrets, drawn once and kept in `dev.json`, which only its owner
//! can read; and the environment variables of each host.

use super::DevError;
use crate::ambient::Ambient;
use crate::config::DevOptions;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const FILE: &str = "dev.json";
const FORMAT: u32 = 1;
const NAMES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    format: u32,
    pub access_key: String,
    pub secret_key: String,
    cluster_secret: String,
    pub drives: u16,
    pub hosts: Vec<HostPlan>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostPlan {
    pub name: String,
    pub s3: SocketAddr,
    pub admin: SocketAddr,
    pub cluster: SocketAddr,
}

impl Plan {
    /// Reads the plan in the directory, or draws one and keeps it there.
    pub fn open(options: &DevOptions, ambient: &Ambient) -> Result<Self, DevError> {
        let failed =
            |doing: &'static str, cause: io::Error| DevError::Directory { doing, dir: options.dir.clone(), cause };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&options.dir)
            .map_err(|cause| failed("make", cause))?;
        let path = options.dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                let plan: Self = serde_json::from_slice(&bytes).map_err(|error| failed("read", error.into()))?;
                plan.check(options)?;
                Ok(plan)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let plan = Self::draw(options, ambient).map_err(|cause| failed("find free ports for", cause))?;
                plan.keep(&path).map_err(|cause| failed("write to", cause))?;
                Ok(plan)
            }
            Err(error) => Err(failed("read", error)),
        }
    }

    fn check(&self, options: &DevOptions) -> Result<(), DevError> {
        let (hosts, drives) = (self.hosts.len(), self.drives);
        if self.format != FORMAT {
            return Err(DevError::OtherFormat { dir: options.dir.clone(), found: self.format });
        }
        if hosts == usize::from(options.hosts) && drives == options.drives {
            return Ok(());
        }
        Err(DevError::OtherSize { dir: options.dir.clone(), hosts, drives })
    }

    fn draw(options: &DevOptions, ambient: &Ambient) -> io::Result<Self> {
        // Drawn ports stay bound until all are drawn, so that no port is drawn twice.
        let mut held = Vec::new();
        let mut hosts = Vec::new();
        for name in NAMES.iter().take(usize::from(options.hosts)) {
            let (s3, admin) = (TcpListener::bind(any_port())?, TcpListener::bind(any_port())?);
            let cluster = UdpSocket::bind(any_port())?;
            hosts.push(HostPlan {
                name: (*name).to_owned(),
                s3: s3.local_addr()?,
                admin: admin.local_addr()?,
                cluster: cluster.local_addr()?,
            });
            held.push((s3, admin, cluster));
        }
        let secret = || format!("{:032x}", ambient.random_u128());
        Ok(Self {
            format: FORMAT,
            access_key: format!("dev-{}", &secret()[..12]),
            secret_key: secret(),
            cluster_secret: secret(),
            drives: options.drives,
            hosts,
        })
    }

    fn keep(&self, path: &Path) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&bytes)?;
        file.sync_all()
    }

    /// The variables of one host.
    pub fn environment(&self, host: &HostPlan, dir: &Path) -> Vec<(&'static str, String)> {
        let data: Vec<String> =
            (1..=self.drives).map(|drive| drive_dir(dir, &host.name, drive).display().to_string()).collect();
        let mut environment = vec![
            ("SHERD_DATA", data.join(",")),
            ("SHERD_S3_LISTEN", host.s3.to_string()),
            ("SHERD_ADMIN_LISTEN", host.admin.to_string()),
            ("SHERD_ACCESS_KEY", self.access_key.clone()),
            ("SHERD_SECRET_KEY", self.secret_key.clone()),
        ];
        if self.hosts.len() > 1 {
            let hosts: Vec<String> = self.hosts.iter().map(|host| format!("{}={}", host.name, host.cluster)).collect();
            environment.extend([
                ("SHERD_HOSTS", hosts.join(",")),
                ("SHERD_HOST", host.name.clone()),
                ("SHERD_CLUSTER_LISTEN", host.cluster.to_string()),
                ("SHERD_CLUSTER_SECRET", self.cluster_secret.clone()),
            ]);
        }
        environment
    }
}

fn drive_dir(dir: &Path, host: &str, drive: u16) -> PathBuf {
    dir.join(host).join(format!("d{drive}"))
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

#[cfg(test)]
mod tests {
    use super::Plan;
    use crate::ambient::Ambient;
    use crate::config::DevOptions;
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn options(dir: &Path, hosts: u16, drives: u16) -> DevOptions {
        DevOptions { hosts, drives, dir: dir.join("dev"), passed_on: Vec::new() }
    }

    #[test]
    fn a_plan_is_drawn_once_and_readable_by_its_owner_only() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let ambient = Ambient::system();
        let plan = Plan::open(&options(root.path(), 3, 2), &ambient).expect("drawn");
        assert_eq!(Plan::open(&options(root.path(), 3, 2), &ambient).expect("read"), plan);
        let mode = |path: &str| std::fs::metadata(root.path().join(path)).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode("dev"), mode("dev/dev.json")), (0o700, 0o600));
        assert!(Plan::open(&options(root.path(), 4, 2), &ambient).is_err(), "another number of hosts");
        assert!(Plan::open(&options(root.path(), 3, 1), &ambient).is_err(), "another number of drives");
    }

    #[test]
    fn hosts_differ_in_name_ports_and_drives_and_share_the_rest() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let plan = Plan::open(&options(root.path(), 3, 2), &Ambient::system()).expect("drawn");
        let ports: BTreeSet<_> =
            plan.hosts.iter().flat_map(|host| [host.s3.port(), host.admin.port(), host.cluster.port()]).collect();
        assert!(ports.len() >= 6, "{ports:?}");
        let environments: Vec<_> =
            plan.hosts.iter().map(|host| plan.environment(host, Path::new("/dev-cluster"))).collect();
        let value = |host: usize, name: &str| {
            let found = environments[host].iter().find(|(found, _)| *found == name);
            found.map(|(_, value)| value.clone()).expect("set")
        };
        assert_eq!(value(1, "SHERD_DATA"), "/dev-cluster/b/d1,/dev-cluster/b/d2");
        assert_eq!(value(2, "SHERD_HOST"), "c");
        for shared in ["SHERD_HOSTS", "SHERD_CLUSTER_SECRET", "SHERD_ACCESS_KEY", "SHERD_SECRET_KEY"] {
            assert_eq!(value(0, shared), value(2, shared));
        }
        assert!(value(0, "SHERD_HOSTS").starts_with(&format!("a={},b=", plan.hosts[0].cluster)));
    }

    #[test]
    fn a_plan_of_one_host_has_no_cluster_settings() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let plan = Plan::open(&options(root.path(), 1, 1), &Ambient::system()).expect("drawn");
        let environment = plan.environment(&plan.hosts[0], root.path());
        assert!(environment.iter().all(|(name, _)| !name.contains("HOST") && !name.contains("CLUSTER")));
    }
}
