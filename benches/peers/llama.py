"""llama.cpp's side of the comparison: one task, through the public API of llama-cpp-python.

The job comes as one line of JSON on standard input, the answer goes as one line to standard output; both are described in
src/bin/compare/job.rs. The line "imported" says that Python is up and the library loaded: from there on time counts, so
that llama.cpp is not charged for Python's start. Its settings are its defaults, but for the threads, a cache that is not
shared by the sequences, and a sliding window's cache that is no longer than the window (as its own server has it): with
each of these it is faster or smaller.
"""

import ctypes
import json
import os
import re
import sys
import time

try:
    import llama_cpp as L
    import numpy as np
except ImportError as error:
    sys.exit(str(error))
print("imported", flush=True)

BATCH = 2048  # tokens of one call, at most: llama.cpp's default
WARM_UP = 8  # tokens that are decoded before time counts


def resident():
    """Bytes of this process in memory."""
    with open("/proc/self/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024


class Batch:
    """Rows for llama_decode, kept from call to call."""

    def __init__(self, capacity):
        self.batch = L.llama_batch_init(capacity, 0, 1)

    def run(self, ctx, rows):
        """Computes rows of (token, position, sequence, whether logits are wanted)."""
        b = self.batch
        b.n_tokens = len(rows)
        for i, (token, position, sequence, logits) in enumerate(rows):
            b.token[i], b.pos[i], b.n_seq_id[i], b.logits[i] = token, position, 1, logits
            b.seq_id[i][0] = sequence
        code = L.llama_decode(ctx, b)
        L.llama_synchronize(ctx)
        if code:
            sys.exit(f"llama_decode failed with {code}")


class Run:
    """A model, and a context with room for some sequences."""

    def __init__(self, job, sequences, length):
        self.model = L.llama_model_load_from_file(job["model"].encode(), L.llama_model_default_params())
        if not self.model:
            sys.exit(f"llama.cpp cannot load {job['model']}")
        self.vocabulary = L.llama_vocab_n_tokens(L.llama_model_get_vocab(self.model))
        params = L.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.n_batch = sequences * length, sequences, BATCH
        params.n_threads = params.n_threads_batch = job["threads"]
        params.kv_unified = params.swa_full = False
        self.ctx = L.llama_init_from_model(self.model, params)
        if not self.ctx:
            sys.exit(f"llama.cpp gives no context for {sequences} sequences of {length} tokens")
        self.batch = Batch(BATCH)

    def token(self, i):
        """Some token or other, rarely a special one."""
        return (100 + i * 7919) % self.vocabulary

    def prefill(self, sequence, position, count):
        for start in range(0, count, BATCH):
            part = range(start, min(start + BATCH, count))
            self.batch.run(self.ctx, [(self.token(i + sequence), position + i, sequence, i == count - 1) for i in part])

    def decode(self, sequences, position, steps):
        for p in range(position, position + steps):
            self.batch.run(self.ctx, [(self.token(p + s), p, s, True) for s in range(sequences)])

    def clear(self):
        L.llama_memory_clear(L.llama_get_memory(self.ctx), False)

    def logits(self, i):
        """The logits of the i-th row of the last call."""
        return np.ctypeslib.as_array(L.llama_get_logits_ith(self.ctx, i), shape=(self.vocabulary,))


def rate(count, work):
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def about(job):
    libraries = os.path.join(os.path.dirname(L.__file__), "lib")
    compilers = set()
    for name in os.listdir(libraries) if os.path.isdir(libraries) else []:
        if "ggml-cpu" in name:
            with open(os.path.join(libraries, name), "rb") as library:
                compilers |= set(re.findall(rb"(?:clang version|GCC: \([^)]*\)) [0-9.]+", library.read()))
    features = re.findall(r"(\w+) = 1", L.llama_print_system_info().decode())
    compiler = ", ".join(sorted(name.decode() for name in compilers))
    return {"about": {"version": f"llama-cpp-python {L.__version__}", "features": features, "compiler": compiler}}


def prefill(job, tokens, passes):
    run = Run(job, 1, tokens)
    run.prefill(0, 0, tokens)
    rates = []
    for _ in range(passes):
        run.clear()
        rates.append(rate(tokens, lambda: run.prefill(0, 0, tokens)))
    return {"rates": rates}


def decode(job, depth, tokens, passes):
    run = Run(job, 1, depth + WARM_UP + tokens)
    rates = []
    for _ in range(passes):
        run.clear()
        run.prefill(0, 0, depth)
        run.decode(1, depth, WARM_UP)
        rates.append(rate(tokens, lambda: run.decode(1, depth + WARM_UP, tokens)))
    return {"rates": rates}


def streams(job, streams, prompt, steps):
    run = Run(job, streams, prompt + WARM_UP + steps)
    for stream in range(streams):
        run.prefill(stream, 0, prompt)
    run.decode(streams, prompt, WARM_UP)
    return {"rates": [rate(streams * steps, lambda: run.decode(streams, prompt + WARM_UP, steps))]}


def first_token(job, prompt, context):
    run = Run(job, 1, context)
    run.prefill(0, 0, prompt)
    run.logits(-1).argmax()
    return {"first_token": {}}


def memory(job, sequences, context, prompt, steps):
    before = resident()
    run = Run(job, sequences, context)
    for sequence in range(sequences):
        run.prefill(sequence, 0, prompt)
    run.decode(sequences, prompt, steps)
    return {"memory": {"before": before, "after": resident()}}


def scores(job, step, tokens, wanted):
    run = Run(job, 1, len(tokens))
    found = []
    for start in range(0, len(tokens), step):
        part = tokens[start : start + step]
        run.batch.run(run.ctx, [(token, start + i, 0, True) for i, token in enumerate(part)])
        for i in range(len(part)):
            logits = run.logits(i).astype(np.float64)
            peak = logits.max()
            found.append(
                {
                    "logsumexp": float(peak + np.log(np.exp(logits - peak).sum())),
                    "logits": [float(logits[token]) for token in wanted[start + i]],
                    "likeliest": int(logits.argmax()),
                }
            )
    return {"scores": found}


TASKS = {f.__name__: f for f in (about, prefill, decode, streams, first_token, memory, scores)}

job = json.loads(sys.stdin.readline())
tell = L.llama_log_callback(lambda level, text, _: sys.stderr.write(text.decode(errors="replace")) if level == 4 else None)
L.llama_log_set(tell, ctypes.c_void_p())  # errors alone: GGML_LOG_LEVEL_ERROR
L.llama_backend_init()
((task, options),) = job["task"].items()
print(json.dumps(TASKS[task](job, **options)), flush=True)
os._exit(0)  # what is left to be freed takes time and tells nothing
