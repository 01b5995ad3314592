"""The examples of docs/scripting.md do what the text says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import gdbext
import pytest
from support.offline import Scene

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "scripting.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_all_examples_run(scene: Callable[..., Scene], capsys: pytest.CaptureFixture[str]) -> None:
    made = scene()
    made.save("before")
    made.change()
    made.save("after")
    for example in EXAMPLES:
        exec(compile(example, "docs/scripting.md", "exec"), {})
        assert capsys.readouterr().out, example
    assert len(EXAMPLES) >= 4


def test_every_error_is_described() -> None:
    for name in gdbext.__all__:
        if name.endswith("Error"):
            assert f"| `{name}` |" in TEXT
