//! The generated root key on the drives: it is made once, and no key that was found is dropped.

use super::super::{IdentityError, keep_root_keys, spread_root_keys};
use super::{formed, four};
use crate::ambient::Ambient;
use crate::storage::sealing::RootKeys;

const FILE: &str = "root_key.json";

fn current(keys: &RootKeys) -> String {
    keys.current().id().to_string()
}

#[test]
fn a_root_key_is_made_once_and_survives_the_loss_of_drives() {
    let (disk, host) = formed();
    assert_eq!(spread_root_keys(&disk, &four(), host.cluster), Ok(None));
    let keep = || keep_root_keys(&disk, &four(), host.cluster, &Ambient::system()).unwrap();
    let first = keep();
    for dir in ["/d1", "/d2", "/d3"] {
        disk.put(&format!("{dir}/{FILE}"), b"{}");
    }
    assert_eq!(keep(), first);
    assert_eq!(disk.get(&format!("/d1/{FILE}")), disk.get(&format!("/d4/{FILE}")));
    assert_eq!(spread_root_keys(&disk, &four(), host.cluster), Ok(Some(first)));
}

#[test]
fn no_root_key_is_made_while_an_existing_one_cannot_be_read() {
    let (disk, host) = formed();
    keep_root_keys(&disk, &four(), host.cluster, &Ambient::system()).unwrap();
    for dir in four() {
        disk.put(&format!("{}/{FILE}", dir.display()), b"no document");
    }
    let refused = keep_root_keys(&disk, &four(), host.cluster, &Ambient::system());
    assert!(matches!(refused, Err(IdentityError::RootKeyDamaged { .. })), "{refused:?}");
    let before = disk.get(&format!("/d1/{FILE}"));
    assert_eq!(before, b"no document", "what may be mended by hand is left as it is");
}

#[test]
fn the_root_key_of_a_returning_drive_is_copied_to_all_drives() {
    let (disk, host) = formed();
    let (apart, together) = (four().split_off(3), four());
    let keep = |dirs: &[std::path::PathBuf]| keep_root_keys(&disk, dirs, host.cluster, &Ambient::system()).unwrap();
    let old = keep(&apart);
    let new = keep(&four()[..3]);
    assert_ne!(current(&old), current(&new));
    let both = keep(&together);
    for keys in [&old, &new] {
        assert!(both.of_id(keys.current().id()).is_some());
    }
    assert_eq!(keep(&together), both);
    assert_eq!(disk.get(&format!("/d1/{FILE}")), disk.get(&format!("/d4/{FILE}")));
}

/// A store that got a key file still has objects under the former key, until `rewrap` has gone through.
#[test]
fn a_former_root_key_is_copied_to_new_drives_and_none_is_made() {
    let (disk, host) = formed();
    let spread = || spread_root_keys(&disk, &four(), host.cluster).unwrap();
    assert_eq!(spread(), None);
    assert_eq!(keep_root_keys(&disk, &four()[..1], host.cluster, &Ambient::system()).map(Some), Ok(spread()));
    for dir in four() {
        assert_eq!(disk.get(&format!("{}/{FILE}", dir.display())), disk.get(&format!("/d1/{FILE}")));
    }
}
