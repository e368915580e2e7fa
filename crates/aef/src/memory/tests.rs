use std::sync::atomic::AtomicUsize;

use capif_transport::ManualClock;
use tokio::sync::Notify;

use super::*;

/// Answers with the number of the question, or fails.
#[derive(Default)]
struct Numbers {
    asked: AtomicUsize,
    fails: std::sync::atomic::AtomicBool,
    /// Nothing is told of anybody.
    silent: std::sync::atomic::AtomicBool,
    /// When there, each answer waits for a word.
    word: Option<Notify>,
}

impl Source for Arc<Numbers> {
    type Fact = usize;

    async fn ask(&self, _id: &ApiInvokerId) -> Result<Option<usize>, capif_client::Error> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(word) = &self.word {
            word.notified().await;
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(capif_client::Error::Usage("out of order".to_owned()));
        }
        Ok((!self.silent.load(Ordering::SeqCst)).then_some(number))
    }
}

struct Scene {
    numbers: Arc<Numbers>,
    clock: Arc<ManualClock>,
    memory: Arc<Memory<Arc<Numbers>>>,
}

impl Scene {
    fn new(numbers: Numbers) -> Self {
        let numbers = Arc::new(numbers);
        let clock = Arc::new(ManualClock::new(OffsetDateTime::UNIX_EPOCH));
        let ages = Ages {
            nothing: Duration::seconds(1),
            ..Ages::new(Duration::seconds(60))
        };
        let link = Arc::new(Link::new(clock.clone()));
        let memory = Memory::new(Arc::clone(&numbers), ages, link, clock.clone());
        Self {
            numbers,
            clock,
            memory: Arc::new(memory),
        }
    }

    fn advance(&self, seconds: i64) {
        self.clock.advance(Duration::seconds(seconds));
    }

    async fn of(&self) -> Result<Option<usize>, ()> {
        let known = self.memory.of(&amy()).await;
        known.map(|fact| fact.map(|fact| *fact)).map_err(drop)
    }

    fn questions(&self) -> usize {
        self.numbers.asked.load(Ordering::SeqCst)
    }

    fn fail(&self, fails: bool) {
        self.numbers.fails.store(fails, Ordering::SeqCst);
    }
}

fn amy() -> ApiInvokerId {
    ApiInvokerId::new("amy")
}

#[tokio::test]
async fn an_answer_counts_while_it_is_fresh_and_without_another_until_it_is_stale() {
    let scene = Scene::new(Numbers::default());
    assert_eq!(scene.of().await, Ok(Some(1)));
    scene.advance(29);
    assert_eq!(scene.of().await, Ok(Some(1)));
    scene.advance(1);
    assert_eq!(scene.of().await, Ok(Some(2)));
    scene.fail(true);
    scene.advance(30);
    assert_eq!(scene.of().await, Ok(Some(2)));
    // Nobody waits for a core function that is away.
    let questions = scene.questions();
    assert_eq!(scene.of().await, Ok(Some(2)));
    assert_eq!(scene.questions(), questions);
    scene.advance(30);
    assert_eq!(scene.of().await, Err(()));
    assert_eq!(scene.memory.recall(&amy()), None);
    scene.fail(false);
    assert_eq!(scene.of().await, Ok(Some(scene.questions())));
    // A clock that is put back makes nothing young again.
    scene.advance(-10);
    let questions = scene.questions();
    assert_eq!(scene.of().await, Ok(Some(questions + 1)));
}

#[tokio::test]
async fn that_there_is_nothing_counts_for_a_moment_only_except_for_strangers() {
    let scene = Scene::new(Numbers::default());
    scene.numbers.silent.store(true, Ordering::SeqCst);
    assert_eq!(scene.of().await, Ok(None));
    assert_eq!(scene.of().await, Ok(None));
    assert_eq!(scene.questions(), 1);
    scene.advance(1);
    // Whoever asks without a proof learns nothing from how long it takes.
    scene.memory.prepare(&amy()).await;
    assert_eq!(scene.questions(), 1);
    scene.numbers.silent.store(false, Ordering::SeqCst);
    assert_eq!(scene.of().await, Ok(Some(2)));
    scene.memory.prepare(&amy()).await;
    assert_eq!(scene.questions(), 2);
    scene.advance(30);
    scene.memory.prepare(&amy()).await;
    assert_eq!(scene.questions(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_rests_on_a_later_answer() {
    let scene = Scene::new(Numbers::default());
    assert_eq!(scene.of().await, Ok(Some(1)));
    let passed = std::time::Duration::from_millis(50);
    tokio::time::advance(passed).await;
    let arrived = Instant::now();
    // Many at once share the question.
    let many = (0..100).map(|_| {
        let memory = Arc::clone(&scene.memory);
        tokio::spawn(async move { memory.since(&amy(), arrived).await.unwrap().unwrap() })
    });
    for one in many.collect::<Vec<_>>() {
        assert_eq!(*one.await.unwrap(), 2);
    }
    assert!(arrived.elapsed() >= DOUBT_PAUSE - passed);
    // What was asked after the arrival is good enough.
    let now = Instant::now();
    tokio::time::advance(passed).await;
    assert_eq!(*scene.memory.renewed(&amy()).await.unwrap().unwrap(), 3);
    assert_eq!(*scene.memory.since(&amy(), now).await.unwrap().unwrap(), 3);
    // Of somebody unknown, at once.
    scene.memory.forget_all();
    let now = Instant::now();
    assert_eq!(*scene.memory.since(&amy(), now).await.unwrap().unwrap(), 4);
    assert_eq!(now.elapsed(), std::time::Duration::ZERO);
}

#[tokio::test]
async fn an_answer_that_was_overtaken_by_an_event_is_not_kept() {
    type Forget = fn(&Memory<Arc<Numbers>>);
    let ways: [(Forget, usize); 3] = [
        (|memory| memory.forget(&amy()), 2),
        (Memory::forget_all, 2),
        (|memory| memory.forget(&ApiInvokerId::new("bob")), 1),
    ];
    for (forget, answer) in ways {
        let scene = Scene::new(Numbers {
            word: Some(Notify::new()),
            ..Numbers::default()
        });
        let memory = Arc::clone(&scene.memory);
        let asking = tokio::spawn(async move { memory.of(&amy()).await.unwrap().unwrap() });
        while scene.questions() == 0 {
            tokio::task::yield_now().await;
        }
        forget(&scene.memory);
        let word = scene.numbers.word.as_ref().unwrap();
        word.notify_one();
        while scene.questions() < answer {
            tokio::task::yield_now().await;
        }
        word.notify_one();
        assert_eq!(*asking.await.unwrap(), answer);
        assert!(lock(&scene.memory.asking).is_empty());
    }
}

/// A burst of events costs time, and no call.
#[tokio::test(start_paused = true)]
async fn an_answer_is_asked_for_until_no_event_overtakes_it() {
    for (bursts, told) in [(0, true), (10, true), (1_000, false)] {
        let scene = Scene::new(Numbers {
            word: Some(Notify::new()),
            ..Numbers::default()
        });
        let memory = Arc::clone(&scene.memory);
        let asking = tokio::spawn(async move { memory.of(&amy()).await });
        for number in 1..=bursts + 1 {
            while scene.questions() < number && !asking.is_finished() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            if number <= bursts {
                scene.memory.forget(&amy());
            }
            scene.numbers.word.as_ref().unwrap().notify_one();
        }
        let answer = asking.await.unwrap();
        assert_eq!(answer.ok().flatten().is_some(), told, "{bursts}");
        assert!(scene.questions() < 50, "{}", scene.questions());
    }
}

#[tokio::test]
async fn who_waited_for_a_failure_does_not_ask_again() {
    let scene = Scene::new(Numbers {
        word: Some(Notify::new()),
        ..Numbers::default()
    });
    scene.fail(true);
    let many = (0..10).map(|_| {
        let memory = Arc::clone(&scene.memory);
        tokio::spawn(async move { memory.of(&amy()).await.is_err() })
    });
    let many: Vec<_> = many.collect();
    while lock(&scene.memory.asking)
        .get(&amy())
        .is_none_or(|gate| Arc::strong_count(gate) < 11)
    {
        tokio::task::yield_now().await;
    }
    scene.numbers.word.as_ref().unwrap().notify_one();
    for one in many {
        assert!(one.await.unwrap());
    }
    assert_eq!(scene.questions(), 1);
}
