"""Derive the Debian graph of this folder from the package lists of apt.

    apt-get update                                  # as root: fetch the lists
    python data/debian/derive.py                    # reads `apt-cache dumpavail`, writes beside this script
    python data/debian/derive.py --from dump.txt --out /some/folder

The rule is in README.md, whose table of counts this script writes anew. Same input, same bytes (for one version of
pyarrow, whose name is in every Parquet file).
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import networkx as nx
import pyarrow as pa
import pyarrow.parquet as pq

RELATIONS = ("Depends", "Pre-Depends", "Recommends", "Suggests", "Enhances")
HUB_DEGREE = 400  # packages with more neighbours than this are dropped
CORE = 5
MIN_MEMBERS = 20  # a tag must have as many members left
MARK = "<!-- counts: written by derive.py -->"
NAME = re.compile(r"\s*([a-z0-9][a-z0-9+.-]*)")

Fields = dict[str, str]


def paragraphs(text: str) -> Iterator[Fields]:
    """The fields of each package, continuation lines joined."""
    for block in re.split(r"\n\s*\n", text):
        fields: Fields = {}
        name = ""
        for line in block.splitlines():
            if line[:1].isspace():
                fields[name] += " " + line.strip()
            else:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if "Package" in fields:
            yield fields


def related(package: Fields) -> set[str]:
    """Names in the relation fields: every alternative counts, versions and architectures are stripped."""
    alternatives = (part for field in RELATIONS for part in re.split(r"[,|]", package.get(field, "")))
    return {match.group(1) for match in map(NAME.match, alternatives) if match}


def tag_set(package: Fields) -> set[str]:
    """Debtags of a package."""
    return {tag.strip() for tag in package.get("Tag", "").split(",")} - {""}


def derive(text: str) -> tuple[nx.Graph, dict[str, list[str]], dict[str, int]]:
    """The reduced graph, the members of each tag kept, and the counts of every step for the data card."""
    packages = list(paragraphs(text))
    tags = {package["Package"]: found for package in packages if (found := tag_set(package))}
    graph = nx.Graph()
    for package in packages:
        name = package["Package"]
        if name in tags:
            graph.add_edges_from((name, other) for other in (related(package) & tags.keys()) - {name})
    counts = {
        "packages in the lists": len(packages),
        "packages with a tag": len(tags),
        "of these, with an edge to another": graph.number_of_nodes(),
        "edges": graph.number_of_edges(),
        "tags with at least 100 members": sum(count >= 100 for count in sizes(tags, graph).values()),
    }
    hubs = [name for name, degree in graph.degree if degree > HUB_DEGREE]
    graph.remove_nodes_from(hubs)
    core = nx.k_core(graph, CORE)
    core = core.subgraph(max(nx.connected_components(core), key=lambda nodes: (len(nodes), min(nodes))))
    left = sizes(tags, core)
    kept = sorted(tag for tag, count in left.items() if count >= MIN_MEMBERS and not tag.endswith("::TODO"))
    members = {tag: sorted(name for name in core if tag in tags[name]) for tag in kept}
    counts |= {
        f"hubs dropped (more than {HUB_DEGREE} neighbours)": len(hubs),
        f"nodes of the {CORE}-core's largest component": core.number_of_nodes(),
        "edges there": core.number_of_edges(),
        "tags with at least 100 members there": sum(len(names) >= 100 for names in members.values()),
        f"tags with at least {MIN_MEMBERS} members there (kept)": len(members),
        "memberships kept": sum(map(len, members.values())),
    }
    return core, members, counts


def sizes(tags: dict[str, set[str]], names: Iterable[str]) -> Counter[str]:
    """How many of `names` carry each tag."""
    return Counter(tag for name in names for tag in tags[name])


def write(folder: Path, graph: nx.Graph, members: dict[str, list[str]]) -> dict[str, str]:
    """Write the three tables and SHA256SUMS; nodes are numbered in the order of their names."""
    names = sorted(graph)
    number = {name: index for index, name in enumerate(names)}
    edges = sorted(tuple(sorted((number[a], number[b]))) for a, b in graph.edges)
    memberships = [(tag, number[name]) for tag, found in members.items() for name in found]
    tables = {
        "nodes.parquet": pa.table({"package": pa.array(names, pa.string())}),
        "edges.parquet": pa.table({key: pa.array([e[i] for e in edges], pa.int32()) for i, key in enumerate("uv")}),
        "communities.parquet": pa.table(
            {
                "tag": pa.array([tag for tag, _ in memberships], pa.string()),
                "node": pa.array([node for _, node in memberships], pa.int32()),
            }
        ),
    }
    sums = {}
    for file, table in tables.items():
        pq.write_table(table, folder / file, compression="zstd")
        sums[file] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text("".join(f"{digest}  {file}\n" for file, digest in sums.items()))
    return sums


def main() -> None:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, help="saved output of `apt-cache dumpavail`")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write (default: this one)")
    arguments = parser.parse_args()
    if arguments.source:
        raw = arguments.source.read_bytes()
    else:
        raw = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True).stdout
    graph, members, counts = derive(raw.decode())
    arguments.out.mkdir(parents=True, exist_ok=True)
    sums = write(arguments.out, graph, members)
    rows = [f"| {what} | {count:,} |" for what, count in counts.items()]
    files = [f"| `{file}` | {(arguments.out / file).stat().st_size:,} | `{digest}` |" for file, digest in sums.items()]
    table = "\n".join(
        ["| step | count |", "|---|---:|", *rows, "", "| file | bytes | SHA-256 |", "|---|---:|---|", *files]
    )
    table += f"\n\nInput: {len(raw):,} bytes, SHA-256 `{hashlib.sha256(raw).hexdigest()}`."
    print(table)
    card = arguments.out / "README.md"
    if card.exists():
        before, _, after = card.read_text().split(MARK)
        card.write_text(f"{before}{MARK}\n\n{table}\n\n{MARK}{after}")


if __name__ == "__main__":
    main()
