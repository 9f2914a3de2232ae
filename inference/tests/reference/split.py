#!/usr/bin/env python3
"""Pieces of texts by the published patterns of pre-tokenizers, lookahead included, for `../golden/split.jsonl`.

    pip install regex
    split.py ../golden/split.jsonl        (rewrites it: the texts are kept, and TEXTS below are added)

The patterns stand in the `tokenizer.json` of the models named; `default` is what llama.cpp does for files that say so.
"""
import json
import sys

import regex

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + REST
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
WORD = [rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"]
SLASHES = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"

# Every pattern cuts what the ones before it have left into matches and what is between them.
PATTERNS = {
    "smollm": [r"\p{N}", GPT2],  # HuggingFaceTB/SmolLM2-135M-Instruct
    "gpt2": [GPT2],  # openai-community/gpt2
    "llama-bpe": [LLAMA3],  # meta-llama/Llama-3.2-1B, HuggingFaceTB/SmolLM3-3B, microsoft/phi-4
    "qwen2": [LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")],  # Qwen/Qwen3-0.6B
    "tekken": [WORD[0] + "|" + WORD[1] + r"|\p{N}" + SLASHES],  # mistralai/Mistral-Nemo-Instruct-2407
    "gpt-4o": [f"{WORD[0]}{CONTRACTIONS}?|{WORD[1]}{CONTRACTIONS}?" + r"|\p{N}{1,3}" + SLASHES],  # microsoft/Phi-4-mini
    "seed-coder": [  # ByteDance-Seed/Seed-Coder-8B-Base
        CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
    ],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
}

TEXTS = [
    "CamelCaseWords ABCdef XMLHttpRequest I'M you'Re O'Neil's",
    "a//b/c.d /usr/bin\n\n//x",
    "12345678 1,234,567.89 $9.99 +1=2 <a|b> x^2~y",
    "ÀÉÎõü ΑΒΓαβγ ПрИвЕт ǅungla ʰa 中文字 e\u0301E\u0301",
    "!!!\r\n\r\n ?? -- \n---\n",
]


def pieces(patterns, text):
    parts = [text]
    for pattern in patterns:
        cut = []
        for part in parts:
            end = 0
            for found in regex.finditer(pattern, part):
                cut += [part[end : found.start()], found.group()]
                end = found.end()
            cut.append(part[end:])
        parts = [part for part in cut if part]
    return parts


def main():
    (path,) = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    texts += [text for text in TEXTS if text not in texts]
    with open(path, "w", encoding="utf-8") as file:
        for text in texts:
            golden = {name: pieces(patterns, text) for name, patterns in PATTERNS.items()}
            print(json.dumps({"text": text, "pieces": golden}), file=file)


if __name__ == "__main__":
    main()
