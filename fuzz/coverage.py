"""Reads what `llvm-cov export` says of core/src: a table of regions by file, and the regions that nothing reached.

The reference model, core/src/testing, is what checks and not what is checked: it is left out.

Usage: coverage.py regions.json LEAST_PERCENT
"""

import collections
import json
import pathlib
import sys

CODE, EXPANSION = 0, 1


def main(path, least):
    data = json.load(open(path))["data"][0]
    root = pathlib.Path.cwd()
    # A generic function is there once for each type: a region counts as reached if one of them reached it.
    counts = collections.Counter()
    for function in data["functions"]:
        for line, column, end_line, end_column, count, file, _, kind in function["regions"]:
            name = pathlib.Path(function["filenames"][file])
            if kind == CODE and name.is_relative_to(root / "core/src") and not name.is_relative_to(root / "core/src/testing"):
                place = (str(name.relative_to(root)), line, column, end_line, end_column)
                counts[place] += count
    files = collections.defaultdict(lambda: [0, 0])
    for place, count in counts.items():
        files[place[0]][0] += 1
        files[place[0]][1] += count > 0
    print("| file | regions | reached | |\n|---|---|---|---|")
    for name, (regions, reached) in sorted(files.items()):
        print(f"| {name} | {regions} | {reached} | {100 * reached / regions:.1f} % |")
    regions, reached = (sum(column) for column in zip(*files.values()))
    share = 100 * reached / regions
    print(f"| all | {regions} | {reached} | {share:.2f} % |\n")
    for name, line, column, end_line, end_column in sorted(place for place, count in counts.items() if count == 0):
        text = (root / name).read_text().splitlines()[line - 1 : end_line]
        text[-1] = text[-1][: end_column - 1]
        text[0] = text[0][column - 1 :]
        print(f"not reached: {name}:{line}:{column}: {' '.join(part.strip() for part in text)[:100]}")
    if share < float(least):
        sys.exit(f"{share:.2f} % of the regions are reached, and {least} % must be")


main(*sys.argv[1:])
