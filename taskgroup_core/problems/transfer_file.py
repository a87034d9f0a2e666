"""One file over HTTP into a part file: a cut transfer is taken up where it stopped, also by the next run."""

from __future__ import annotations

import errno
import http.client
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tqdm import tqdm

from taskgroup_core.errors import DataError
from taskgroup_core.problems.registry import FOLDER_VARIABLE, DataFile

BLOCK = 1 << 18
_CUT = (URLError, http.client.HTTPException, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Transfer:
    """How files are transferred.

    Parameters
    ----------
    attempts : how often a file is asked for, the first time included; each goes on where the last one stopped.
    pause : seconds before the second attempt; each further pause is twice as long.
    timeout : seconds without a byte after which a connection counts as cut.
    progress : whether to show a bar on stderr.
    """

    attempts: int = 4
    pause: float = 1.0
    timeout: float = 30.0
    progress: bool = False

    def into(self, part: Path, file: DataFile, address: str) -> None:
        """Fill `part` with the whole file, whatever of it is there already.

        What is there is kept when the transfer fails or is interrupted. It counts only if the server says that its
        file is still the same, or if a checksum will tell: what two versions of a file make together must not pass.

        Raises
        ------
        DataError : an address that is not HTTP, a file that the server refuses or has in another size, a folder that
            cannot be written, or a connection that failed at the last attempt; the message says what to do.
        """
        if urlsplit(address).scheme not in ("http", "https"):
            raise DataError(address, "an address that is not http or https", "Correct the registry's entry.")
        for attempt in range(self.attempts):
            try:
                self._attempt(part, file, address)
                return
            except HTTPError as error:
                if error.code < 500 and error.code != 429:
                    raise DataError(address, f"the answer {error.code} {error.reason}", _ELSEWHERE) from error
                failure: Exception = error
            except _CUT as error:
                failure = error
            if attempt + 1 < self.attempts:
                time.sleep(self.pause * 2**attempt)
        kept = part.stat().st_size if part.is_file() else 0
        raise DataError(
            address,
            f"no complete transfer in {self.attempts} attempts ({getattr(failure, 'reason', None) or failure})",
            f"Run the same command again: it goes on after the {kept:,} bytes that are here.",
        ) from failure

    def _attempt(self, part: Path, file: DataFile, address: str) -> None:
        version = part.with_name(f"{part.name}.version")
        known = version.read_text(encoding="ascii") if version.is_file() else ""
        with writable(part):
            part.parent.mkdir(parents=True, exist_ok=True)
            start = part.stat().st_size if part.is_file() and (known or file.sha256) else 0
        if start and start == file.size:
            return
        headers = {"User-Agent": "taskgroup", "Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-"} | ({"If-Range": known} if known else {})
        try:
            answer = urlopen(Request(address, headers=headers), timeout=self.timeout)
        except HTTPError as error:
            if error.code != 416:
                raise
            part.unlink()  # what is here is not the beginning of what is there
            raise ConnectionError("the server has no such range") from error
        with answer:
            taken = re.match(r"bytes (\d+)-\d+/", answer.headers.get("Content-Range") or "")
            if answer.status != 206 or not taken or int(taken.group(1)) != start:
                start = 0  # the server ignored the range, or has another version: from the beginning
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length and length.isdecimal() else None
            if None not in (total, file.size) and total != file.size:
                part.unlink(missing_ok=True)
                raise DataError(address, f"a file of {total:,} bytes in place of {file.size:,}", _ELSEWHERE)
            with writable(part):
                version.write_text(_version(answer.headers), encoding="ascii")
            self._stream(answer, part, start, total or file.size)

    def _stream(self, answer: http.client.HTTPResponse, part: Path, start: int, total: int | None) -> None:
        bar = tqdm(
            total=total,
            initial=start,
            desc=part.stem,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            disable=not self.progress,
        )
        done = start
        with bar, writable(part), part.open("ab" if start else "wb") as file:
            while block := answer.read1(BLOCK):  # what there is: a stall loses nothing
                done += len(block)
                if total is not None and done > total:
                    raise ConnectionError("more bytes than announced")
                file.write(block)
                bar.update(len(block))
        if total is not None and done < total:
            raise ConnectionError(f"cut after {done:,} of {total:,} bytes")


_ELSEWHERE = "The publisher has moved or changed the file: see the data card for its home page."


def _version(headers: http.client.HTTPMessage) -> str:
    """What names this version of the file for If-Range: a strong entity tag or a date; empty where there is none."""
    tag = headers.get("ETag") or ""
    found = tag if tag.startswith('"') else headers.get("Last-Modified") or ""
    return found if found.isascii() else ""


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """A folder that cannot be written becomes a DataError; a failing connection stays what it is.

    Raises
    ------
    DataError : no permission, or no room, for the file at `path`, or a folder of its name.
    """
    try:
        yield
    except (IsADirectoryError, FileExistsError) as error:
        raise DataError(str(path), "a folder in place of a file", "Remove or rename it.") from error
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR):
            raise
        remedy = f"Make room there, or choose another data folder with {FOLDER_VARIABLE}."
        raise DataError(str(path.parent), error.strerror or str(error), remedy) from error
