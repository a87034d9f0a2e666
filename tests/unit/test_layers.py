import subprocess
import sys
from pathlib import Path

from taskgroup_core.runs.provenance import ROOT

LINTER = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINTER), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_imports_run_only_downwards() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_contract_notices_an_import_upwards(tmp_path: Path) -> None:
    package = tmp_path / "taskgroup_core"
    for name in ("runs", "affinity", "gradients", "training", "problems", "grouping", "models", "report"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").touch()
    for name in ("__init__", "cli", "metrics", "examples", "scores", "algorithm", "matrices", "subsets", "tasks"):
        (package / f"{name}.py").touch()
    for name in ("flops", "seeds", "device", "checks", "errors", "__main__"):
        (package / f"{name}.py").touch()
    (package / "grouping" / "sdp.py").write_text("import taskgroup_core.affinity\n")
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(contract, encoding="utf-8")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "taskgroup_core.grouping.sdp -> taskgroup_core.affinity" in done.stdout


def test_no_module_is_long() -> None:
    files = (ROOT / "taskgroup_core").rglob("*.py")
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > 200} == {}
