"""Hashes of files and of code, to tell whether a stored result still belongs to what is there now."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path

from taskgroup_core.errors import DataError, InputError


def file_hash(path: Path | str) -> str:
    """The SHA-256 of a file, in hex.

    Raises
    ------
    DataError : no such file.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(str(path), error.strerror or "no readable file", "Restore the file.") from error


def code_hash(package: Path | str, modules: Iterable[Path] | None = None) -> str:
    """The SHA-256 of Python code as it runs: comments, docstrings and layout do not count.

    Parameters
    ----------
    package : the package's folder.
    modules : files inside it; by default every .py file.

    Raises
    ------
    DataError : a file that cannot be read or parsed.
    InputError : no .py file at all.
    """
    folder = Path(package)
    files = sorted(folder.rglob("*.py") if modules is None else modules)
    if not files:
        raise InputError("package", f"no .py file in {folder}", "Give the folder of a Python package.")
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(folder).as_posix()}\n{_structure(_parse(file))}\n".encode())
    return digest.hexdigest()


def modules_behind(package: Path | str, entry: str) -> list[Path]:
    """The files that the module `entry` imports from its own package, directly or through others, and itself.

    Imports inside functions count too; imports by a computed name (`importlib.import_module`) are not seen.

    Parameters
    ----------
    package : the package's folder; its name is the package's name.
    entry : dotted name of the module, such as "taskgroup_core.runs.experiment".

    Raises
    ------
    InputError : no such module.
    """
    folder = Path(package)
    if not _files(folder, entry):
        raise InputError("entry", repr(entry), f"Name a module of {folder.name}.")
    found: set[Path] = set()
    names = [entry]
    while names:
        new = set(_files(folder, names.pop())) - found
        found |= new
        for file in new:
            names += _imports(folder, file)
    return sorted(found)


def _parse(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError) as error:
        raise DataError(str(file), str(error), "Repair the module.") from error


def _structure(node: object) -> str:
    # Not ast.dump: its text differs between Python versions, and a record made on one is checked on another.
    # Fields without content are left out for the same reason: newer versions add some.
    if isinstance(node, list):
        return "[" + ",".join(_structure(entry) for entry in node) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    if documented and ast.get_docstring(node, clean=False) is not None:  # type: ignore[arg-type]
        fields["body"] = fields["body"][1:]
    if isinstance(node, ast.JoinedStr):
        # Python 3.12 ends some format specifications with an empty constant.
        fields["values"] = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
    content = (f"{key}={_structure(value)}" for key, value in fields.items() if value is not None and value != [])
    return f"{type(node).__name__}({','.join(content)})"


def _files(folder: Path, name: str) -> list[Path]:
    """The file of the module with that dotted name and the __init__.py of the packages above it; [] if it has none."""
    first, *parts = name.split(".")
    if first != folder.name:
        return []
    module = folder.joinpath(*parts)
    own = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
    if not own.is_file():
        return []
    above = (folder.joinpath(*parts[:depth]) / "__init__.py" for depth in range(len(parts)))
    return [own, *(file for file in above if file.is_file())]


def _imports(folder: Path, file: Path) -> list[str]:
    package = [folder.name, *file.relative_to(folder).parent.parts]
    names = []
    for node in ast.walk(_parse(file)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return names
