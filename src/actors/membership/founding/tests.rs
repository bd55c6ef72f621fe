//! Tests of the decision on a round of answers, and of what is derived from an agreement.

use super::{Agreement, FoundingAnswer, FoundingError, Hosts, Round, judge, reasons};
use crate::storage::identity::Founder;
use crate::types::{ClusterId, HostId, NodeId};
use std::collections::BTreeMap;

fn founder(name: &str, host: u64) -> Founder {
    Founder {
        name: name.to_owned(),
        host: HostId(host),
        address: format!("{name}:9100"),
        drives: 2,
        geometry: None,
        root_key: None,
    }
}

fn hosts(names: &[&str]) -> Hosts {
    names.iter().map(|name| ((*name).to_owned(), format!("{name}:9100"))).collect()
}

/// The answer of a host that was given the hosts a, b and c.
fn gathering(own: &Founder, sees: &[&Founder]) -> Result<FoundingAnswer, String> {
    gathering_of(own, hosts(&["a", "b", "c"]), sees)
}

fn gathering_of(own: &Founder, hosts: Hosts, sees: &[&Founder]) -> Result<FoundingAnswer, String> {
    let sees = sees.iter().map(|&founder| founder.clone()).collect();
    Ok(FoundingAnswer::Gathering { own: own.clone(), hosts, sees })
}

fn judged(own: &Founder, answers: &[(&str, Result<FoundingAnswer, String>)]) -> Round {
    let answers = answers.iter().map(|(name, answer)| ((*name).to_owned(), answer.clone()));
    judge(own, &hosts(&["a", "b", "c"]), &answers.collect()).expect("judged")
}

/// Returns the differing settings, if they prevent an agreement.
fn differing(round: Round) -> Vec<String> {
    match round {
        Round::Wait { differing, .. } => differing,
        agreed => panic!("{agreed:?}"),
    }
}

#[test]
fn founders_agree_only_once_all_of_them_hear_the_same_hosts() {
    let (a, b, c) = (founder("a", 1), founder("b", 2), founder("c", 3));
    let all = [&a, &b, &c];
    let alone = judged(&a, &[("b", Err("nobody there".into())), ("c", gathering(&c, &[&c]))]);
    let (sees, missing) = (vec![a.clone(), c.clone()], vec!["b (nobody there)".into()]);
    assert_eq!(alone, Round::Wait { sees, missing, differing: Vec::new() });
    let half = judged(&a, &[("b", gathering(&b, &all)), ("c", gathering(&c, &[&b, &c]))]);
    assert!(matches!(half, Round::Wait { sees, .. } if sees.len() == 3));
    let whole = judged(&a, &[("b", gathering(&b, &all)), ("c", gathering(&c, &all))]);
    assert_eq!(whole, Round::Agreed(all.map(Clone::clone).to_vec()));
    let reborn = founder("b", 22);
    let stale = judged(&a, &[("b", gathering(&reborn, &[&a, &reborn, &c])), ("c", gathering(&c, &all))]);
    assert!(matches!(stale, Round::Wait { .. }), "c has heard another b");
}

#[test]
fn founders_with_different_lists_of_hosts_do_not_agree() {
    let (a, b) = (founder("a", 1), founder("b", 2));
    let few = hosts(&["a", "b"]);
    // b has the shorter list: every host on it answers, and a hears the same hosts.
    let answers = BTreeMap::from([("a".to_owned(), gathering(&a, &[&a, &b]))]);
    let words = differing(judge(&b, &few, &answers).expect("judged"));
    assert_eq!(words, ["a was given another SHERD_HOSTS (c=c:9100 is only there)"]);
    let words = differing(judged(&a, &[("b", gathering_of(&b, few, &[&a, &b])), ("c", Err("not yet".into()))]));
    assert_eq!(words, ["b was given another SHERD_HOSTS (c=c:9100 is only here)"]);
    let mut moved = hosts(&["a", "b", "c"]);
    moved.insert("c".to_owned(), "d:9100".to_owned());
    let words = differing(judged(&a, &[("b", gathering_of(&b, moved, &[&a, &b]))]));
    assert_eq!(words, ["b was given another SHERD_HOSTS (c is at d:9100 there, at c:9100 here)"]);
}

#[test]
fn founders_with_different_geometries_or_root_keys_do_not_agree() {
    let (a, c) = (founder("a", 1), founder("c", 3));
    let b = Founder { geometry: Some((2, 1)), ..founder("b", 2) };
    let all = [&a, &b, &c];
    let words = differing(judged(&a, &[("b", gathering(&b, &all)), ("c", gathering(&c, &all))]));
    assert_eq!(words, ["b was given another SHERD_EC (2+1 there, auto here)"]);
    assert_eq!(
        reasons(&["c (not yet)".to_owned()], &words),
        [
            "no cluster is founded with these settings: b was given another SHERD_EC (2+1 there, auto here)",
            "waiting for the founding host c (not yet)"
        ]
    );
    let key = |id: &str| Some(id.to_owned());
    let (a, b) = (Founder { root_key: key("01"), ..a }, Founder { root_key: key("02"), ..b });
    let all = [&a, &b, &c];
    let words = differing(judged(&a, &[("b", gathering(&b, &all)), ("c", gathering(&c, &all))]));
    assert_eq!(
        words,
        [
            "b was given another SHERD_EC (2+1 there, auto here) and another SHERD_ROOT_KEY_FILE \
             (the key of id 02 there, the key of id 01 here)",
            "c was given another SHERD_ROOT_KEY_FILE (no key there, the key of id 01 here)"
        ]
    );
}

#[test]
fn founders_refuse_parity_that_does_not_survive_the_loss_of_a_drive() {
    let of = |name, host| Founder { drives: 1, geometry: Some((4, 2)), ..founder(name, host) };
    let (a, b) = (of("a", 1), of("b", 2));
    let answers = BTreeMap::from([("b".to_owned(), gathering_of(&b, hosts(&["a", "b"]), &[&a, &b]))]);
    let words = differing(judge(&a, &hosts(&["a", "b"]), &answers).expect("judged"));
    assert!(words[0].starts_with("SHERD_EC: 4+2 on 2 drives puts 3 shards"), "{words:?}");
    let none = |founder: Founder| Founder { geometry: Some((2, 0)), ..founder };
    let (a, b) = (none(a), none(b));
    let answers = BTreeMap::from([("b".to_owned(), gathering_of(&b, hosts(&["a", "b"]), &[&a, &b]))]);
    let judged = judge(&a, &hosts(&["a", "b"]), &answers).expect("judged");
    assert_eq!(judged, Round::Agreed(vec![a, b]), "zero parity shards were configured explicitly");
}

#[test]
fn founders_adopt_an_agreement_and_other_hosts_join_the_cluster() {
    let a = founder("a", 1);
    let list = vec![a.clone(), founder("b", 2), founder("c", 3)];
    let answers = [("b", Ok(FoundingAnswer::Agreed(list.clone()))), ("c", Err("not yet".into()))];
    assert_eq!(judged(&a, &answers), Round::Agreed(list.clone()));
    assert_eq!(judged(&founder("a", 11), &answers), Round::Exists);
    assert_eq!(judged(&a, &[("b", Ok(FoundingAnswer::Formed(ClusterId(5))))]), Round::Exists);
}

#[test]
fn a_founder_whose_settings_changed_after_the_agreement_is_refused() {
    let a = founder("a", 1);
    let list = vec![a.clone(), founder("b", 2), founder("c", 3)];
    let answers = BTreeMap::from([("b".to_owned(), Ok(FoundingAnswer::Agreed(list)))]);
    let changed = [Founder { drives: 3, ..a.clone() }, Founder { root_key: Some("01".to_owned()), ..a.clone() }];
    for now in changed {
        let judged = judge(&now, &hosts(&["a", "b", "c"]), &answers);
        assert!(matches!(judged, Err(FoundingError::NotTheSame { .. })), "{judged:?}");
    }
}

#[test]
fn a_host_that_answers_under_another_name_prevents_an_agreement() {
    let (a, b) = (founder("a", 1), founder("b", 2));
    let words = differing(judged(&a, &[("c", gathering(&b, &[&a, &b]))]));
    assert!(words[0].contains("calls itself \"b\""), "{words:?}");
}

#[test]
fn an_agreement_determines_the_cluster_id_and_all_node_ids() {
    let agreement = Agreement(vec![founder("a", 1), founder("b", 2), founder("c", 3)]);
    assert_eq!(agreement.cluster(), agreement.clone().cluster());
    assert_ne!(agreement.cluster(), Agreement(vec![founder("a", 1), founder("b", 2)]).cluster());
    assert_eq!(agreement.first_node(HostId(3)), Some(NodeId(128)));
    assert_eq!(agreement.first_node(HostId(9)), None);
    let records = agreement.records();
    let known: Vec<_> = records.iter().map(|host| (host.name.as_str(), host.id.0, host.first_node)).collect();
    assert_eq!(known, [("a", 1, Some(NodeId(0))), ("b", 2, Some(NodeId(64))), ("c", 3, Some(NodeId(128)))]);
}
