use std::fs;
use std::time::Duration;

use causerie_inference::scheduler::FinishReason;
use causerie_tests::TempDir;
use causerie_tests::binary::model;

use super::*;
use crate::config::EngineOptions;
use crate::fetch::FetchOptions;
use crate::worker::{Task, TaskEvent, TaskFailure, TaskInput};

/// A cache with models of these names, all of which are the default one's file.
struct Cache(TempDir);

impl Cache {
    fn new(names: &[&str]) -> Cache {
        let cache = Cache(TempDir::new());
        fs::create_dir_all(fetch::models_directory(cache.0.path())).unwrap();
        for name in names {
            let place = cache.path(name);
            fs::hard_link(model(), &place).or_else(|_| fs::copy(model(), &place).map(drop)).unwrap();
        }
        cache
    }

    fn path(&self, name: &str) -> PathBuf {
        fetch::models_directory(self.0.path()).join(format!("{name}.gguf"))
    }

    /// Models of which the chat's is `chat`.
    fn models(&self, executor: &Rc<LocalExecutor<'static>>, chat: &str, on_demand: bool) -> (Models, Worker) {
        let options = WorkerOptions {
            source: ModelSource::File(self.path(chat)),
            fetch: FetchOptions { cache: self.0.path().to_owned(), ..FetchOptions::from_environment(true).unwrap() },
            engine: EngineOptions::default(),
            saved: None,
            load: Arc::default(),
        };
        let (event, events) = smol::channel::bounded(limits::WORKER_EVENTS);
        let worker = Worker::start(options.clone(), event).unwrap();
        let health = Rc::new(Health::new());
        let told = health.clone();
        executor
            .spawn(async move {
                while let Ok(event) = events.recv().await {
                    if let Event::Status(status) = event {
                        told.set_status(status);
                    }
                }
            })
            .detach();
        (Models::new(executor, health, worker.asker(), options, on_demand), worker)
    }
}

fn task(tokens: u32) -> Task {
    Task { input: TaskInput::Text("The sea is".to_owned()), max_tokens: Some(tokens), ..Task::default() }
}

/// The text of an answer, and its end.
async fn answer(asker: &Asker, tokens: u32) -> (String, TaskEvent) {
    let mut answer = asker.ask(task(tokens)).unwrap();
    let mut text = String::new();
    loop {
        match std::future::poll_fn(|context| answer.poll_next(context)).await {
            TaskEvent::Text(more) => text.push_str(&more),
            end @ (TaskEvent::Finished { .. } | TaskEvent::Failed(_)) => return (text, end),
            TaskEvent::Token { .. } | TaskEvent::Embedded { .. } | TaskEvent::Shortened { .. } => {}
        }
    }
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        Timer::after(Duration::from_millis(10)).await;
    }
}

fn run(test: impl AsyncFnOnce(Rc<LocalExecutor<'static>>)) {
    let executor = Rc::new(LocalExecutor::new());
    smol::block_on(executor.run(test(executor.clone())));
}

#[test]
fn models_are_asked_by_name_loaded_and_let_go() {
    let cache = Cache::new(&["one", "two", "three", "four", "five"]);
    run(async |executor| {
        let (models, _worker) = cache.models(&executor, "one", false);
        until("the chat's model is ready", || models.names() == ["one"]).await;
        assert!(models.find("two").is_none(), "nobody has asked for it to be loaded");
        assert_eq!(models.load(models.source("two").unwrap()).unwrap(), "two");
        // It is being loaded; what is asked waits.
        let (text, end) = answer(&models.find("two").unwrap(), 5).await;
        assert!(!text.is_empty() && matches!(end, TaskEvent::Finished { .. }), "{text:?}, {end:?}");
        assert_eq!(models.names(), ["one", "two"]);
        let list = models.list();
        assert_eq!((&list[0]["name"], &list[0]["chat"]), (&json!("one"), &json!(true)));
        assert_eq!((&list[1]["name"], &list[1]["state"]), (&json!("two"), &json!("ready")));
        assert!(list[1]["context"].as_u64() > Some(100) && list[1]["bytes"].as_u64() > Some(1 << 20), "{list}");

        let again = models.load(models.source("two").unwrap()).unwrap_err();
        assert_eq!(again.to_string(), "the model \"two\" is loaded already");
        for name in ["three", "four"] {
            models.load(models.source(name).unwrap()).unwrap();
        }
        let too_many = models.load(models.source("five").unwrap()).unwrap_err();
        assert_eq!(too_many.to_string(), "4 models are loaded, which is the limit; let one go first");
        assert!(matches!(models.unload("one"), Err(ModelError::Chats(_))));
        assert!(matches!(models.unload("nothing"), Err(ModelError::NotLoaded(_))));

        // What is being answered is answered to its end.
        let asker = models.find("two").unwrap();
        let running = executor.spawn(async move { answer(&asker, 40).await });
        until("the answer runs", || models.find("two").is_some_and(|asker| asker.tasks() > 0)).await;
        models.unload("two").unwrap();
        assert!(models.find("two").is_none());
        let (_, end) = running.await;
        assert!(
            matches!(end, TaskEvent::Finished { reason: FinishReason::Length | FinishReason::Stop, .. }),
            "{end:?}"
        );
        models.load(models.source("five").unwrap()).unwrap();
    });
}

#[test]
fn what_the_cache_has_is_loaded_when_it_is_asked_for_and_gives_way_to_others() {
    let cache = Cache::new(&["one", "two", "three", "four", "five"]);
    run(async |executor| {
        let (models, _worker) = cache.models(&executor, "one", true);
        until("the chat's model is ready", || models.names().first().is_some_and(|name| name == "one")).await;
        assert_eq!(models.names(), ["one", "five", "four", "three", "two"]);
        assert!(models.find("six").is_none() && models.find("../models/two").is_none());
        for name in ["two", "three", "four", "five"] {
            let (text, end) = answer(&models.find(name).unwrap(), 3).await;
            assert!(!text.is_empty() && matches!(end, TaskEvent::Finished { .. }), "{name}: {text:?}, {end:?}");
        }
        let list = models.list();
        let names: Vec<&str> = list.as_array().unwrap().iter().filter_map(|model| model["name"].as_str()).collect();
        assert_eq!(names, ["one", "three", "four", "five"], "the longest unused has gone");
    });
}

#[test]
fn what_came_by_a_request_goes_when_nobody_has_used_it_for_long() {
    let cache = Cache::new(&["one", "two", "three"]);
    run(async |executor| {
        let (models, _worker) = cache.models(&executor, "one", true);
        until("the chat's model is ready", || models.names().first().is_some_and(|name| name == "one")).await;
        assert_eq!(models.load(models.source("two").unwrap()).unwrap(), "two");
        answer(&models.find("two").unwrap(), 3).await;
        answer(&models.find("three").unwrap(), 3).await;
        let loaded = || {
            let list = models.list();
            list.as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(loaded(), ["one", "two", "three"]);
        let long_ago = Instant::now() - limits::MODEL_IDLE;
        models.shared.others.borrow().iter().for_each(|model| model.used.set(long_ago));
        until("three goes", || loaded() == ["one", "two"]).await;
        // Who asks for it has it again.
        let (text, end) = answer(&models.find("three").unwrap(), 3).await;
        assert!(!text.is_empty() && matches!(end, TaskEvent::Finished { .. }), "{text:?}, {end:?}");
    });
}

#[test]
fn another_model_becomes_the_chats_and_one_that_is_no_good_does_not() {
    let cache = Cache::new(&["one", "two"]);
    fs::write(cache.path("bad"), "no model").unwrap();
    run(async |executor| {
        let (models, _worker) = cache.models(&executor, "one", false);
        until("the chat's model is ready", || models.names() == ["one"]).await;
        let running = {
            let asker = models.find("").unwrap();
            executor.spawn(async move { answer(&asker, 30).await })
        };
        assert_eq!(models.switch_chat(models.source("two").unwrap()).unwrap(), "two");
        assert!(matches!(running.await.1, TaskEvent::Finished { .. }));
        until("the other one answers", || models.names() == ["two"]).await;

        models.switch_chat(models.source("bad").unwrap()).unwrap();
        let (text, end) = answer(&models.find("").unwrap(), 3).await;
        assert!(!text.is_empty() && matches!(end, TaskEvent::Finished { .. }), "{end:?}");
        until("the old one goes on", || models.names() == ["two"]).await;

        let gone = models.switch_chat(ModelSource::File(cache.path("gone"))).unwrap_err();
        assert!(gone.to_string().contains("is not on this machine"), "{gone}");
    });
}

#[test]
fn a_file_that_is_no_model_is_listed_with_what_is_wrong() {
    let cache = Cache::new(&["one"]);
    fs::write(cache.path("bad"), "no model").unwrap();
    run(async |executor| {
        let (models, _worker) = cache.models(&executor, "one", false);
        models.load(models.source("bad").unwrap()).unwrap();
        until("it is found out", || models.list()[1]["state"] == "unavailable").await;
        let (_, end) = answer(&models.find("bad").unwrap(), 3).await;
        let TaskEvent::Failed(TaskFailure::Unavailable(reason)) = end else { panic!("{end:?}") };
        assert!(reason.contains("bad.gguf cannot be used"), "{reason}");
        models.unload("bad").unwrap();
    });
}

#[test]
fn a_file_that_is_cut_or_replaced_while_it_is_used_harms_no_answer_and_the_new_one_is_taken_up() {
    let cache = Cache::new(&[]);
    let path = cache.path("one");
    fs::copy(model(), &path).unwrap();
    run(async |executor| {
        let (models, worker) = cache.models(&executor, "one", false);
        until("the chat's model is ready", || models.names() == ["one"]).await;
        let asker = models.find("").unwrap();
        let running = executor.spawn(async move { answer(&asker, 40).await });
        until("the answer runs", || models.find("").is_some_and(|asker| asker.tasks() > 0)).await;
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100_000).unwrap();
        assert!(matches!(running.await.1, TaskEvent::Finished { .. }));
        // What is in memory goes on, until somebody wishes for the file.
        assert!(matches!(answer(&models.find("").unwrap(), 3).await.1, TaskEvent::Finished { .. }));
        worker.reload();
        until("the file is found to be cut", || models.list()[0]["state"] == "unavailable").await;
        let why = models.list()[0]["message"].to_string();
        assert!(why.contains("one.gguf cannot be used"), "{why}");

        let new = cache.0.path().join("new");
        fs::copy(model(), &new).unwrap();
        fs::rename(&new, &path).unwrap();
        until("the new file is taken up", || models.names() == ["one"]).await;
        assert!(matches!(answer(&models.find("").unwrap(), 3).await.1, TaskEvent::Finished { .. }));
    });
}
