//! Certificates by ACME with the real binary, against an ACME server of the test's own: the first one, restarts, renewals,
//! and orders that fail.

mod proof;
mod server;

use super::{Pki, SOON};
use crate::harness::server::{Server, Setup};
use crate::harness::{admin, eventually};
use server::AcmeServer;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const CONTACT: &str = "mailto:ops@example.test";
/// The gauge of failed orders.
const FAILED: &str = "sherd_acme_failed_orders";

/// An ACME server, and a store on two drives that orders `localhost` there. Failed orders are made again within seconds.
fn setup(root: &Path) -> (AcmeServer, Setup) {
    let acme = AcmeServer::start(Pki::new(root));
    let setup = Setup::drives(root, 2).with("SHERD_EC", "1+1").with("SHERD_SCALE", "small");
    let setup = setup.with("SHERD_ACME_DOMAINS", "localhost").with("SHERD_ACME_CONTACT", CONTACT);
    let setup = setup.with("SHERD_ACME_DIRECTORY", &acme.directory());
    let setup = setup.with("SHERD_ACME_CA_FILE", &acme.pki().path("authority.pem"));
    (acme, setup)
}

/// The certificate that is shown once handshakes succeed.
fn shown(acme: &AcmeServer, server: &Server) -> Vec<u8> {
    eventually(SOON, "a certificate to be shown", || {
        acme.pki().try_connect(server.s3).ok().map(|connection| connection.certificate())
    })
}

fn has_name(certificate: &[u8], name: &str) -> bool {
    proof::holds(certificate, name.as_bytes())
}

#[test]
fn the_first_certificate_is_ordered_until_it_is_there_and_a_restart_orders_no_other() {
    let root = tempfile::tempdir().unwrap();
    let (acme, setup) = setup(root.path());
    let server = setup.start_unready();
    // Until the server proves the name it waits for a listener, so there is no certificate.
    let refused = |why: String| assert!(why.contains("fatal alert"), "{why}");
    refused(acme.pki().try_connect(server.s3).map(drop).unwrap_err().to_string());
    eventually(SOON, "the proof of the name to be shown", || {
        proof::check(server.s3, "localhost", "x").is_err_and(|why| why == "another hash").then_some(())
    });
    refused(proof::check(server.s3, "stranger.test", "x").unwrap_err());
    let health = admin::text(&admin::run(server.admin, &server.keys, &["health"]));
    assert!(health.contains("the s3 listener has no certificate yet (SHERD_ACME_DOMAINS)"), "{health}");
    // The name leads elsewhere first.
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = elsewhere.local_addr().unwrap();
    drop(elsewhere);
    acme.prove_at(address);
    let why = "localhost was not proven to be this host's: \"Connection refused";
    eventually(SOON, "the failure to be logged", || server.log().contains(why).then_some(()));
    assert!(server.log().contains("port 443 there is this S3 listener"), "{}", server.log());
    eventually(SOON, "the failure to be counted", || (server.series(FAILED).get("")? >= &1.0).then_some(()));
    acme.prove_at(server.s3);
    let first = shown(&acme, &server);
    assert!(acme.pki().connect(server.s3).is_answered());
    refused(proof::check(server.s3, "localhost", "x").unwrap_err());
    eventually(SOON, "the failures to be over", || (server.metric(FAILED, &[]) == 0.0).then_some(()));
    assert_eq!((acme.issued(), acme.contacts()), (1, vec![format!("[{CONTACT:?}]")]));
    for dir in &setup.dirs {
        let kept = std::fs::metadata(dir.join("acme.json")).unwrap();
        assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    }
    server.stop();
    // One copy is enough.
    std::fs::remove_file(setup.dirs[0].join("acme.json")).unwrap();
    let server = setup.start();
    assert_eq!(acme.pki().connect(server.s3).certificate(), first, "at once");
    eventually(SOON, "the lost copy to be written", || setup.dirs[0].join("acme.json").exists().then_some(()));
    assert_eq!((acme.issued(), acme.contacts().len()), (1, 1));
}

#[test]
fn a_certificate_is_renewed_before_it_ends_and_open_connections_go_on() {
    let root = tempfile::tempdir().unwrap();
    let (acme, setup) = setup(root.path());
    acme.issue_for(18);
    let server = setup.start_unready();
    acme.prove_at(server.s3);
    let first = shown(&acme, &server);
    acme.issue_for(90 * 86_400);
    let mut open = acme.pki().connect(server.s3);
    assert!(open.is_answered());
    eventually(SOON, "the renewed certificate to be shown", || {
        (acme.pki().connect(server.s3).certificate() != first).then_some(())
    });
    assert!(open.is_answered(), "a connection with the certificate before goes on");
    assert_eq!((acme.issued(), acme.contacts().len()), (2, 1), "the same account");
}

#[test]
fn a_refused_order_leaves_the_certificate_in_use_and_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    let (acme, setup) = setup(root.path());
    let server = setup.start_unready();
    acme.prove_at(server.s3);
    let first = shown(&acme, &server);
    server.stop();
    // More names are ordered at once.
    acme.refuse_orders(true);
    let setup = setup.with("SHERD_ACME_DOMAINS", "s3.example.test,localhost");
    let server = setup.start();
    acme.prove_at(server.s3);
    eventually(SOON, "the order to be made again", || (acme.refused_orders() >= 2).then_some(()));
    assert_eq!(acme.pki().connect(server.s3).certificate(), first);
    eventually(SOON, "the failures to be counted", || (server.metric(FAILED, &[]) >= 2.0).then_some(()));
    let log = server.log();
    for words in
        ["429: \"too many certificates already issued\" (rateLimited)", "the certificate in use stays, which ends"]
    {
        assert!(log.contains(words), "{log}");
    }
    acme.refuse_orders(false);
    let second = eventually(SOON, "a certificate with both names", || {
        let shown = acme.pki().connect(server.s3).certificate();
        (shown != first).then_some(shown)
    });
    assert!(has_name(&second, "s3.example.test") && has_name(&second, "localhost"));
    eventually(SOON, "the failures to be over", || (server.metric(FAILED, &[]) == 0.0).then_some(()));
}

#[test]
fn the_settings_exclude_the_files_of_a_certificate_and_are_checked() {
    let root = tempfile::tempdir().unwrap();
    let (_acme, setup) = setup(root.path());
    let checked = |setup: &Setup| {
        let output = setup.run(&["check"]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(checked(&setup).0, Some(0));
    let authority = root.path().join("authority.pem");
    let both = ["SHERD_TLS_CERT", "SHERD_TLS_KEY"].into_iter();
    let both = both.fold(setup.clone(), |setup, name| setup.with(name, authority.to_str().unwrap()));
    let (code, why) = checked(&both);
    let expected = "SHERD_ACME_DOMAINS and SHERD_TLS_CERT are both set; only one of them is allowed";
    assert!(code != Some(0) && why.contains(expected), "{why}");
    let file = root.path().join("file");
    std::fs::write(&file, "no authority").unwrap();
    let (code, why) = checked(&setup.with("SHERD_ACME_CA_FILE", file.to_str().unwrap()));
    let expected = format!("SHERD_ACME_CA_FILE: {} holds no certificate of an authority", file.display());
    assert!(code != Some(0) && why.contains(&expected), "{why}");
}
