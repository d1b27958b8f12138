//! What two nodes agree upon in the handshake: how batches are tagged.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use noex_net::{Cluster, RefusedReason, TagAlgorithm};
use support::{Res, config, id, start, stop_all, until};

const SECRET: &str = "a secret of the tests";

fn tag(of: &Cluster, to: &Cluster) -> Option<TagAlgorithm> {
    of.peer_stats(&id(to)).and_then(|stats| stats.tag)
}

#[actix_rt::test]
async fn a_node_that_knows_one_tag_meets_one_that_knows_several_whoever_dials() -> Res {
    use TagAlgorithm::{Aes256Gcm, Blake3, HmacSha256};
    for (dialled, dialling, expected) in [
        (&[Blake3, HmacSha256][..], &[Blake3, HmacSha256][..], Blake3),
        (&[HmacSha256], &[Blake3, HmacSha256], HmacSha256),
        (&[Blake3, HmacSha256], &[HmacSha256], HmacSha256),
        (&[HmacSha256, Blake3], &[Blake3, HmacSha256], HmacSha256),
        (&[Aes256Gcm, Blake3], &[Blake3, Aes256Gcm], Aes256Gcm),
        (&[HmacSha256, Blake3], &[Aes256Gcm, Blake3], Blake3),
    ] {
        let with = |name, tags: &[TagAlgorithm]| config(name).secret(SECRET).tags(tags.iter().copied());
        let a = start(with("a", dialled)).await?;
        let b = start(with("b", dialling).seed(a.local_node_id())).await?;
        until(10, "they meet", || a.is_node_connected(&id(&b)) && b.is_node_connected(&id(&a))).await;
        assert_eq!((tag(&a, &b), tag(&b, &a)), (Some(expected), Some(expected)));
        stop_all(&[a, b]).await;
    }
    Ok(())
}

#[actix_rt::test]
async fn nodes_without_a_tag_in_common_refuse_each_other() -> Res {
    let a = start(config("a").secret(SECRET).tags([TagAlgorithm::HmacSha256])).await?;
    let tags = [TagAlgorithm::Blake3];
    let b = start(config("b").secret(SECRET).tags(tags).seed(a.local_node_id())).await?;
    let refused = |node: &Cluster| node.stats().refused_total.get(&RefusedReason::Version).copied();
    for node in [&a, &b] {
        until(10, "it is counted", || refused(node) > Some(0)).await;
        assert_eq!(node.connected_node_count(), 0);
    }
    stop_all(&[a, b]).await;
    Ok(())
}
