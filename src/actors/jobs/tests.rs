//! Tests of questions and orders about jobs, over a simulated transport.

use super::messages::{JOBS_GROUP, KIND};
use super::{AllJobs, Ask, JobAnswer, JobService, LateJobs, OwnJobs};
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::{DriveList, drive_of_test};
use crate::actors::healer::{HealerHandle, ScrubHandle};
use crate::actors::membership::LateNodeService;
use crate::actors::mover::MoverHandle;
use crate::actors::peers::ConnectionPool;
use crate::actors::request::test_hosts::{HostState, Hosts};
use crate::actors::traffic::Traffic;
use crate::ambient::Ambient;
use crate::limits::JOBS_PATIENCE;
use crate::net::{GroupCall, GroupService, NoGroups, PeerError, decode_body, encode_body};
use crate::types::{HostId, NodeId};
use std::collections::BTreeSet;
use std::sync::Arc;

fn jobs(nodes: &[u32]) -> OwnJobs {
    let nodes = || nodes.iter().copied().map(NodeId);
    OwnJobs {
        health: HealthBoard::new(nodes()),
        own: DriveList::of_nodes(nodes()),
        stores: true,
        healing: HealerHandle::default(),
        scrub: ScrubHandle::default(),
        moving: MoverHandle::default(),
        traffic: Traffic::new(1, Ambient::system().clock),
    }
}

fn nodes(nodes: &[u32]) -> JobAnswer {
    JobAnswer::Nodes(nodes.iter().copied().map(NodeId).collect())
}

#[test]
fn heal_and_scrub_orders_skip_drives_that_are_removed_or_out_of_service() {
    let own = jobs(&[0, 1]);
    assert_eq!(own.answer(Ask::StartHeal), nodes(&[0, 1]));
    assert_eq!(own.healing.status().comparing, [NodeId(0), NodeId(1)]);
    own.health.take_out(NodeId(1), "it is gone");
    assert_eq!(own.answer(Ask::StartScrub { node: None }), nodes(&[0]));
    for node in [1, 9] {
        let refused = own.answer(Ask::StartScrub { node: Some(NodeId(node)) });
        assert!(matches!(refused, JobAnswer::Refused(_)), "{refused:?}");
    }
    own.health.dismiss(NodeId(1));
    assert_eq!(own.answer(Ask::StartHeal), nodes(&[0]), "drive 1 was removed");
    let none = OwnJobs { stores: false, ..jobs(&[0]) };
    assert!(matches!(none.answer(Ask::StartHeal), JobAnswer::Refused(_)));
    assert_eq!(none.healing.status().comparing, []);
}

#[test]
fn orders_reach_drives_that_were_added() {
    let own = jobs(&[0]);
    assert!(matches!(own.answer(Ask::StartScrub { node: Some(NodeId(1)) }), JobAnswer::Refused(_)));
    own.own.put(drive_of_test(NodeId(1)));
    assert_eq!(own.answer(Ask::StartScrub { node: Some(NodeId(1)) }), nodes(&[1]));
    assert_eq!(own.answer(Ask::StartHeal), nodes(&[0, 1]));
    assert_eq!(own.answer(Ask::StopScrub { node: None }), nodes(&[1]));
}

#[test]
fn stop_scrub_cancels_a_pass_that_has_not_begun() {
    let own = jobs(&[0, 1]);
    own.answer(Ask::StartScrub { node: Some(NodeId(1)) });
    assert_eq!(own.scrub.wanted(), BTreeSet::from([NodeId(1)]));
    assert_eq!(own.answer(Ask::StopScrub { node: None }), nodes(&[1]), "only drive 1 had a pass to end");
    assert_eq!(own.scrub.wanted(), BTreeSet::new());
    assert!(matches!(own.answer(Ask::StopScrub { node: Some(NodeId(9)) }), JobAnswer::Refused(_)));
}

/// Returns the group service of a host with these jobs; `None` is a host that is still starting.
fn service(jobs: Option<OwnJobs>) -> Arc<JobService> {
    let late = LateJobs::default();
    if let Some(jobs) = jobs {
        late.answer_by(jobs);
    }
    Arc::new(JobService { jobs: late, groups: Arc::new(NoGroups) })
}

#[actix::test]
async fn a_silent_host_does_not_delay_the_job_answers_of_other_hosts() {
    let [own, other, starting, dead, frozen] = [1, 2, 3, 4, 5].map(HostId);
    let hosts = Arc::new(Hosts::default());
    let theirs = jobs(&[64]);
    for (host, jobs) in [(other, Some(theirs.clone())), (starting, None), (dead, None), (frozen, None)] {
        hosts.add(host, Arc::new(LateNodeService::default()), service(jobs));
    }
    hosts.set(dead, HostState::Dead);
    hosts.set(frozen, HostState::Frozen);
    let peers = ConnectionPool::start_with(hosts.clone(), &Ambient::system());
    let all = AllJobs { host: own, own: jobs(&[0]), others: Arc::new(peers) };
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let answers = all.ask([own, other, starting, dead, frozen], Ask::StartHeal).await;
    assert!(began.elapsed() <= 2 * JOBS_PATIENCE, "{:?}", began.elapsed());
    let answer: Vec<_> = answers.iter().map(|answered| answered.answer.as_ref()).collect();
    assert_eq!(answers.iter().map(|answered| answered.host.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!((answer[0], answer[1]), (Ok(&nodes(&[0])), Ok(&nodes(&[64]))));
    assert_eq!(theirs.healing.status().comparing, [NodeId(64)]);
    assert!(answer[2].is_err_and(|why| why.contains("starting")), "{answer:?}");
    assert!(answer[3].is_err() && answer[4].is_err_and(|why| why.contains("did not answer")), "{answer:?}");
}

#[actix::test]
async fn malformed_job_calls_are_refused_and_other_calls_reach_their_groups() {
    let service = service(Some(jobs(&[0])));
    let call = |group, kind, body: &[u8]| GroupCall { group, kind, body: body.to_vec().into() };
    for (kind, body) in [(KIND + 1, &encode_body(&Ask::Status)[..]), (KIND, b""), (KIND, b"\x00\x00"), (KIND, b"\xff")]
    {
        let refused = service.group_call(call(JOBS_GROUP, kind, body)).await;
        assert!(matches!(refused, Err(PeerError::Refused { .. })), "{kind} {body:?}: {refused:?}");
    }
    assert!(service.group_call(call(7, KIND, b"")).await.is_err(), "no group has this number");
    let status = service.group_call(call(JOBS_GROUP, KIND, &encode_body(&Ask::Status))).await.expect("an answer");
    assert_eq!(decode_body::<JobAnswer>(&status).expect("it decodes"), JobAnswer::Status(Box::default()));
}
