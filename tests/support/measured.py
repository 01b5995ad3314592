"""What the tests do for `./test.sh coverage`: see scripts/coverage.sh."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# What it sets.
_VARIABLES = ("CKPT_TEST_COVERAGE", "GCOV_ERROR_FILE", "GCOV_PREFIX", "PYTHONPATH")


def is_measured() -> bool:
    """Whether the tests run for their coverage."""
    return _VARIABLES[0] in os.environ


def variables() -> dict[str, str]:
    """What a process that is measured needs in its environment; nothing in other runs."""
    if not is_measured():
        return {}
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def python_path(*places: Path) -> str:
    """PYTHONPATH for a Python that is to import what is in `places`, and is measured."""
    return os.pathsep.join([*map(str, places), *variables().get("PYTHONPATH", "").split()])


def isolated() -> list[str]:
    """How programs of the package are run that shall know nothing of their environment; but who is
    measured must.
    """
    return [] if is_measured() else ["-I", "-S"]


def begin_counters() -> None:
    """Processes that start from here on add to counters of their own: one that is killed while it
    writes, or meets a limit, spoils these only.
    """
    if not is_measured():
        return
    data = Path(os.environ["CKPT_TEST_COVERAGE"]).parent
    place = Path(tempfile.mkdtemp(dir=data / "native"))
    place.chmod(0o755)
    # Users count together: the files are there, for all to write, from the beginning.
    for name in (data / "counters").read_text().splitlines():
        counters = place / name.lstrip("/")
        counters.parent.mkdir(parents=True, exist_ok=True)
        counters.touch()
        counters.chmod(0o666)
    os.environ["GCOV_PREFIX"] = str(place)
