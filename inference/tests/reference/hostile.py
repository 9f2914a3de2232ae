#!/usr/bin/env python3
"""Writes the files of ../../../fuzz/corpus/gguf: sound models of some numbers, and one file for each fault that
`tests/hostile.rs` expects to be refused. Uses nothing but Python's library, since no other writer makes such files.

    python3 hostile.py
"""
import pathlib, random, struct

FOLDER = pathlib.Path(__file__).resolve().parents[3] / "fuzz" / "corpus" / "gguf"
U8, U32, F32, BOOL, TEXT, ARRAY, U64 = 0, 4, 6, 7, 8, 9, 10
BLOCKS = {  # type id: values and bytes of a block
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84), 11: (256, 110),
    12: (256, 144), 13: (256, 176), 14: (256, 210), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
    40: (64, 36),
}  # fmt: skip


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(value)) + value


def array(element_type, count, elements=b""):
    return struct.pack("<IQ", element_type, count) + elements


def texts(values):
    return array(TEXT, len(values), b"".join(map(text, values)))


class File:
    """A file under construction; nothing is checked."""

    def __init__(self, keys=(), tensors=(), scale=1.0):
        self.magic, self.version, self.counts, self.cut = b"GGUF", 3, [None, None], None
        self.keys, self.more_keys, self.tensors, self.data = dict(keys), b"", [], b""
        self.rng, self.scale = random.Random(7), struct.pack("<e", scale)
        for name, dimensions in tensors:
            self.tensor(name, dimensions)

    def tensor(self, name, dimensions, kind=0, offset=None):
        if offset is None:
            self.data += bytes(-len(self.data) % 32)
            offset = len(self.data)
            count = 1
            for dimension in dimensions:
                count *= dimension
            values, size = BLOCKS[kind]
            if kind == 0:
                self.data += b"".join(struct.pack("<f", self.rng.uniform(-1, 1)) for _ in range(count))
            elif kind == 2:  # Q4_0, of which models are made too
                self.data += b"".join(self.scale + self.rng.randbytes(16) for _ in range(count // values))
            else:
                self.data += self.rng.randbytes(count // values * size)
        self.tensors.append((name, dimensions, kind, offset))
        return self

    def key(self, name, kind, value):
        self.keys[name] = (kind, value)
        return self

    def number(self, name, value):
        return self.key(name, U32, struct.pack("<I", value))

    def bytes(self):
        entry = lambda key, value: text(key) + struct.pack("<I", value[0]) + value[1]
        keys = b"".join(entry(key, value) for key, value in self.keys.items()) + self.more_keys
        directory = b"".join(
            text(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, offset)
            for name, dimensions, kind, offset in self.tensors
        )
        counts = [len(self.tensors), len(self.keys) + bool(self.more_keys)]
        counts = [count if said is None else said for said, count in zip(self.counts, counts)]
        header = self.magic + struct.pack("<IQQ", self.version, *counts) + keys + directory
        return (header + bytes(-len(header) % 32) + self.data)[: self.cut]


def small():
    """Two tensors."""
    return File({"general.architecture": (TEXT, text("llama"))}, [("a", [8]), ("b", [4, 2])])


def model(family="llama", width=4, kind=0, scale=1 / 16):
    """A model of two layers and a few numbers a token, with six tokens."""
    file = File({"general.architecture": (TEXT, text(family))}, scale=scale)
    for name, value in [("block_count", 2), ("context_length", 64), ("embedding_length", width),
                        ("feed_forward_length", width), ("attention.head_count", 2), ("attention.head_count_kv", 1),
                        ("attention.sliding_window", 2)]:  # fmt: skip
        if family == "gemma3" or name != "attention.sliding_window":
            file.number(f"{family}.{name}", value)
    file.key(f"{family}.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", 1e-5))
    if family in ("gemma3", "phi3"):
        file.key("tokenizer.ggml.model", TEXT, text("llama"))
        file.key("tokenizer.ggml.tokens", ARRAY, texts(["<unk>", "<s>", "<0x61>", "\u2581", "a", "\u2581a"]))
        file.key("tokenizer.ggml.token_type", ARRAY, array(5, 6, struct.pack("<6i", 2, 3, 6, 1, 1, 1)))
        file.key("tokenizer.ggml.scores", ARRAY, array(F32, 6, struct.pack("<6f", 0, 0, 0, -2, -1, -3)))
        file.number("tokenizer.ggml.bos_token_id", 1)
    else:
        file.key("tokenizer.ggml.model", TEXT, text("gpt2")).key("tokenizer.ggml.pre", TEXT, text("gpt-2"))
        file.key("tokenizer.ggml.tokens", ARRAY, texts(["a", "b", "c", "ab", "abc", "<|im_end|>"]))
        file.key("tokenizer.ggml.token_type", ARRAY, array(5, 6, struct.pack("<6i", 1, 1, 1, 1, 1, 3)))
        file.key("tokenizer.ggml.merges", ARRAY, texts(["a b", "ab c"]))
    file.number("tokenizer.ggml.eos_token_id", 5)
    file.tensor("token_embd.weight", [width, 6], kind).tensor("output_norm.weight", [width])
    rows = {"attn_q": width, "attn_k": width // 2, "attn_v": width // 2, "attn_output": width, "ffn_gate": width,
            "ffn_up": width, "ffn_down": width}  # fmt: skip
    norms = {"attn_norm": width, "ffn_norm": width}
    if family == "phi3":
        rows = {"attn_qkv": 2 * width, "attn_output": width, "ffn_up": 2 * width, "ffn_down": width}
    if family in ("qwen3", "gemma3"):
        norms |= {"attn_q_norm": width // 2, "attn_k_norm": width // 2}
    if family == "gemma3":
        norms |= {"post_attention_norm": width, "post_ffw_norm": width}
    for layer in range(2):
        for name, count in rows.items():
            file.tensor(f"blk.{layer}.{name}.weight", [width, count], kind)
        for name, count in norms.items():
            file.tensor(f"blk.{layer}.{name}.weight", [count])
    return file


def but(file, **fields):
    for name, value in fields.items():
        setattr(file, name, value)
    return file


def every_type():
    file = small()
    for kind, (values, _) in BLOCKS.items():
        file.tensor(f"type-{kind}", [values], kind)
    return file


HUGE = 2**64 - 1
files = {
    "sound": model(),
    "sound-qwen3": model("qwen3"),
    "sound-gemma3": model("gemma3"),
    "sound-phi3": model("phi3"),
    "sound-q4_0": model("llama", 32, 2),
    "sound-infinite": model("llama", 32, 2, scale=float("inf")),
    "every-type": every_type(),
    "not-gguf": but(small(), magic=b"PK\x03\x04"),
    "version-1": but(small(), version=1),
    "big-endian": but(small(), version=3 << 24),
    "cut-in-preamble": but(small(), cut=17),
    "cut-in-keys": but(small(), cut=40),
    "cut-in-directory": but(small(), cut=100),
    "cut-in-data": but(small(), cut=-8),
    "tensors-beyond-limit": but(small(), counts=[HUGE, None]),
    "keys-beyond-limit": but(small(), counts=[None, HUGE]),
    "tensors-beyond-file": but(small(), counts=[60_000, None]),
    "keys-beyond-file": but(small(), counts=[None, 16_000]),
    "key-too-long": but(small(), more_keys=struct.pack("<Q", 1 << 40)),
    "key-not-text": but(small(), more_keys=text(b"\xff\xfe") + struct.pack("<II", U32, 0)),
    "key-twice": but(small(), more_keys=text("general.architecture") + struct.pack("<I", TEXT) + text("x")),
    "text-too-long": small().key("text", TEXT, struct.pack("<Q", HUGE)),
    "value-type-unknown": small().key("\x1b[31modd", 13, b""),
    "array-beyond-limit": small().key("array", ARRAY, array(U64, HUGE)),
    "array-beyond-file": small().key("tokenizer.array", ARRAY, array(TEXT, 2_000_000)),
    "array-size-overflows": small().key("array", ARRAY, array(U64, 1 << 61)),
    "array-of-arrays": small().key("array", ARRAY, array(ARRAY, 1, array(U8, 1, b"\0"))),
    "alignment-zero": small().number("general.alignment", 0),
    "alignment-odd": small().number("general.alignment", 33),
    "alignment-of-64-bits": small().key("general.alignment", U64, struct.pack("<Q", 32)),
    "tensor-type-unknown": small().tensor("odd", [256], 42, 64),
    "tensor-type-of-activations": small().tensor("odd", [256], 15, 64),
    "tensor-twice": small().tensor("a", [8]),
    "tensor-name-too-long": small().tensor("n" * 300, [8]),
    "no-dimensions": small().tensor("odd", [], 0, 64),
    "five-dimensions": small().tensor("odd", [1] * 5, 0, 64),
    "dimension-zero": small().tensor("odd", [8, 0], 0, 64),
    "size-overflows": small().tensor("odd", [1 << 40, 1 << 40], 0, 64),
    "half-a-block": small().tensor("odd", [128], 12, 64),
    "offset-misaligned": small().tensor("odd", [1], 0, 68),
    "offset-outside": small().tensor("odd", [1], 0, 1 << 40),
    "offset-overflows": small().tensor("odd", [1], 0, HUGE - 31),
    "tensors-overlap": small().tensor("odd", [8], 0, 0),
    "architecture-unknown": model().key("general.architecture", TEXT, text("\x1b[31mgpt5")),
    "architecture-missing": File(),
    "layers-beyond-block-count": model().number("llama.block_count", 1),
    "layers-missing": model().number("llama.block_count", 3),
    "block-count-beyond-limit": model().number("llama.block_count", 2**32 - 1),
    "context-beyond-limit": model().number("llama.context_length", 2**32 - 1),
    "heads-zero": model().number("llama.attention.head_count", 0),
    "width-of-another": model().number("llama.embedding_length", 8),
    "epsilon-not-a-number": model().key("llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", float("nan"))),
    "fused-too-short": model("phi3").number("phi3.feed_forward_length", 2),
    "window-of-no-kind": model("gemma3").key("gemma3.attention.sliding_window", TEXT, text("2")),
    "scores-too-few": model("gemma3").key("tokenizer.ggml.scores", ARRAY, array(F32, 1, bytes(4))),
    "tensor-unused": model().tensor("blk.0.attn_q.scale", [1]),
    "tokens-missing": model().key("tokenizer.ggml.tokens", TEXT, text("abc")),
    "tokens-more-than-rows": model().key("tokenizer.ggml.tokens", ARRAY, texts(["a", "b", "c", "ab", "abc", "d", "e"]))
                                    .key("tokenizer.ggml.token_type", ARRAY, array(5, 7, struct.pack("<7i", *[1] * 7))),
    "merge-of-unknown": model().key("tokenizer.ggml.merges", ARRAY, texts(["a z"])),
    "end-token-outside": model().number("tokenizer.ggml.eos_token_id", 6),
    "template-broken": model().key("tokenizer.chat_template", TEXT, text("{% for m in messages %}")),
}  # fmt: skip

FOLDER.mkdir(parents=True, exist_ok=True)
for name, file in files.items():
    (FOLDER / name).write_bytes(file.bytes())
