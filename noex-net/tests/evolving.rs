//! Nodes of different versions: what was added is understood both ways, what does not fit is refused before it is sent.

#![allow(clippy::panic, clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod support;

use noex_actors::{CallError, CastError, Delivery, Ref, SpawnError, schema::Schema};
use noex_net::{Cluster, ClusterConfigBuilder};
use support::{
    Res, config, id,
    raw::{RawPeer, control},
    start, stop_all, until, within,
};

/// The first version.
mod old {
    use noex_actors::{ExitReason, behavior};
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Order {
        pub item: String,
        pub count: u32,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub enum Said {
        Taken,
        Missing(String),
    }

    pub struct Shop(pub Vec<String>);

    #[behavior(name = "shop")]
    impl Shop {
        #[init]
        fn new(first: u32) -> Result<Self, ExitReason> {
            Ok(Shop(vec![first.to_string()]))
        }
        #[call]
        fn order(&mut self, order: Order) -> Said {
            self.0.push(format!("{} {}", order.count, order.item));
            if order.count == 0 { Said::Missing(order.item) } else { Said::Taken }
        }
        #[call]
        fn all(&self) -> Vec<String> {
            self.0.clone()
        }
        #[cast]
        fn note(&mut self, order: Order) {
            self.0.push(format!("note {}", order.item));
        }
    }
}

/// The next version: a field with a default, a variant and a method more, a wider number where it is read.
mod new {
    use noex_actors::{ExitReason, behavior};
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Order {
        pub item: String,
        pub count: u32,
        #[serde(default)]
        pub gift: Option<String>,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub enum Said {
        Taken,
        Missing(String),
        Later { days: u8 },
    }

    pub struct Shop(pub Vec<String>);

    #[behavior(name = "shop")]
    impl Shop {
        #[init]
        fn new(first: u32) -> Result<Self, ExitReason> {
            Ok(Shop(vec![first.to_string()]))
        }
        #[call]
        fn order(&mut self, order: Order) -> Said {
            self.0.push(format!("{} {} {:?}", order.count, order.item, order.gift));
            if order.count > 1000 { Said::Later { days: 3 } } else { Said::Taken }
        }
        #[call]
        fn all(&self) -> Vec<String> {
            self.0.clone()
        }
        #[call]
        fn close(&mut self, until: Option<u64>) -> bool {
            until.is_some()
        }
        #[cast]
        fn note(&mut self, order: Order) {
            self.0.push(format!("note {} {:?}", order.item, order.gift));
        }
    }
}

/// Another behavior under the same name.
mod other {
    use noex_actors::{ExitReason, behavior};

    pub struct Shop;

    #[behavior(name = "shop")]
    impl Shop {
        #[init]
        fn new(first: String) -> Result<Self, ExitReason> {
            drop(first);
            Ok(Shop)
        }
        #[call]
        fn order(&mut self, order: u64) -> u64 {
            order
        }
        #[cast]
        fn note(&mut self, order: super::old::Order) {
            drop(order);
        }
    }
}

async fn with(
    config: ClusterConfigBuilder,
    register: impl FnOnce(&Cluster) -> Result<(), noex_actors::DuplicateBehavior>,
) -> Res<Cluster> {
    let node = start(config).await?;
    register(&node)?;
    Ok(node)
}

async fn meet(a: &Cluster, b: &Cluster) {
    let know =
        || b.peer_has_behavior(a.local_node_id(), "shop") && a.peer_has_behavior(b.local_node_id(), "shop");
    until(10, "each knows the other's shop", know).await;
}

#[actix_rt::test]
async fn what_was_added_is_understood_between_old_and_new_both_ways() -> Res {
    let a = with(config("a"), |a| a.behaviors().register::<old::Shop>()).await?;
    let b = with(config("b").seed(a.local_node_id()), |b| b.behaviors().register::<new::Shop>()).await?;
    meet(&a, &b).await;

    // New to old: the field that is not known there is passed over.
    let there: Ref<new::Shop> = b.spawn_on::<new::Shop>(&id(&a), 1).await?;
    let order = |count| new::Order { item: "tea".to_owned(), count, gift: Some("ann".to_owned()) };
    assert_eq!(there.order(order(2)).await?, new::Said::Taken);
    assert_eq!(there.order(order(0)).await?, new::Said::Missing("tea".to_owned()));
    there.note(order(3))?;
    assert_eq!(there.all().await?, ["1", "2 tea", "0 tea", "note tea"]);
    // A method that is not known there is refused by itself.
    let refused = there.close(Some(5)).await.unwrap_err();
    assert!(matches!(&refused, CallError::Decode(why) if why.to_string().contains("Close")), "{refused}");
    assert_eq!(refused.delivery(), Delivery::Never, "no handler has seen it");
    assert_eq!(there.all().await?.len(), 4, "and nothing else");

    // Old to new: the field has its default.
    let there: Ref<old::Shop> = a.spawn_on::<old::Shop>(&id(&b), 2).await?;
    let order = |count| old::Order { item: "tea".to_owned(), count };
    assert_eq!(there.order(order(4)).await?, old::Said::Taken);
    there.note(order(5))?;
    assert_eq!(there.all().await?, ["2", "4 tea None", "note tea None"]);
    // A reply that is not known here: it ran.
    let unknown = there.order(order(2000)).await.unwrap_err();
    assert!(matches!(&unknown, CallError::Decode(_)), "{unknown}");
    assert_eq!(unknown.delivery(), Delivery::Done);

    assert_eq!((a.stats().incompatible_total, b.stats().incompatible_total), (0, 0));
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn what_does_not_fit_is_refused_by_the_sender_and_counted_and_nothing_else() -> Res {
    let a = with(config("a"), |a| a.behaviors().register::<old::Shop>()).await?;
    let b = with(config("b").seed(a.local_node_id()), |b| b.behaviors().register::<other::Shop>()).await?;
    meet(&a, &b).await;
    let here = b.spawn::<other::Shop>("x".to_owned()).await?;
    let there: Ref<old::Shop> = a.resolve(here.pid());
    let order = || old::Order { item: "tea".to_owned(), count: 1 };
    let says = "call `Order` field `order`: a struct is sent, u64 is expected";
    for _ in 0..2 {
        let refused = there.order(order()).await.unwrap_err();
        let CallError::BehaviorIncompatible(why) = &refused else { panic!("{refused}") };
        assert_eq!((&*why.behavior, &why.node, &*why.difference), ("shop", &id(&b), says));
        assert_eq!(refused.delivery(), Delivery::Never);
        let refused = there.note(order()).unwrap_err();
        assert!(
            matches!(&refused, CastError::BehaviorIncompatible(why) if why.difference == says),
            "{refused}"
        );
    }
    let refused = a.spawn_on::<old::Shop>(&id(&b), 1).await.unwrap_err();
    let SpawnError::Incompatible { reason, .. } = &refused else { panic!("{refused}") };
    assert_eq!(reason, "init: u32 is sent, text is expected");
    // The other way round.
    let shop = a.spawn::<old::Shop>(1).await?;
    let back: Ref<other::Shop> = b.resolve(shop.pid());
    let refused = back.order(1).await.unwrap_err();
    assert!(matches!(&refused, CallError::BehaviorIncompatible(_)), "{refused}");
    assert_eq!((a.stats().incompatible_total, b.stats().incompatible_total), (5, 1));
    // Nothing came, and other behaviors are not concerned.
    assert_eq!(shop.all().await?, ["1"]);
    assert_eq!(a.spawn_on::<support::Box_>(&id(&b), 1).await?.add(1).await?, 2);
    assert!(a.is_node_connected(&id(&b)));
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_peer_may_say_anything_about_its_messages() -> Res {
    let a = with(config("a"), |a| a.behaviors().register::<old::Shop>()).await?;
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    let shop: Ref<old::Shop> =
        a.resolve(&noex_actors::Pid::new("z@127.0.0.1:1".parse()?, noex_actors::Incarnation(1), 7));
    let good = Schema::of::<other::Shop>().to_bytes();
    let long = vec![0xC0; 20_000];
    // Nothing, nonsense, a cut schema, one that is too long: not told.
    for said in [&[][..], &[0xFF; 100], &good[..good.len() - 1], &long] {
        peer.send(&control("Behaviors", &[(5_u32, "shop", serde_bytes::Bytes::new(said))])).await?;
        peer.settled().await?;
        let order = old::Order { item: "tea".to_owned(), count: 1 };
        shop.note(order).unwrap();
        // Another reference asks anew.
    }
    peer.send(&control("Behaviors", &[(5_u32, "shop", serde_bytes::Bytes::new(&good))])).await?;
    peer.settled().await?;
    let again: Ref<old::Shop> = a.resolve(shop.pid());
    let refused = again.note(old::Order { item: "tea".to_owned(), count: 1 }).unwrap_err();
    assert!(matches!(refused, CastError::BehaviorIncompatible(_)), "{refused}");
    // A version that tells nothing, as before there were schemas.
    peer.send(&control("Behaviors", &[(5_u32, "shop")])).await?;
    peer.settled().await?;
    let again: Ref<old::Shop> = a.resolve(shop.pid());
    again.note(old::Order { item: "tea".to_owned(), count: 1 })?;
    within(10, "it stops", a.stop()).await;
    Ok(())
}
