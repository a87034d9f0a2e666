"""The errors this package raises on bad input: each names the argument, what was found and the remedy."""

from __future__ import annotations


class InputError(ValueError):
    """An argument that cannot be used.

    Parameters
    ----------
    argument : name of the offending argument, as the caller wrote it.
    found : what was found there, in words.
    remedy : what to do about it, as an imperative sentence.
    """

    def __init__(self, argument: str, found: str, remedy: str) -> None:
        super().__init__(f"{argument}: found {found}. {remedy}")
        self.argument, self.found, self.remedy = argument, found, remedy

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        return type(self), (self.argument, self.found, self.remedy)  # it must survive the way out of a process


class DataError(InputError):
    """A data file that is missing, truncated, altered or malformed; `argument` is the file (and line)."""


class MissingExtra(ImportError):
    """An optional dependency that is absent: the message names the extra to install."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: run  pip install 'taskgroup_core[{extra}]'")
        self.package, self.extra = package, extra

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        return type(self), (self.package, self.extra)
