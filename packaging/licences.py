"""Collects the licences of what is built into the program: `cargo metadata` on stdin, a directory as argument."""

import json
import pathlib
import shutil
import sys

# What is built in and no package: parts of the page.
VENDORED = sorted((pathlib.Path(__file__).parent.parent / "runtime-smol/src/page/vendor").glob("*/LICENSE"))

NAMES = ("license", "licence", "copying", "notice", "unlicense", "copyright")


def main() -> None:
    metadata = json.load(sys.stdin)
    out = pathlib.Path(sys.argv[1])
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    program = next(id for id, package in packages.items() if package["name"] == "causerie")

    # What is linked: normal dependencies, and theirs. Build scripts, macros' own and tests' are not shipped.
    linked, todo = set(), [program]
    while todo:
        id = todo.pop()
        if id in linked:
            continue
        linked.add(id)
        for dependency in nodes[id]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])

    table = []
    for id in linked:
        package = packages[id]
        if package["source"] is None:  # ours
            continue
        name = f"{package['name']}-{package['version']}"
        root = pathlib.Path(package["manifest_path"]).parent
        files = [file for file in sorted(root.iterdir()) if file.is_file() and file.name.lower().startswith(NAMES)]
        if package["license_file"]:
            files.append(root / package["license_file"])
        if not files:
            print(f"{name} brings no licence text; it says: {package['license']}", file=sys.stderr)
        for file in files:
            (out / name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, out / name / file.name)
        table.append(f"{name}\t{package['license'] or 'see its file'}\t{package['repository'] or ''}\n")
    for vendored in VENDORED:
        (out / vendored.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(vendored, out / vendored.parent.name / vendored.name)
        table.append(f"{vendored.parent.name}\tsee its file\t\n")
    out.mkdir(parents=True, exist_ok=True)
    (out / "LIST.tsv").write_text("".join(sorted(table)))
    print(f"licences of {len(table)} packages", file=sys.stderr)


main()
