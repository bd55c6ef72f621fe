//! The table of the admin API's routes: names of operations, methods and paths. The names are also
//! operations of the audit log and actions of policies.

/// The name in the audit log of a request that matches no route.
pub const UNKNOWN: &str = "Unknown";

/// Defines the routes. Each line has a route's name, method and path; `{bucket}` in a path stands for a bucket's name.
macro_rules! routes {
    ($($name:ident = $method:literal $path:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Route {
            $($name),*
        }

        impl Route {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the route's name in the audit log and in policies.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),*
                }
            }

            pub fn method(self) -> &'static str {
                match self {
                    $(Self::$name => $method),*
                }
            }

            /// Returns the path below the root of the API.
            pub fn path(self) -> &'static str {
                match self {
                    $(Self::$name => $path),*
                }
            }
        }
    };
}

routes! {
    GetInfo = "GET" "/info";
    GetHealth = "GET" "/health";
    GetStopSafety = "POST" "/safe-to-stop";
    ListDrives = "GET" "/drives";
    AddDrive = "POST" "/drives/add";
    ReplaceDrive = "POST" "/drives/replace";
    ListBucketUsage = "GET" "/buckets";
    GetBucketQuota = "GET" "/buckets/{bucket}/quota";
    PutBucketQuota = "POST" "/buckets/{bucket}/quota";
    ListRateLimits = "GET" "/rate-limits";
    PutRateLimits = "POST" "/rate-limits";
    GetLayout = "GET" "/layout";
    UpdateLayout = "POST" "/layout";
    GetHealStatus = "GET" "/heal";
    StartHeal = "POST" "/heal";
    GetScrubStatus = "GET" "/scrub";
    StartScrub = "POST" "/scrub";
    StopScrub = "POST" "/scrub/stop";
    GetTop = "GET" "/top";
    MoveLeader = "POST" "/leader";
    GetClock = "GET" "/clock";
    AcceptClock = "POST" "/clock/accept";
    ListShards = "GET" "/shards";
    ExportMetadata = "GET" "/metadata/export";
    DropUnknownShards = "POST" "/metadata/drop-unknown";
    CallIam = "POST" "/iam";
    ExplainAccess = "POST" "/access/explain";
    ListEncryptionKeys = "GET" "/encryption-keys";
    ChangeEncryptionKey = "POST" "/encryption-keys";
    RewrapKeys = "POST" "/encryption-keys/rewrap";
}

/// A request's route, and the bucket that its path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed<'a> {
    pub route: Route,
    pub bucket: Option<&'a str>,
}

/// The reason why a request has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted {
    NoPath,
    NoMethod,
}

pub fn find<'a>(method: &str, path: &'a str) -> Result<Routed<'a>, Unrouted> {
    let mut unrouted = Unrouted::NoPath;
    for route in Route::ALL {
        if let Some(bucket) = matched(route.path(), path) {
            if route.method() == method {
                return Ok(Routed { route: *route, bucket });
            }
            unrouted = Unrouted::NoMethod;
        }
    }
    Err(unrouted)
}

/// Matches a path against a route's pattern. Returns `None` if it does not match, else the bucket's name, if the
/// pattern has one.
fn matched<'a>(pattern: &str, path: &'a str) -> Option<Option<&'a str>> {
    let Some((before, after)) = pattern.split_once("{bucket}") else { return (pattern == path).then_some(None) };
    let name = path.strip_prefix(before)?.strip_suffix(after)?;
    (!name.is_empty() && !name.contains('/')).then_some(Some(name))
}

#[cfg(test)]
mod tests {
    use super::{Route, Unrouted, find};

    #[test]
    fn every_route_is_found_only_by_its_method_and_path() {
        for route in Route::ALL {
            let path = route.path().replace("{bucket}", "a.b");
            let found = find(route.method(), &path).expect("a route");
            assert_eq!((found.route, found.bucket.is_some()), (*route, path != route.path()));
            assert_eq!(find("PATCH", &path), Err(Unrouted::NoMethod));
            assert_eq!(find(route.method(), &format!("{path}/")), Err(Unrouted::NoPath));
        }
        for path in ["", "/", "/nothing", "/buckets//quota", "/buckets/a/b/quota", "/buckets/a"] {
            assert_eq!(find("GET", path), Err(Unrouted::NoPath), "{path}");
        }
    }
}
