#!/usr/bin/env python3
"""What the float32 reference computes for the small random models that the engine's tests make of each family.

    pip install gguf numpy
    mkdir /tmp/families && CAUSERIE_WRITE_FAMILIES=/tmp/families cargo test -p causerie-inference --lib families
    families.py /tmp/families ../golden/families

Each golden file holds a hash of the model's file, the tokens, and all logits of some positions: before and behind the
windows of the models and the border of a page of the cache.
"""
import json
import pathlib
import sys

from forward import Model

VOCABULARY = 40
TOKENS = [i * 17 % VOCABULARY for i in range(70)]
POSITIONS = [0, 1, 7, 8, 9, 20, 41, 63, 64, 69]


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def main():
    source, target = map(pathlib.Path, sys.argv[1:])
    for path in sorted(source.glob("*.gguf")):
        logits = Model(path).logits(TOKENS)
        golden = {
            "fnv1a": fnv1a(path.read_bytes()),
            "tokens": TOKENS,
            "positions": [[p, [round(float(x), 5) for x in logits[p]]] for p in POSITIONS],
        }
        (target / path.stem).with_suffix(".json").write_text(json.dumps(golden) + "\n")
        print(path.stem)


if __name__ == "__main__":
    main()
