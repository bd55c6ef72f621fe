//! Lists of objects: in pages, by directories, and of keys that XML would change.

use std::collections::BTreeSet;

use aws_sdk_s3::types::EncodingType;

use crate::suite::Suite;

pub async fn pages(suite: Suite) {
    let keys: Vec<String> = (0..25).map(|number| format!("key-{number:03}")).collect();
    for key in &keys {
        suite.put(key, "x").await;
    }
    let list = || suite.client.list_objects_v2().bucket(&suite.bucket);
    let mut pages = list().into_paginator().page_size(10).send();
    let mut found = Vec::new();
    while let Some(page) = pages.try_next().await.unwrap() {
        found.push(page.contents().iter().map(|one| one.key().unwrap().to_owned()).collect::<Vec<_>>());
    }
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!(found.concat(), keys);
    let rest = list().start_after("key-019").fetch_owner(true).send().await.unwrap();
    assert_eq!(rest.contents().iter().map(|one| one.key().unwrap()).collect::<Vec<_>>(), keys[20..]);
    assert!(rest.contents().iter().all(|one| one.owner().is_some() && one.size() == Some(1) && one.e_tag().is_some()));
    let first = suite.client.list_objects().bucket(&suite.bucket).marker("key-003").max_keys(2).send().await.unwrap();
    assert_eq!(first.contents().iter().map(|one| one.key().unwrap()).collect::<Vec<_>>(), keys[4..6]);
    assert_eq!(first.is_truncated(), Some(true));
}

pub async fn directories(suite: Suite) {
    for key in ["a", "b/1", "b/2/x", "b/2/y", "c/1", "d"] {
        suite.put(key, "x").await;
    }
    let list = |prefix: &str, size| {
        let list = suite.client.list_objects_v2().bucket(&suite.bucket).prefix(prefix).delimiter("/");
        list.into_paginator().page_size(size).send()
    };
    for size in [1, 2, 1000] {
        for (prefix, keys, directories) in
            [("", vec!["a", "d"], vec!["b/", "c/"]), ("b/", vec!["b/1"], vec!["b/2/"]), ("none/", vec![], vec![])]
        {
            let (mut found, mut within) = (Vec::new(), BTreeSet::new());
            let mut pages = list(prefix, size);
            while let Some(page) = pages.try_next().await.unwrap() {
                found.extend(page.contents().iter().map(|one| one.key().unwrap().to_owned()));
                within.extend(page.common_prefixes().iter().map(|one| one.prefix().unwrap().to_owned()));
            }
            assert_eq!((found, within), (to_owned(keys).collect(), to_owned(directories).collect()), "{prefix} {size}");
        }
    }
}

fn to_owned(texts: Vec<&str>) -> impl Iterator<Item = String> {
    texts.into_iter().map(str::to_owned)
}

pub async fn letters_that_xml_would_change(suite: Suite) {
    let key = "a\rb\n\tc +&<>'\"";
    suite.put(key, "x").await;
    let list = || suite.client.list_objects_v2().bucket(&suite.bucket);
    assert_eq!(list().send().await.unwrap().contents()[0].key(), Some(key));
    let found = list().encoding_type(EncodingType::Url).send().await.unwrap();
    assert_eq!(found.encoding_type(), Some(&EncodingType::Url));
    let name = found.contents()[0].key().unwrap();
    assert!(name.starts_with("a%0Db%0A%09c") && name.contains("%2B%26%3C%3E"), "{name}");
    let versions = suite.client.list_object_versions().bucket(&suite.bucket).send().await.unwrap();
    assert_eq!(versions.versions()[0].key(), Some(key));
}
