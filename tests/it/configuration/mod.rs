//! The messages for a wrong configuration, and help, as a user at a shell sees them.

mod startup;

use crate::harness::server::Setup;
use crate::harness::sigv4::Keys;
use std::process::Command;

fn refusal(name: &str, value: &str) -> String {
    let root = tempfile::tempdir().unwrap();
    let ended = Setup::single(root.path()).with(name, value).fail_to_start();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(!root.path().join("d1").exists(), "nothing is made by a wrong configuration");
    ended.stderr
}

#[test]
fn a_wrong_value_is_refused_with_the_name_of_its_setting() {
    assert_eq!(
        refusal("SHERD_DURABILITY", "lax"),
        "sherd: SHERD_DURABILITY: \"lax\" is not allowed; expected strict, or relaxed:200ms (from 1ms to 10000ms)\n"
    );
}

#[test]
fn fewer_roles_are_refused_on_a_host_that_is_alone() {
    let message = refusal("SHERD_ROLES", "meta,storage");
    assert!(message.starts_with("sherd: SHERD_ROLES: \"meta,storage\" is not allowed; expected gateway, meta and "));
    assert!(message.contains("this host alone is the store"), "{message}");
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest_name() {
    assert_eq!(
        refusal("SHERD_DURABLE", "1"),
        "sherd: SHERD_DURABLE is not a setting; did you mean SHERD_DURABILITY?\n"
    );
}

#[test]
fn well_known_credentials_are_refused_beyond_loopback() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::single(root.path()).without_keys().with("SHERD_S3_LISTEN", "0.0.0.0:0");
    let setup = setup.with("MINIO_ROOT_USER", "minioadmin").with("MINIO_ROOT_PASSWORD", "minioadmin");
    let message = setup.fail_to_start().stderr;
    assert!(message.contains("well-known defaults"), "{message}");
}

#[test]
fn credentials_are_read_from_files() {
    let root = tempfile::tempdir().unwrap();
    let secret = root.path().join("secret");
    std::fs::write(&secret, "a-secret-in-a-file\n").unwrap();
    let setup = Setup::single(root.path()).without_keys().with("MINIO_ROOT_USER", "ann");
    let server = setup.with("SHERD_SECRET_KEY_FILE", secret.to_str().unwrap()).start();
    let keys = Keys::new("ann", "a-secret-in-a-file");
    server.client().with_keys(keys).create_bucket("from-file").unwrap().expect(200);
}

#[test]
fn help_and_version_end_with_0() {
    for argument in ["--help", "--version"] {
        let output = Command::new(env!("CARGO_BIN_EXE_sherd")).env_clear().arg(argument).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("sherd"));
    }
}

#[test]
fn a_flag_does_what_its_variable_does() {
    let output = Command::new(env!("CARGO_BIN_EXE_sherd")).env_clear().args(["--ec", "9"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("sherd: SHERD_EC: \"9\" is not allowed"));
}
