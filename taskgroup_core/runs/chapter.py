"""What a chapter of the book calls first: its parameters checked, its size chosen, its figures saved."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import torch

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError, MissingExtra
from taskgroup_core.seeds import derive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from taskgroup_core.runs.record import RunRecord

Scale = Literal["smoke", "embedded", "paper"]
SCALES: tuple[Scale, ...] = get_args(Scale)
FIGURES = "TASKGROUP_FIGURES"

T = TypeVar("T")

_STANDARD = ("scale", "seed", "device")
_IPYTHON = frozenset({"In", "Out"})
_BEGUN = "_taskgroup_begun"

# White and opaque, because a transparent figure vanishes on a dark page; colours of Okabe and Ito, which remain
# apart for colour-blind readers.
_STYLE: dict[str, Any] = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.bbox": "tight",
    "figure.figsize": (6.8, 4.0),
    "figure.dpi": 120,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "image.cmap": "viridis",
    "pdf.fonttype": 42,  # TrueType: text in a PDF stays text
}
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True)
class Chapter:
    """The checked standard parameters of a chapter.

    Parameters
    ----------
    scale : "smoke", "embedded" or "paper".
    seed : non-negative integer from which every random stream of the chapter is derived.
    device : where networks train.
    """

    scale: Scale
    seed: int
    device: torch.device

    def choose(self, *, smoke: T, embedded: T, paper: T) -> T:
        """The value that belongs to the chapter's scale."""
        return {"smoke": smoke, "embedded": embedded, "paper": paper}[self.scale]

    def save(self, figure: Figure, name: str, *records: RunRecord) -> None:
        """Write a figure as NAME.png and NAME.pdf into the folder that the variable TASKGROUP_FIGURES names, if set.

        Below the figure stand the ids of the run records that it shows, if any.

        Raises
        ------
        InputError : a name that is not a plain file name.
        """
        if not name or Path(name).name != name:
            raise InputError("name", repr(name), "Give a plain file name without folder and ending.")
        if records:
            label = f"run record{'s' * (len(records) > 1)} {', '.join(record.id for record in records)}"
            figure.supxlabel(label, fontsize=6, x=0.99, ha="right", color="grey")
        folder = os.environ.get(FIGURES)
        if not folder:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        # Without a creation date in the file, an unchanged figure is an unchanged file.
        figure.savefig(Path(folder) / f"{name}.png", metadata={"Software": None})
        figure.savefig(Path(folder) / f"{name}.pdf", metadata={"CreationDate": None})


def begin(namespace: MutableMapping[str, Any], declared: Sequence[str] = _STANDARD) -> Chapter:
    """Check a notebook's parameters and return the chapter; called with `globals()` right after the parameters cell.

    Whatever simple value the notebook holds at that point came from the parameters cell or from papermill, so a name
    that is not declared is a misspelt parameter. A second call in the same kernel leaves that check out, because
    by then later cells have put names of their own there.

    Parameters
    ----------
    namespace : the notebook's `globals()`.
    declared : names of the notebook's parameters; "scale", "seed" and "device" are always among them.

    Raises
    ------
    InputError : a name that is not declared, a declared one that is missing, or a value that cannot be used.
    MissingExtra : matplotlib is absent.
    """
    names = list(dict.fromkeys([*_STANDARD, *declared]))
    if _BEGUN not in namespace:
        check_names([name for name, value in namespace.items() if _is_parameter(name, value)], names)
    for name in names:
        if name not in namespace:
            raise InputError(name, "no such parameter in the notebook", "Set it in the parameters cell.")
    chapter = Chapter(check_scale(namespace["scale"]), namespace["seed"], resolve_device(namespace["device"]))
    derive(chapter.seed)  # refuses a seed that is not a non-negative integer
    _style_figures()
    namespace[_BEGUN] = True
    return chapter


def check_scale(scale: str) -> Scale:
    """Return a scale after checking that there is one of that name.

    Raises
    ------
    InputError : an unknown scale.
    """
    for known in SCALES:
        if scale == known:
            return known
    raise InputError("scale", repr(scale), f"Use one of {', '.join(SCALES)}.")


def check_names(given: Sequence[str] | Mapping[str, Any], declared: Sequence[str]) -> None:
    """Check that every given parameter is declared.

    Raises
    ------
    InputError : one that is not; the message names the declared one it resembles most.
    """
    for name in given:
        if name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            remedy = f"Did you mean {close[0]!r}?" if close else f"Use {', '.join(declared)}."
            raise InputError(f"parameter {name!r}", "a name that the notebook does not declare", remedy)


def _is_parameter(name: str, value: Any) -> bool:
    return not (name.startswith("_") or name in _IPYTHON or isinstance(value, ModuleType) or callable(value))


def _style_figures() -> None:
    try:
        from cycler import cycler
        from matplotlib import style
    except ImportError as error:
        raise MissingExtra("matplotlib", "notebooks") from error
    style.use({**_STYLE, "axes.prop_cycle": cycler(color=_COLOURS)})
