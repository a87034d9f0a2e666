"""Jobs side by side on the cores of a CPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

J = TypeVar("J")
R = TypeVar("R")


def side_by_side(jobs: Iterable[J], run: Callable[[J], R], threads: int) -> Iterator[tuple[J, R]]:
    """Run jobs in threads of one core each, and yield them with their results, in order.

    Small operations gain little from several cores each, while torch lets go of Python's lock in all of them.

    Parameters
    ----------
    jobs : taken one by one, in the calling thread, when a thread is about to need one.
    run : must not draw from torch's global generators where there is more than one thread.
    threads : how many jobs run at a time; 1 runs them in the calling thread, with all of torch's threads.
    """
    if threads == 1:
        yield from ((job, run(job)) for job in jobs)
        return
    before = torch.get_num_threads()
    waiting: deque[tuple[J, Future[R]]] = deque()
    with ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1)) as pool:
        try:
            for job in jobs:
                waiting.append((job, pool.submit(run, job)))
                if len(waiting) > threads:
                    done, result = waiting.popleft()
                    yield done, result.result()
            while waiting:
                done, result = waiting.popleft()
                yield done, result.result()
        finally:
            for _, future in waiting:
                future.cancel()
            torch.set_num_threads(before)  # the threads' own setting changed that of the linear algebra library too
