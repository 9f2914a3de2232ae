#!/usr/bin/env python3
"""Float32 reference of a GGUF transformer, in numpy: the ground truth that kernels are compared with.

Every weight is dequantized to float32 with the `gguf` package, and nothing but the matrix products,
norms and softmax of the model itself is computed, so it is slow and has no quantization noise of its own.

    pip install gguf numpy
    forward.py MODEL.gguf --tokens 1,9690,198 [--top 32] [--greedy N] > golden.json

Output: {"arch", "tokens", "positions": [{"logsumexp": f, "top": [[id, logit], ...]}, ...], "greedy": [ids]}
Architectures, dense: llama, qwen2, qwen3, gemma2, gemma3, phi3, smollm3. Compared with llama.cpp: llama and gemma3 by real
models (on 1,489 positions of Gemma a mean KL of 0.004), all of them by the small random models of the engine's tests, whose
logits differ by less than 0.1 % wherever llama.cpp honours the same keys: it has no windows in llama and phi3 and takes no
`attention.scale` in gemma3.
"""
import argparse, json, sys
import numpy as np
from gguf import GGUFReader, dequantize


class Model:
    def __init__(self, path):
        reader = GGUFReader(path)
        self.kv = {k: f.contents() for k, f in reader.fields.items() if not k.startswith("tokenizer.")}
        self.weights = {}
        for t in reader.tensors:
            self.weights[t.name] = dequantize(t.data, t.tensor_type).astype(np.float32)
        self.arch = self.kv["general.architecture"]
        if self.arch not in ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "smollm3"):
            sys.exit(f"architecture not covered by this reference: {self.arch}")
        get = lambda key, default=None: self.kv.get(f"{self.arch}.{key}", default)
        self.layers = get("block_count")
        self.heads = get("attention.head_count")
        self.kv_heads = get("attention.head_count_kv", self.heads)
        self.dim = get("embedding_length")
        self.head_dim = get("attention.key_length", self.dim // self.heads)
        self.eps = get("attention.layer_norm_rms_epsilon")
        self.rope_base = get("rope.freq_base", 10000.0)
        self.rope_dims = get("rope.dimension_count", self.head_dim)
        self.context = get("context_length")
        self.neox = self.arch not in ("llama", "smollm3")  # these pair (2i, 2i+1); the others pair (i, i + d/2)
        self.gemma = self.arch in ("gemma2", "gemma3")
        self.scaling = get("rope.scaling.type", "linear")
        self.factor = get("rope.scaling.factor", 1.0)
        self.original = get("rope.scaling.original_context_length", self.context)
        self.rope_magnitude = get("rope.scaling.attn_factor", 1.0)
        self.local_base = get("rope.freq_base_swa", 10000.0)
        self.window = get("attention.sliding_window", 4096 if self.arch == "gemma2" else 0)
        self.global_each = get("attention.sliding_window_pattern", {"gemma2": 2, "gemma3": 6}.get(self.arch))
        self.attention_cap = get("attn_logit_softcapping", 50.0 if self.arch == "gemma2" else 0.0)
        self.logit_cap = get("final_logit_softcapping", 30.0 if self.arch == "gemma2" else 0.0)
        largest = {"gemma2": 46, "gemma3": 62}.get(self.arch) == self.layers
        self.scale = get("attention.scale", (self.dim // self.heads if largest else self.head_dim) ** -0.5)

    def w(self, name):
        return self.weights.get(name)

    def norm(self, x, name):
        weight = self.w(name)
        if weight is None:
            return x
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * weight

    def linear(self, x, name):
        y = x @ self.w(name + ".weight").T
        bias = self.w(name + ".bias")
        return y if bias is None else y + bias

    def frequencies(self, local):
        """(radians per position of each pair, what cosines and sines are multiplied with)"""
        dims = self.rope_dims
        pair = np.arange(dims // 2, dtype=np.float64)
        if local and self.arch == "gemma3":
            return self.local_base ** (-2 * pair / dims), 1.0
        freq = self.rope_base ** (-2 * pair / dims)
        length = "long" if self.context > self.original else "short"
        for name in ("rope_freqs.weight", f"rope_factors_{length}.weight"):
            if self.w(name) is not None:
                freq = freq / self.w(name)
        magnitude = self.rope_magnitude
        if self.scaling == "linear":
            freq = freq / self.factor
        elif self.scaling == "yarn":  # Peng et al. 2023, with beta_fast 32 and beta_slow 1
            def dim_of(turns):
                return dims * np.log(self.original / (turns * 2 * np.pi)) / (2 * np.log(self.rope_base))

            low, high = max(np.floor(dim_of(32)), 0), min(np.ceil(dim_of(1)), dims - 1)
            keep = 1 - np.clip((pair - low) / max(high - low, 0.001), 0, 1)
            freq = freq / self.factor * (1 - keep) + freq * keep
            magnitude *= 0.1 * np.log(self.factor) + 1
        return freq, magnitude

    def rope(self, x, local):
        """x: [tokens, heads, head_dim]"""
        n, half = len(x), self.rope_dims // 2
        freq, magnitude = self.frequencies(local)
        angle = np.arange(n, dtype=np.float64)[:, None] * freq
        cos, sin = (np.asarray(f(angle) * magnitude)[:, None].astype(np.float32) for f in (np.cos, np.sin))
        out = x.copy()
        if self.neox:
            a, b = x[..., :half], x[..., half : 2 * half]
            out[..., :half], out[..., half : 2 * half] = a * cos - b * sin, a * sin + b * cos
        else:
            a, b = x[..., 0 : 2 * half : 2], x[..., 1 : 2 * half : 2]
            out[..., 0 : 2 * half : 2], out[..., 1 : 2 * half : 2] = a * cos - b * sin, a * sin + b * cos
        return out

    def queries_keys_values(self, x, i):
        if self.arch == "phi3":
            qkv = self.linear(x, f"blk.{i}.attn_qkv")
            q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
            return qkv[:, :q], qkv[:, q : q + kv], qkv[:, q + kv :]
        return tuple(self.linear(x, f"blk.{i}.attn_{part}") for part in "qkv")

    def attention(self, x, i):
        n = len(x)
        local = self.window > 0 and (self.global_each is None or (i + 1) % self.global_each != 0)
        q, k, v = self.queries_keys_values(x, i)
        q = q.reshape(n, self.heads, self.head_dim)
        k = k.reshape(n, self.kv_heads, self.head_dim)
        v = v.reshape(n, self.kv_heads, -1)
        q, k = self.norm(q, f"blk.{i}.attn_q_norm.weight"), self.norm(k, f"blk.{i}.attn_k_norm.weight")
        if self.arch != "smollm3" or (i + 1) % 4 != 0:
            q, k = self.rope(q, local), self.rope(k, local)
        group = self.heads // self.kv_heads
        k, v = k.repeat(group, axis=1), v.repeat(group, axis=1)
        scores = np.einsum("qhd,khd->hqk", q, k) * np.float32(self.scale)
        if self.attention_cap:
            scores = self.attention_cap * np.tanh(scores / self.attention_cap)
        distance = np.arange(n)[:, None] - np.arange(n)[None, :]
        masked = distance < 0
        if local:
            masked |= distance >= self.window
        scores[:, masked] = -np.inf
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        out = np.einsum("hqk,khd->qhd", scores, v).reshape(n, -1)
        return self.linear(out, f"blk.{i}.attn_output")

    def feed_forward(self, x, i):
        up = self.linear(x, f"blk.{i}.ffn_up")
        gate, up = np.split(up, 2, axis=-1) if self.arch == "phi3" else (self.linear(x, f"blk.{i}.ffn_gate"), up)
        if self.gemma:
            act = 0.5 * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
        else:
            act = gate / (1 + np.exp(-gate))
        return self.linear(act * up, f"blk.{i}.ffn_down")

    def logits(self, tokens):
        """[tokens] -> [tokens, vocab] float32, causal"""
        embedding = self.w("token_embd.weight")
        x = embedding[np.asarray(tokens)]
        if self.gemma:
            x = x * np.float32(np.sqrt(self.dim))
        for i in range(self.layers):
            h = self.attention(self.norm(x, f"blk.{i}.attn_norm.weight"), i)
            x = x + self.norm(h, f"blk.{i}.post_attention_norm.weight")
            h = self.feed_forward(self.norm(x, f"blk.{i}.ffn_norm.weight"), i)
            x = x + self.norm(h, f"blk.{i}.post_ffw_norm.weight")
        x = self.norm(x, "output_norm.weight")
        head = self.w("output.weight")
        logits = x @ (embedding if head is None else head).T
        return self.logit_cap * np.tanh(logits / self.logit_cap) if self.logit_cap else logits


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--tokens", required=True, help="comma-separated token ids")
    p.add_argument("--top", type=int, default=32, help="logits kept per position")
    p.add_argument("--greedy", type=int, default=0, help="tokens to continue with, the largest logit each time")
    a = p.parse_args()
    tokens = [int(t) for t in a.tokens.split(",")]
    model = Model(a.model)
    logits = model.logits(tokens)
    positions = []
    for row in logits:
        top = np.argsort(-row, kind="stable")[: a.top]
        peak = float(row.max())
        positions.append({
            "logsumexp": round(peak + float(np.log(np.exp(row.astype(np.float64) - peak).sum())), 5),
            "top": [[int(t), round(float(row[t]), 5)] for t in top],
        })
    greedy = []
    for _ in range(a.greedy):
        greedy.append(int((logits if not greedy else model.logits(tokens + greedy))[-1].argmax()))
    json.dump({"arch": model.arch, "tokens": tokens, "positions": positions, "greedy": greedy}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
