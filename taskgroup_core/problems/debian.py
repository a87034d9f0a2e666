"""Debian's package dependency graph with debtags as communities: the data that comes with the project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from taskgroup_core.errors import InputError
from taskgroup_core.problems.communities import (
    CommunityGraph,
    community_problem,
    largest_communities,
    select_communities,
)
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.registry import embedded, shipped

TABLES = ("nodes", "edges", "communities")
DATASETS = (
    shipped(
        "debian",
        "Debian's package dependencies with debtags",
        "facts from Debian's package lists; none stated",
        *(f"{table}.parquet" for table in TABLES),
    ),
)
# Tags of one field describe neighbouring packages: relations to be found again, each tag with a partner.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "games": ("use::gameplaying", "uitoolkit::sdl"),
    "sound": ("works-with::audio", "use::playing"),
    "desktops": ("suite::kde", "suite::gnome"),
    "documents": ("works-with::text", "use::editing"),
    "pictures": ("works-with::image", "use::viewing"),
    "servers": ("interface::daemon", "network::server"),
}
TEACHING_TAGS = tuple(tag for tags in FIELDS.values() for tag in tags)
SMOKE_TAGS = FIELDS["games"] + FIELDS["sound"] + FIELDS["desktops"]


def load_debian(
    *, min_members: int = 20, max_members: int | None = None, folder: str | Path | None = None
) -> CommunityGraph:
    """Debian 12's dependency graph, one community per debtag; see data/debian/README.md.

    Parameters
    ----------
    min_members, max_members : sizes of the tags to keep, both included; 20 keeps all that are frozen, None sets no
        upper limit. All nodes stay.
    folder : where the frozen files are; see `embedded`.

    Raises
    ------
    InputError : no tag of such a size.
    DataError : a file that is missing, or whose SHA-256 is not the recorded one.
    """
    place = embedded("debian", folder)
    nodes, edges, communities = (pd.read_parquet(place / f"{name}.parquet") for name in TABLES)
    members = {tag: np.sort(found.to_numpy(dtype=np.int64)) for tag, found in communities.groupby("tag")["node"]}
    most = np.inf if max_members is None else max_members
    kept = [tag for tag, found in members.items() if min_members <= len(found) <= most]
    if not kept:
        raise InputError(
            "min_members, max_members",
            f"no tag with {min_members} to {max_members} members",
            f"The tags have {min(map(len, members.values()))} to {max(map(len, members.values()))}.",
        )
    return CommunityGraph(
        "Debian",
        len(nodes),
        edges.to_numpy(dtype=np.int64),
        tuple(members[tag] for tag in kept),
        tuple(str(tag) for tag in kept),
    )


def debian_problem(
    tags: int | Sequence[str],
    *,
    min_members: int = 20,
    max_members: int | None = None,
    folder: str | Path | None = None,
    **options: Any,
) -> Problem:
    """One task per debtag, on the dependency graph among the packages that carry one of these tags.

    Parameters
    ----------
    tags : names of tags (such as `TEACHING_TAGS` or `SMOKE_TAGS`), or a number: that many of the largest tags.
    min_members, max_members, folder : which tags come into question and where they are; see `load_debian`.
    options : of `community_problem`: n_features, hops, width, dropout, positives, negatives, validation, seed.

    Raises
    ------
    InputError : an unknown tag, or see `community_problem`.
    DataError : see `load_debian`.
    """
    graph = load_debian(min_members=min_members, max_members=max_members, folder=folder)
    if isinstance(tags, int):
        return community_problem(largest_communities(graph, tags), **options)
    unknown = [tag for tag in tags if tag not in graph.names]
    if unknown:
        near = get_close_matches(unknown[0], graph.names, cutoff=0)
        raise InputError("tags", repr(unknown[0]), f"Use tags of load_debian().names, such as {', '.join(near)}.")
    return community_problem(select_communities(graph, [graph.names.index(tag) for tag in tags]), **options)
