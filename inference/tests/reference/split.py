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

DEEPSEEK_WORD = (
    r"\s?["
    r"A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    r"\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f"
    r"\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    r"\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d"
    r"\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb"
    r"\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128"
    r"\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4"
    r"\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"
    r"\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3"
    r"\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
    r"]+"
)
DEEPSEEK_MARKS = r"\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
DEEPSEEK_EAST_ASIAN = r"[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
PORO = r" ?[^(\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"

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
    "deepseek-llm": [  # deepseek-ai/deepseek-llm-7b-base
        r"[\r\n]", DEEPSEEK_WORD, DEEPSEEK_MARKS, r"\s+$", DEEPSEEK_EAST_ASIAN, r"\p{N}+"
    ],
    "deepseek-coder": [  # deepseek-ai/deepseek-coder-6.7b-base
        r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_EAST_ASIAN, r"\p{N}"
    ],
    "deepseek-v3": [  # deepseek-ai/DeepSeek-V3
        r"\p{N}{1,3}",
        r"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    ],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],  # tiiuae/falcon-7b
    "poro-chat": [PORO],  # LumiOpen/Poro-34B-chat, bigscience/bloom
    "viking": [PORO, r"\p{N}"],  # LumiOpen/Viking-7B
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
}

TEXTS = [
    "CamelCaseWords ABCdef XMLHttpRequest I'M you'Re O'Neil's",
    "a//b/c.d /usr/bin\n\n//x",
    "12345678 1,234,567.89 $9.99 +1=2 <a|b> x^2~y",
    "ÀÉÎõü ΑΒΓαβγ ПрИвЕт ǅungla ʰa 中文字 e\u0301E\u0301",
    "!!!\r\n\r\n ?? -- \n---\n",
    "Tämä (on) lause, joka |jatkuu|… हिन्दी। اردو، 中文，句子。日本語カナ한국어 ＡＢＣ！？ ‘so’",
    "tabs\tand\x01\x02 controls\x7f `code` a  b   \u3000 end   ",
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
