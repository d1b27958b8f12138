//! Every attribute of `#[behavior]`, on a running node.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use noex_actors::{
    CallError, Caller, Context, Delivery, ExitReason, Info, Monitor, Node, RemoteBehavior, SpawnOptions,
    StartError, behavior,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[derive(Debug, thiserror::Error)]
#[error("{0} is too much")]
struct TooMuch(i64);

/// With a wire name; its state is not `Send`.
struct Counter {
    value: Rc<Cell<i64>>,
    waiting: Vec<Caller<i64>>,
}

#[behavior(name = "test.counter")]
impl Counter {
    #[init]
    fn new(start: i64) -> Result<Self, ExitReason> {
        if start < 0 {
            return Err(ExitReason::error("negative"));
        }
        Ok(Self { value: Rc::new(Cell::new(start)), waiting: Vec::new() })
    }

    /// The value.
    #[call]
    fn get(&self) -> i64 {
        self.value.get()
    }

    #[call]
    async fn add(&mut self, by: i64, cx: &mut Context<Self>) -> i64 {
        let value = Rc::clone(&self.value);
        tokio::task::yield_now().await;
        value.set(value.get() + by);
        assert_eq!(cx.pid(), cx.me().pid());
        value.get()
    }

    /// An error of the application is a reply.
    #[call]
    fn checked_add(&mut self, by: i64) -> Result<i64, String> {
        let value = self.value.get().checked_add(by).ok_or("overflow")?;
        self.value.set(value);
        Ok(value)
    }

    /// Answered by the next `set`. The argument is named like what a handler has of its own.
    #[call]
    fn next(&mut self, from: Caller<i64>, cx: Option<u8>) {
        assert_eq!(cx, Some(7));
        self.waiting.push(from);
    }

    #[call]
    fn forget(&mut self, from: Caller<()>) {
        drop(from);
    }

    #[cast]
    fn set(&mut self, value: i64) -> Result<(), TooMuch> {
        if value > 100 {
            return Err(TooMuch(value));
        }
        self.value.set(value);
        self.waiting.drain(..).for_each(|caller| caller.reply(value));
        Ok(())
    }

    #[cast]
    async fn quit(&self, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let _ = cx;
        Err(ExitReason::Shutdown)
    }

    #[cast]
    fn reset(&mut self) {
        self.double();
        self.value.set(0);
    }

    /// Without an attribute: an ordinary method.
    fn double(&self) {
        self.value.set(self.value.get() * 2);
    }
}

/// A message that is neither `Clone` nor `Debug` nor known to serde.
struct Entry(String);

enum Note {
    Opened,
    Ticked(u8),
}

/// Local only; tells the test what happens to it.
struct Diary {
    entries: Rc<RefCell<Vec<String>>>,
    told: UnboundedSender<String>,
}

#[behavior]
impl Diary {
    #[options]
    fn defaults() -> SpawnOptions {
        SpawnOptions::new().name("diary")
    }

    #[init]
    async fn open(
        told: UnboundedSender<String>,
        cx: &mut Context<Self>,
        first: Entry,
    ) -> Result<Self, ExitReason> {
        tokio::task::yield_now().await;
        cx.continue_with(Note::Opened);
        Ok(Self { entries: Rc::new(RefCell::new(vec![first.0])), told })
    }

    #[call]
    fn write(&mut self, entry: Entry) -> usize {
        self.entries.borrow_mut().push(entry.0);
        self.entries.borrow().len()
    }

    #[call]
    fn read(&self, at: usize) -> Option<Entry> {
        self.entries.borrow().get(at).cloned().map(Entry)
    }

    #[cast]
    fn tick(&self, cx: &mut Context<Self>, n: u8) {
        cx.notify(Note::Ticked(n));
    }

    #[info]
    async fn info(&mut self, cx: &mut Context<Self>, info: Info<Note>) -> Result<(), ExitReason> {
        match info {
            Info::User(Note::Ticked(0)) => Err(ExitReason::error("zero")),
            Info::User(Note::Ticked(n)) => {
                cx.continue_with(Note::Opened);
                self.tell(format!("ticked {n}"))
            }
            _ => self.tell("other"),
        }
    }

    #[continued]
    fn after(&mut self, next: Note) -> Result<(), ExitReason> {
        match next {
            Note::Opened => self.tell(format!("opened with {}", self.entries.borrow().len())),
            Note::Ticked(_) => Err(ExitReason::error("not continued with that")),
        }
    }

    #[terminate]
    async fn close(&mut self, reason: &ExitReason) {
        tokio::task::yield_now().await;
        let _ = self.tell(format!("closed: {reason}"));
    }

    fn tell(&self, text: impl Into<String>) -> Result<(), ExitReason> {
        Ok(self.told.send(text.into())?)
    }
}

/// Nothing but a state.
#[derive(Debug)]
struct Silent;

#[behavior(name = "test.silent")]
impl Silent {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Self)
    }
}

/// Its stubs have names that `Ref` does not promise: helpers of noex must not get in their way.
struct Store;

#[behavior]
impl Store {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Store)
    }
    #[call]
    fn watch(&self, key: u8) -> u8 {
        key
    }
    #[call]
    fn raw(&self) -> u8 {
        0
    }
    #[call]
    fn node(&self) -> String {
        String::new()
    }
    #[call]
    fn name(&self, of: u8) -> u8 {
        of
    }
    #[cast]
    fn send(&mut self, text: String) {
        drop(text);
    }
    #[cast]
    fn info(&mut self) {}
    #[cast]
    fn new_client(&mut self) {}
}

async fn heard(told: &mut UnboundedReceiver<String>) -> String {
    tokio::time::timeout(Duration::from_secs(5), told.recv()).await.expect("in time").expect("still open")
}

async fn ended(down: Monitor) -> ExitReason {
    tokio::time::timeout(Duration::from_secs(5), down).await.expect("in time").reason
}

#[actix_rt::test]
async fn stubs_call_and_cast_in_order() {
    let node = Node::start().await.unwrap();
    let counter = node.spawn::<Counter>(5).await.unwrap();
    assert_eq!(counter.get().await.unwrap(), 5);
    counter.set(10).unwrap();
    assert_eq!(counter.add(2).await.unwrap(), 12);
    assert_eq!(counter.add(1).timeout(Duration::from_secs(1)).await.unwrap(), 13);
    counter.reset().unwrap();
    assert_eq!(counter.get().await.unwrap(), 0);
    node.stop().await;
}

#[actix_rt::test]
async fn an_error_of_the_application_is_a_reply() {
    let node = Node::start().await.unwrap();
    let counter = node.spawn::<Counter>(1).await.unwrap();
    assert_eq!(counter.checked_add(i64::MAX).await.unwrap(), Err("overflow".to_owned()));
    assert_eq!(counter.checked_add(1).await.unwrap(), Ok(2));
    node.stop().await;
}

#[actix_rt::test]
async fn a_deferred_reply_comes_from_a_later_message() {
    let node = Node::start().await.unwrap();
    let counter = node.spawn::<Counter>(0).await.unwrap();
    let set_when_both_wait = async {
        // A call is sent at its first poll: this future is polled after both of them.
        counter.set(3).unwrap();
    };
    let (first, second, ()) =
        tokio::join!(biased; counter.next(Some(7)), counter.next(Some(7)), set_when_both_wait);
    assert_eq!((first.unwrap(), second.unwrap()), (3, 3));
    node.stop().await;
}

#[actix_rt::test]
async fn a_forgotten_caller_fails_its_call() {
    let node = Node::start().await.unwrap();
    let counter = node.spawn::<Counter>(0).await.unwrap();
    let error = counter.forget().await.unwrap_err();
    assert!(matches!(error, CallError::NoReply(_)), "{error:?}");
    assert_eq!(error.delivery(), Delivery::Done);
    node.stop().await;
}

#[actix_rt::test]
async fn an_error_of_a_cast_stops_the_process_with_its_text() {
    let node = Node::start().await.unwrap();
    let counter = node.spawn::<Counter>(0).await.unwrap();
    let down = counter.monitor();
    counter.set(101).unwrap();
    assert_eq!(ended(down).await, ExitReason::Error("101 is too much".into()));

    let counter = node.spawn::<Counter>(0).await.unwrap();
    let down = counter.monitor();
    counter.quit().unwrap();
    assert_eq!(ended(down).await, ExitReason::Shutdown);
    node.stop().await;
}

#[actix_rt::test]
async fn an_error_of_init_is_the_error_of_the_spawn() {
    let node = Node::start().await.unwrap();
    let error = node.spawn::<Counter>(-1).await.unwrap_err();
    assert!(matches!(&error, StartError::Init(ExitReason::Error(text)) if text == "negative"), "{error:?}");
    node.stop().await;
}

#[actix_rt::test]
async fn info_continue_terminate_and_options_reach_their_methods() {
    let node = Node::start().await.unwrap();
    let (told, mut telling) = unbounded_channel();
    node.spawn::<Diary>((told, Entry("one".into()))).await.unwrap();
    let diary = node.whereis::<Diary>("diary").expect("the name comes from #[options]");
    assert_eq!(heard(&mut telling).await, "opened with 1");
    assert_eq!(diary.write(Entry("two".into())).await.unwrap(), 2);
    assert_eq!(diary.read(1).await.unwrap().map(|entry| entry.0).as_deref(), Some("two"));
    assert!(diary.read(2).await.unwrap().is_none());
    diary.tick(4).unwrap();
    assert_eq!(heard(&mut telling).await, "ticked 4");
    assert_eq!(heard(&mut telling).await, "opened with 2");
    let down = diary.monitor();
    diary.tick(0).unwrap();
    assert_eq!(heard(&mut telling).await, "closed: error: zero");
    assert_eq!(ended(down).await, ExitReason::Error("zero".into()));
    node.stop().await;
}

#[actix_rt::test]
async fn a_behavior_without_messages_runs() {
    let node = Node::start().await.unwrap();
    let silent = node.spawn::<Silent>(()).await.unwrap();
    assert!(silent.is_alive().await.unwrap());
    silent.stop(ExitReason::Normal).await.unwrap();
    assert!(!silent.is_alive().await.unwrap());
    node.stop().await;
}

#[actix_rt::test]
async fn names_that_a_ref_does_not_promise_are_free_for_stubs() {
    let node = Node::start().await.unwrap();
    let store = node.spawn::<Store>(()).await.unwrap();
    assert_eq!(store.watch(1).await.unwrap(), 1);
    assert_eq!(store.raw().await.unwrap(), 0);
    assert_eq!(store.node().await.unwrap(), "");
    assert_eq!(store.name(2).await.unwrap(), 2);
    store.send("x".into()).unwrap();
    store.info().unwrap();
    store.new_client().unwrap();
    node.stop().await;
}

#[test]
fn messages_with_a_wire_name_are_variants_by_name() {
    assert_eq!((Counter::NAME, Silent::NAME), ("test.counter", "test.silent"));
    let json = |value: serde_json::Result<String>| value.unwrap();
    assert_eq!(json(serde_json::to_string(&CounterCall::Add { by: 2 })), r#"{"Add":{"by":2}}"#);
    assert_eq!(json(serde_json::to_string(&CounterCall::Get)), r#""Get""#);
    assert_eq!(json(serde_json::to_string(&CounterReply::Get(3))), r#"{"Get":3}"#);
    let cast: CounterCast = serde_json::from_str(r#"{"Set":{"value":9}}"#).unwrap();
    assert!(matches!(cast, CounterCast::Set { value: 9 }));
    assert!(serde_json::from_str::<SilentCall>(r#""Get""#).is_err());
}

#[test]
fn debug_prints_the_variant_and_nothing_of_its_content() {
    assert_eq!(format!("{:?}", DiaryCall::Write { entry: Entry("secret".into()) }), "Write");
    assert_eq!(format!("{:?}", DiaryReply::Read(Some(Entry("secret".into())))), "Read");
    assert_eq!(format!("{:?}", DiaryCast::Tick { n: 1 }), "Tick");
}
