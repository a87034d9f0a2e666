"""One process at a time in a folder."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What file systems answer that lock no folder, network file systems among them: there everybody is let in.
_NO_LOCKS = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def locked(folder: Path, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a folder, which ends with the block or, however it ends, with the process.

    Parameters
    ----------
    folder : exists. The lock is the folder's own, so no file has to lie in it. Windows has none: everybody is let in.
    shared : among those who only read.
    wait : for the process that holds the lock.

    Raises
    ------
    BlockingIOError : another process holds it, and `wait` is False.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        os.close(handle)
