//! The keys of Method 1, where the listener looks for them during a handshake (TS 33.122 clause 6.5.2.1).
//!
//! An identity names an invoker and one of its keys. What is known of the invoker answers; otherwise the core function is
//! asked, which anybody can bring about by naming somebody: for whoever is not remembered, only so often per address (D-31).
//! Then, and whatever else is wrong, there is no key, and the listener refuses as it refuses a wrong one.

use std::{net::IpAddr, pin::Pin, sync::Arc};

use capif_procedures::aefpsk;
use capif_transport::{Buckets, Psk, PskKeys, SharedClock, neighbourhood};
use tokio::time::Instant;

use crate::{
    contexts::Authorization,
    memory::{Memory, Source},
};

/// Finds keys in what is known of the invokers.
pub(crate) struct ContextKeys<S: Source> {
    contexts: Arc<Memory<S>>,
    questions: Buckets,
    clock: SharedClock,
}

impl<S: Source<Fact = Authorization>> ContextKeys<S> {
    pub(crate) fn new(contexts: Arc<Memory<S>>, questions: Buckets, clock: SharedClock) -> Self {
        Self {
            contexts,
            questions,
            clock,
        }
    }

    async fn find(&self, identity: &str, remote: IpAddr) -> Option<Psk> {
        let arrived = Instant::now();
        let (invoker, number) = aefpsk::invoker_of(identity)?;
        let may_ask = || self.questions.take(&neighbourhood(remote), arrived).is_ok();
        let remembered = self.contexts.recall(&invoker).is_some();
        if !remembered && !may_ask() {
            return None;
        }
        let mut known = self.contexts.of(&invoker).await.ok()?;
        // Perhaps a key of a negotiation that the gateway has not heard of, be it the first one.
        let newest = known.as_ref().and_then(|known| known.newest_key());
        if newest.is_none_or(|newest| number > newest)
            && (remembered || known.is_some())
            && may_ask()
        {
            known = self.contexts.since(&invoker, arrived).await.ok()?;
        }
        let known = known?;
        let key = known.key(identity, self.clock.now())?;
        Some(key.key.clone())
    }
}

impl<S: Source<Fact = Authorization>> PskKeys for ContextKeys<S> {
    fn key<'a>(
        &'a self,
        identity: &'a str,
        remote: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Option<Psk>> + Send + 'a>> {
        Box::pin(self.find(identity, remote))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use capif_spec::common::ApiInvokerId;
    use capif_transport::ManualClock;
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::{
        config::LOOKUPS_PER_SECOND_DEFAULT,
        contexts::{AefPsk, ages},
        link::Link,
    };

    /// The number of each invoker's newest key.
    #[derive(Default)]
    struct Numbers {
        newest: Mutex<HashMap<ApiInvokerId, u64>>,
        questions: AtomicUsize,
    }

    impl Source for Arc<Numbers> {
        type Fact = Authorization;

        async fn ask(
            &self,
            id: &ApiInvokerId,
        ) -> Result<Option<Authorization>, capif_client::Error> {
            self.questions.fetch_add(1, Ordering::SeqCst);
            let newest = self.newest.lock().unwrap().get(id).copied();
            Ok(newest.map(|number| Authorization {
                keys: vec![AefPsk {
                    identity: aefpsk::identity(id, number),
                    key: Psk::new([u8::try_from(number).unwrap(); 32]),
                    expires: OffsetDateTime::UNIX_EPOCH + Duration::hours(1),
                }],
                ..Authorization::default()
            }))
        }
    }

    struct Scene {
        numbers: Arc<Numbers>,
        clock: Arc<ManualClock>,
        keys: ContextKeys<Arc<Numbers>>,
    }

    impl Scene {
        fn new() -> Self {
            let numbers = Arc::new(Numbers::default());
            let clock = Arc::new(ManualClock::new(OffsetDateTime::UNIX_EPOCH));
            let link = Arc::new(Link::new(clock.clone()));
            let ages = ages(Duration::seconds(60));
            let contexts = Memory::new(Arc::clone(&numbers), ages, link, clock.clone());
            Self {
                keys: ContextKeys::new(
                    Arc::new(contexts),
                    Buckets::per_second(LOOKUPS_PER_SECOND_DEFAULT),
                    clock.clone(),
                ),
                numbers,
                clock,
            }
        }

        fn negotiated(&self, invoker: &str, number: u64) {
            let mut newest = self.numbers.newest.lock().unwrap();
            newest.insert(ApiInvokerId::new(invoker), number);
        }

        async fn find(&self, invoker: &str, number: u64, remote: &str) -> Option<u8> {
            let identity = aefpsk::identity(&ApiInvokerId::new(invoker), number);
            let found = self.keys.key(&identity, remote.parse().unwrap()).await;
            found.map(|key| key.expose()[0])
        }

        fn questions(&self) -> usize {
            self.numbers.questions.load(Ordering::SeqCst)
        }
    }

    const HERE: &str = "192.0.2.1";
    const THERE: &str = "192.0.2.2";

    #[tokio::test(start_paused = true)]
    async fn a_key_is_found_while_it_is_good() {
        let scene = Scene::new();
        scene.negotiated("amy", 3);
        assert_eq!(scene.find("amy", 3, HERE).await, Some(3));
        assert_eq!(scene.find("amy", 2, HERE).await, None);
        assert_eq!(scene.questions(), 1);
        // The gateway has not heard of the next one.
        scene.negotiated("amy", 4);
        assert_eq!(scene.find("amy", 4, HERE).await, Some(4));
        assert_eq!(scene.find("amy", 3, HERE).await, None);
        assert_eq!(scene.questions(), 2);
        scene.clock.advance(Duration::hours(1));
        assert_eq!(scene.find("amy", 4, HERE).await, None);
        for identity in [
            "",
            "amy",
            "3GPP-CAPIF.amy",
            "3GPP-CAPIF.amy.04",
            "3GPP-CAPIF..4",
        ] {
            let remote = HERE.parse().unwrap();
            assert!(scene.keys.key(identity, remote).await.is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_key_is_found_although_there_was_none_just_now() {
        let scene = Scene::new();
        assert_eq!(scene.find("amy", 1, THERE).await, None);
        assert_eq!(scene.questions(), 1);
        scene.negotiated("amy", 1);
        assert_eq!(scene.find("amy", 1, HERE).await, Some(1));
        assert_eq!(scene.questions(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_have_so_many_questions_per_address() {
        let scene = Scene::new();
        scene.negotiated("amy", 1);
        scene.negotiated("bob", 1);
        assert_eq!(scene.find("amy", 1, THERE).await, Some(1));
        for number in 0..1000 {
            let nobody = format!("nobody-{number}");
            assert_eq!(scene.find(&nobody, 1, HERE).await, None);
        }
        let most = 4 * LOOKUPS_PER_SECOND_DEFAULT as usize + 1;
        assert_eq!(scene.questions(), most);
        // Who is remembered needs no question; who is not, has to come from elsewhere or later.
        assert_eq!(scene.find("amy", 1, HERE).await, Some(1));
        assert_eq!(scene.find("bob", 1, HERE).await, None);
        assert_eq!(scene.questions(), most);
        assert_eq!(scene.find("bob", 1, THERE).await, Some(1));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        scene.negotiated("cem", 1);
        assert_eq!(scene.find("cem", 1, HERE).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn numbers_that_are_made_up_cost_the_invoker_nothing() {
        let scene = Scene::new();
        scene.negotiated("amy", 1);
        assert_eq!(scene.find("amy", 1, THERE).await, Some(1));
        let many = (2..1000).map(|number| scene.find("amy", number, HERE));
        let found = futures_util::future::join_all(many).await;
        assert!(found.iter().all(Option::is_none));
        // They share the question.
        assert_eq!(scene.questions(), 2);
        assert_eq!(scene.find("amy", 1, THERE).await, Some(1));
        scene.negotiated("amy", 2);
        assert_eq!(scene.find("amy", 2, THERE).await, Some(2));
    }
}
