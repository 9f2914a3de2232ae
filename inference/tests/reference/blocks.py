#!/usr/bin/env python3
"""Makes blocks.bin: random blocks of every supported type, with their values as the `gguf` package dequantizes them.

    pip install gguf numpy
    python3 blocks.py > blocks.bin

For each type: u32 type id, u32 bytes, u32 values, the bytes, the values as f32; all little-endian. The blocks are random
bits with sane scales, so that every field of a block is exercised; a quantizer would leave some of them alone.
"""
import struct, sys
import numpy as np
from gguf import GGMLQuantizationType as T, GGML_QUANT_SIZES, quants

rng = np.random.default_rng(20240229)
HALVES = {  # where the f16 scales of a block stand
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
}
for kind in [T.F32, T.F16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K, T.BF16]:
    length, size = GGML_QUANT_SIZES[kind]
    blocks = 3 if length > 1 else 64
    data = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    for at in HALVES.get(kind, []):
        data[:, at : at + 2] = rng.normal(0, 0.05, blocks).astype("<f2").view(np.uint8).reshape(blocks, 2)
    if length == 1:
        values = rng.normal(0, 1, blocks).astype(np.float32)
        data = {T.F32: values.view(np.uint8), T.F16: values.astype("<f2").view(np.uint8),
                T.BF16: (values.view(np.uint32) >> 16).astype("<u2").view(np.uint8)}[kind]
    values = quants.dequantize(data.reshape(-1), kind).astype("<f4")
    raw = data.tobytes()
    sys.stdout.buffer.write(struct.pack("<III", kind, len(raw), values.size) + raw + values.tobytes())
