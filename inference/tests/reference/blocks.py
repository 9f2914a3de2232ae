#!/usr/bin/env python3
"""Makes golden/blocks.bin: blocks of every supported type, with their values as the `gguf` package dequantizes them.

    pip install gguf numpy
    python3 blocks.py > ../golden/blocks.bin

For each type: u32 type id, u32 bytes, u32 values, the bytes, the values as f32; all little-endian. The first blocks are
random bits with sane scales, so that every field of a block is exercised (a quantizer would leave some of them alone);
then all bits clear, all set and alternating, and the largest, the smallest and an infinite scale.
"""
import struct, sys
import numpy as np
from gguf import GGMLQuantizationType as T, GGML_QUANT_SIZES, quants

rng = np.random.default_rng(20240229)
RANDOM = 4
HALVES = {  # where the f16 scales of a block stand
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ2_XXS: [0], T.IQ2_XS: [0], T.IQ3_XXS: [0], T.IQ1_S: [0], T.IQ4_NL: [0], T.IQ3_S: [0], T.IQ2_S: [0], T.IQ4_XS: [0],
    T.TQ1_0: [52], T.TQ2_0: [64],
}  # fmt: skip


def put_scale(kind, block, at, value):
    """Sets a scale of a block; where the type has other scales than halves, to something alike."""
    bits = np.array([value], "<f2").view("<u2")[0]
    if kind == T.IQ1_M:  # a nibble in each of four shorts
        for j in range(4):
            block[49 + 2 * j] = (int(block[49 + 2 * j]) & 15) | (int(bits) >> (4 * j) & 15) << 4
    elif kind == T.MXFP4:
        block[0] = np.clip(127 + np.frexp(np.float32(value))[1], 0, 255)
    elif kind == T.NVFP4:
        block[:4] = rng.integers(0, 256, 4)
    else:
        block[at : at + 2] = np.array([bits], "<u2").view(np.uint8)


def blocks(kind):
    _, size = GGML_QUANT_SIZES[kind]
    data = [rng.integers(0, 256, size, dtype=np.uint8) for _ in range(RANDOM)]
    data += [np.full(size, byte, np.uint8) for byte in [0x00, 0xFF, 0x55, 0xAA]]
    data += [rng.integers(0, 256, size, dtype=np.uint8) for _ in range(3)]
    scales = [[rng.normal(0, 0.05) for _ in range(2)] for _ in range(RANDOM)]
    scales += [[0.0, -0.0], [1.0, 0.5], [-1.0, 2.0], [0.25, -3.0], [65504.0] * 2, [2.0**-24] * 2, [-np.inf, 1.0]]
    for block, values in zip(data, scales):
        for at, value in zip(HALVES.get(kind, [0]), values):
            put_scale(kind, block, at, value)
    if kind == T.NVFP4:  # every scale that there is
        data += [np.concatenate([np.arange(at, at + 4, dtype=np.uint8), data[0][4:]]) for at in (0, 4, 8, 0x7C, 0x80, 0xFC)]
    if kind == T.MXFP4:
        data += [np.concatenate([np.array([e], np.uint8), data[0][1:]]) for e in (0, 1, 2, 3, 254, 255)]
    return np.concatenate(data)


with np.errstate(invalid="ignore", over="ignore"):
    for kind in sorted([T.F32, T.F16, *quants._type_traits], key=int):
        if GGML_QUANT_SIZES[kind][0] > 1:
            data = blocks(kind)
        else:
            values = rng.normal(0, 1, 64).astype(np.float32)
            data = {T.F32: values.view(np.uint8), T.F16: values.astype("<f2").view(np.uint8),
                    T.BF16: (values.view(np.uint32) >> 16).astype("<u2").view(np.uint8)}[kind]  # fmt: skip
        values = quants.dequantize(data, kind).astype("<f4")
        raw = data.tobytes()
        sys.stdout.buffer.write(struct.pack("<III", kind, len(raw), values.size) + raw + values.tobytes())
