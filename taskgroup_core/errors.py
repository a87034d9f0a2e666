"""The errors this package raises on bad input: each names the argument, what was found and the remedy."""


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


class DataError(InputError):
    """A data file that is missing, truncated, altered or malformed; `argument` is the file (and line)."""


class MissingExtra(ImportError):
    """An optional dependency that is absent: the message names the extra to install."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: run  pip install 'taskgroup_core[{extra}]'")
