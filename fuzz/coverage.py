"""Reads what `llvm-cov export` says of core/src: a table of regions by file, and the regions that nothing reached.

Each of those has its reason in COVERAGE.md, in a row of its file and of code that stands in its line; one that has none is
said so. The reference model, core/src/testing, is what checks and not what is checked: it is left out.

Usage: coverage.py regions.json LEAST_PERCENT
"""

import collections
import json
import pathlib
import re
import sys

CODE = 0
ROOT = pathlib.Path.cwd()
REASON = re.compile(r"^\| (?P<file>[\w/.]+\.rs) \| `(?P<code>.+?)` \| (?P<reason>.+) \|$", re.MULTILINE)


def count_regions(path):
    """How often each region of the core was reached, by place."""
    data = json.loads(pathlib.Path(path).read_text())["data"][0]
    # A generic function is there once for each type: a region counts as reached if one of them reached it.
    counts = collections.Counter()
    for function in data["functions"]:
        for line, column, end_line, end_column, count, file, _, kind in function["regions"]:
            name = pathlib.Path(function["filenames"][file])
            if kind == CODE and name.is_relative_to(ROOT / "core/src") and not name.is_relative_to(ROOT / "core/src/testing"):
                counts[str(name.relative_to(ROOT)), line, column, end_line, end_column] += count
    return counts


def print_table(counts):
    """Prints the table by file, and returns the share of all in percent."""
    files = collections.defaultdict(lambda: [0, 0])
    for (name, *_), count in counts.items():
        files[name][0] += 1
        files[name][1] += count > 0
    print("| file | regions | reached | |\n|---|---|---|---|")
    for name, (regions, reached) in sorted(files.items()):
        print(f"| {name} | {regions} | {reached} | {100 * reached / regions:.1f} % |")
    regions, reached = (sum(column) for column in zip(*files.values()))
    share = 100 * reached / regions
    print(f"| all | {regions} | {reached} | {share:.2f} % |\n")
    return share


def code_at(lines, line):
    """What stands in a line; for the end of an `if` that was always true, its beginning."""
    indent, text = re.match(r"( *)(.*)", lines[line - 1]).groups()
    if text == "}":
        opening = re.compile(rf"{indent}[^ }}]")
        text = next(before for before in reversed(lines[: line - 1]) if opening.match(before)).strip()
    return text


def main(path, least):
    counts = count_regions(path)
    share = print_table(counts)
    reasons = [row.groupdict() for row in REASON.finditer((ROOT / "fuzz/COVERAGE.md").read_text().replace("\\|", "|"))]
    for name, line, column, *_ in sorted(place for place, count in counts.items() if count == 0):
        text = code_at((ROOT / name).read_text().splitlines(), line)
        reason = next((r["reason"] for r in reasons if name == f"core/src/{r['file']}" and r["code"] in text), None)
        print(f"not reached: {name}:{line}:{column}: {text}\n    {reason or 'NO REASON in COVERAGE.md'}")
    if share < float(least):
        sys.exit(f"{share:.2f} % of the regions are reached, and {least} % must be")


main(*sys.argv[1:])
