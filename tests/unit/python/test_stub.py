"""_native.pyi says of the native module what is so:
mypy believes it, and nothing else compares them.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from gdbext import native

STUB = Path(native.__file__).with_name("_native.pyi")


def parameters(function: ast.FunctionDef) -> list[tuple[str, bool]]:
    """The names of a function's parameters, each with whether it may be left out."""
    names = [argument.arg for argument in function.args.args]
    required = len(names) - len(function.args.defaults)
    return [(name, place >= required) for place, name in enumerate(names)]


def told_by(value: Any) -> list[tuple[str, bool]]:
    """The same of a function of the module: pybind11 writes its signature above its text."""
    signature = (value.__doc__ or "").split("\n")[0]
    # List[Tuple[int, int]]
    text = re.sub(r"\[[^\]]*\]", "", re.sub(r"\[[^\[\]]*\]", "", signature))
    inside = text[text.index("(") + 1 : text.rindex(")")]
    found = []
    for each in filter(None, (part.strip() for part in inside.split(","))):
        if not each.startswith("*"):
            found.append((each.partition(":")[0].strip(), "=" in each))
    return found


@pytest.fixture(scope="module")
def module(native_module: Path) -> Any:
    return native.core


def classes_and_functions(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    return {
        node.name: node
        for node in body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    }


def is_table(node: ast.stmt) -> bool:
    """Whether it is a TypedDict, or derived from one: there is nothing of it in the module."""
    return isinstance(node, ast.ClassDef) and any(
        ast.unparse(base).startswith(("TypedDict", "_", "record_types."))
        for base in node.bases
    )


def constants(body: list[ast.stmt]) -> set[str]:
    return {
        node.target.id
        for node in body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def test_names(module: Any) -> None:
    stub = classes_and_functions(ast.parse(STUB.read_text()).body)
    declared = {name for name, node in stub.items() if not is_table(node)}
    declared |= constants(ast.parse(STUB.read_text()).body)
    assert declared == {name for name in vars(module) if not name.startswith("_")}


def test_parameters(module: Any) -> None:
    for name, node in classes_and_functions(ast.parse(STUB.read_text()).body).items():
        if isinstance(node, ast.FunctionDef):
            assert (name, parameters(node)) == (name, told_by(getattr(module, name)))


def test_methods(module: Any) -> None:
    for name, node in classes_and_functions(ast.parse(STUB.read_text()).body).items():
        if not isinstance(node, ast.ClassDef) or is_table(node) or name == "NativeError":
            continue
        real = getattr(module, name)
        methods = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
        public = {each for each in vars(real) if not each.startswith("_")}
        assert {each for each in methods if not each.startswith("_")} == public
        for each, method in methods.items():
            if not method.decorator_list and not method.args.vararg:
                assert parameters(method) == told_by(getattr(real, each)), each
