#!/usr/bin/env python3
"""Prints the tables of src/block/grids.rs from those of the `gguf` package, which holds them in another packing.

    pip install gguf numpy
    python3 grids.py
"""
from gguf import quants

for name, doc, bits in [
    ("IQ2_XXS", "`IQ2_XXS`: 8 values of 2 bits a word.", 2),
    ("IQ2_XS", "`IQ2_XS`: 8 values of 2 bits a word.", 2),
    ("IQ2_S", "`IQ2_S`: 8 values of 2 bits a word.", 2),
    ("IQ3_XXS", "`IQ3_XXS`: 4 values of 4 bits a word.", 4),
    ("IQ3_S", "`IQ3_S`: 4 values of 4 bits a word.", 4),
    ("IQ1_S", "`IQ1_S` and `IQ1_M`: 8 values of 2 bits a word.", 2),
]:
    kind = getattr(quants, name)
    kind.init_grid()
    points = kind.grid.reshape(kind.grid_shape).astype(int).tolist()
    words = [sum(kind.grid_map.index(value) << bits * place for place, value in enumerate(point)) for point in points]
    text = "".join(f"{word:04x}" for word in words)
    lines = [text[at : at + 108] for at in range(0, len(text), 108)]
    print(f"\n/// Points of {doc}\npub(super) static {name}: [u16; {len(words)}] = words(")
    print('    "' + "\\\n     ".join(lines) + '",\n);')
