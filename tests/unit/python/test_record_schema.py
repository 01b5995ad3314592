"""What follows from the fields of a record in C++ is as it should be in the tree."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Dict, List

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "record_schema.py"


@pytest.fixture(scope="module")
def script(native_module: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("record_schema", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_is_out_of_date(native_module: Path) -> None:
    """Else: run scripts/record_schema.py."""
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False
    )
    assert ran.stdout == "" and ran.stderr == "" and ran.returncode == 0


def field(key: str, kind: object, presence: str = "always") -> Dict[str, object]:
    return {"key": key, "type": kind, "text": "what", "presence": presence}


def test_types_of_python(script: ModuleType) -> None:
    for kind, written in (
        ("int", "int"),
        ({"list": {"map": "open_file"}}, "List[OpenFile]"),
        ({"null": "bytes"}, "Optional[bytes]"),
        ({"pair": ["int", "int"]}, "List[int]"),
        ({"pair": ["int", "text"]}, "List[Union[int, str]]"),
        ({"texts": "int"}, "Dict[str, int]"),
        ({"names": ["a", "b"]}, "str"),
        ("any", "Any"),
    ):
        assert script.hint(kind) == written
    assert script.python_class("a_b", [field("x", "int"), field("y", "text", "unusual")]) == (
        "class _AB(TypedDict):\n    x: int\n\n\nclass AB(_AB, total=False):\n    y: str\n"
    )
    # No name of a member in Python.
    assert script.python_class("m", [field("from", "bytes")]) == (
        'M = TypedDict(\n    "M",\n    {\n        "from": bytes,\n    },\n)\n'
    )


def test_tables_of_the_documentation(script: ModuleType) -> None:
    document = (
        "## Open files\n\n<!-- fields: file -->\nold\n<!-- end of fields -->\n"
        "## All\n<!-- fields: all -->\n<!-- end of fields -->\n"
    )
    schema: Dict[str, List[Dict[str, object]]] = {
        "file": [field("path", "text", "later")],
        "all": [field("files", {"list": {"map": "file"}}, "unusual")],
    }
    written = script.document_text(document, schema)
    assert "| `path` | text | what; missing in older files |\n<!-- end" in written
    assert "| `files` | list of [file](#open-files) | *may be missing:* what |" in written
    assert "old\n" not in written
    schema["more"] = []
    with pytest.raises(ValueError, match="more"):
        script.document_text(document, schema)
