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


def side_by_side(jobs: Iterable[J], run: Callable[[J], R], threads: int) -> Iterator[R]:
    """Run jobs in threads of one core each, and yield their results, in order; no job is kept that has been run.

    Small operations gain little from several cores each, while torch lets go of Python's lock in all of them.

    Parameters
    ----------
    jobs : taken one by one, in the calling thread, when a thread is about to need one.
    run : must not draw from torch's global generators where there is more than one thread.
    threads : how many jobs run at a time; 1 runs them in the calling thread, with all of torch's threads.
    """
    if threads == 1:
        yield from map(run, jobs)  # which holds no job, as the variable of a loop would, while the next is made
        return
    before = torch.get_num_threads()
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1)) as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(run, job))
                del job
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            torch.set_num_threads(before)  # the threads' own setting changed that of the linear algebra library too
