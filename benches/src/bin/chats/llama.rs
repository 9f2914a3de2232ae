//! Chats with llama.cpp's server, over its OpenAI-compatible interface.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use causerie_benches::{Answer, PATIENCE};
use serde_json::{Value, json};
use smol::future::or;
use smol::{LocalExecutor, Timer};

use crate::people::{Plan, REST, WARM_UP};
use crate::sse::Stream;
use crate::{Measured, block_on};

/// How to get one that is at its best on this machine.
pub(crate) const HOW_TO_BUILD: &str = "\
The sources come with llama-cpp-python's source package; some four minutes on two cores (with Debian's gcc 12 its AMX code dies of
an illegal instruction, and clang 14 builds it without AMX):

    apt-get install clang-19 cmake ninja-build python3-pip
    python3 -m pip download --no-deps --no-binary llama-cpp-python llama-cpp-python
    tar xzf llama_cpp_python-*.tar.gz && cd llama_cpp_python-*/vendor/llama.cpp
    CC=clang-19 CXX=clang++-19 cmake -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DGGML_OPENMP=OFF \\
        -DBUILD_SHARED_LIBS=OFF -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \\
        -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF
    ninja -C build llama-server

and then add: --llama-server PATH/build/bin/llama-server";

/// Tokens of a conversation that the server has room for: the longest here takes some 700.
const CONTEXT: usize = 2_048;

/// Between two looks at whether it is ready.
const LOOK: Duration = Duration::from_millis(20);

/// What the program says it is.
pub(crate) fn version(program: &Path) -> Result<String, Box<dyn Error>> {
    let output = Command::new(program).arg("--version").output();
    let output = output.map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| line.starts_with("version") || line.starts_with("built"));
    // Built from a source package, it names a commit that is none of its own.
    let lines = lines.map(|line| line.split(" (").next().unwrap_or_default());
    Ok(format!("llama-server, {}", lines.collect::<Vec<_>>().join(", ")))
}

/// A running server.
struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server with a slot for each of the people, and chats with it.
pub(crate) fn measure(program: &Path, model: &Path, threads: usize, plan: &Plan) -> Result<Measured, Box<dyn Error>> {
    // It takes no port 0 that it would tell us of: the system finds a free one, which is given back and used at once.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let child = Command::new(program)
        .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["--threads", &threads.to_string(), "--parallel", &plan.people.to_string()])
        .args(["--ctx-size", &(plan.people * CONTEXT).to_string()])
        .arg("--model")
        .arg(model)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    let peer = Peer { child, address };
    block_on(async |executor| {
        wait_until_ready(&peer).await?;
        chats(&executor, peer.address, plan).await
    })
}

/// It answers 503 while it loads.
async fn wait_until_ready(peer: &Peer) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let question = json!({ "messages": [{ "role": "user", "content": WARM_UP }], "max_tokens": 8, "stream": true });
    loop {
        match Stream::post(peer.address, "/v1/chat/completions", &question).await {
            Ok(mut stream) => {
                while stream.next().await?.is_some() {}
                Timer::after(REST).await;
                return Ok(());
            }
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => _ = Timer::after(LOOK).await,
        }
    }
}

async fn chats(
    executor: &Rc<LocalExecutor<'static>>,
    server: SocketAddr,
    plan: &Plan,
) -> Result<Measured, Box<dyn Error>> {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for questions in plan.conversations() {
        let tokens = plan.tokens;
        tasks.push(executor.spawn(async move {
            let (mut answers, mut messages) = (Vec::new(), Vec::new());
            for question in questions {
                messages.push(json!({ "role": "user", "content": question }));
                let (answer, text) = ask(server, &messages, tokens).await?;
                messages.push(json!({ "role": "assistant", "content": text }));
                answers.push(answer);
            }
            Ok::<_, String>(answers)
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await?);
    }
    Ok(Measured::of(begun.elapsed(), &answers))
}

/// Asks with all that was said before, as this interface wants it; the server knows its beginning again.
async fn ask(server: SocketAddr, messages: &[Value], tokens: u32) -> Result<(Answer, String), String> {
    let asked = Instant::now();
    let question = json!({
        "messages": messages, "temperature": 0, "max_tokens": tokens, "stream": true,
        "stream_options": { "include_usage": true }, "cache_prompt": true,
    });
    let answer = async {
        let mut stream = Stream::post(server, "/v1/chat/completions", &question).await?;
        let (mut first, mut text, mut tokens) = (None, String::new(), None);
        while let Some(event) = stream.next().await? {
            if let Some(piece) = event["choices"][0]["delta"]["content"].as_str().filter(|piece| !piece.is_empty()) {
                first.get_or_insert(asked.elapsed());
                text.push_str(piece);
            }
            tokens = event["usage"]["completion_tokens"].as_u64().or(tokens);
        }
        let tokens = tokens.ok_or("llama-server did not say how many tokens its answer has")?;
        Ok((Answer { first: first.unwrap_or_else(|| asked.elapsed()), tokens }, text))
    };
    or(answer, async {
        Timer::after(PATIENCE).await;
        Err(format!("llama-server does not answer within {PATIENCE:?}"))
    })
    .await
}
