"""`python -m taskgroup_core`: the command line."""

from taskgroup_core.cli import app

if __name__ == "__main__":
    app(prog_name="taskgroup")
