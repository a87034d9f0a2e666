"""A recording of half a second that goes through everything a long one does: slices, deadline, provenance."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from taskgroup_core.runs.checkpoint import Checkpoint, Deadline, cached
from taskgroup_core.runs.provenance import measured, provenance
from taskgroup_core.runs.record import Arrays, RunRecord
from taskgroup_core.runs.recordings import Recording
from taskgroup_core.seeds import numpy_generator

SLICES = 6
COMPUTED: list[int] = []  # the slices computed in this process


def run(parameters: Mapping[str, Any], device: torch.device, checkpoint: Checkpoint, deadline: Deadline) -> RunRecord:
    """Means of random draws, one slice of 50 draws at a time."""

    def compute(index: int) -> Arrays:
        time.sleep(float(os.environ.get("TINY_PAUSE", "0")))
        COMPUTED.append(index)
        draws = numpy_generator(parameters["seed"], "tiny", index).normal(size=50)
        return {"draws": draws, "mean": np.float64(draws.mean())}

    with measured(device) as cost:
        slices = [
            cached(checkpoint, f"slice-{index}", lambda index=index: compute(index), deadline)
            for index in range(parameters["slices"])
        ]
    means = np.array([arrays["mean"] for arrays in slices])
    return RunRecord(
        name="whatever",
        parameters=dict(parameters),
        results={"mean": means.mean(), "never_measured": np.nan},
        arrays={"means": means, "draws": np.stack([arrays["draws"] for arrays in slices])},
        provenance=provenance(device, cost, parameters["seed"], flops=float(means.size)),
    )


def tiny(name: str = "tiny", data: tuple[Path, ...] = (), seed: int = 0, entry: str = "seeds") -> Recording:
    return Recording(
        name=name,
        title="means of random draws",
        chapter="none",
        parameters={"seed": seed, "slices": SLICES},
        data=data,
        minutes=0.01,
        memory_gib=0.1,
        flops=300.0,
        entries=(f"taskgroup_core.{entry}",),
        run=run,
    )


if __name__ == "__main__":
    from taskgroup_core.cli import app
    from taskgroup_core.runs import recordings

    recordings.RECORDINGS = (tiny(),)
    app()
