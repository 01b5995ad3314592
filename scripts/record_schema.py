#!/usr/bin/python3
"""Writes what follows from the fields of a snapshot's record (native/image/fields.hpp): the tables
in docs/format.md and the types in gdbext/record_types.py.

    scripts/record_schema.py            both
    scripts/record_schema.py --check    changes nothing; fails if one of them is out of date

A table replaces what stands between these two lines, below the heading that other tables link to:

    <!-- fields: NAME -->
    <!-- end of fields -->
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gdbext import native  # noqa: E402

DOCUMENT = ROOT / "docs" / "format.md"
TYPES = ROOT / "gdbext" / "record_types.py"
TABLE = re.compile(r"(<!-- fields: (\w+) -->\n).*?(<!-- end of fields -->)", re.DOTALL)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)

Schema = Mapping[str, List[Dict[str, Any]]]

PLAIN = {"int": "int", "bool": "bool", "float": "float", "text": "str", "bytes": "bytes"}
HEAD = '''"""The maps of a snapshot's record, as `native.core.read_record` gives them: what can be
missing in older files is there, too. Written by scripts/record_schema.py; docs/format.md says what
they mean.

For the type checker alone: import it below `if TYPE_CHECKING`.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, TypedDict
'''


# -- types for Python -----------------------------------------------------------------------------


def class_name(name: str) -> str:
    """ "open_file" becomes "OpenFile"."""
    return "".join(word.capitalize() for word in name.split("_"))


def hint(kind: Any) -> str:
    """A type as Python writes it."""
    if isinstance(kind, str):
        return PLAIN.get(kind, "Any")
    ((form, inner),) = kind.items()
    if form == "list":
        return f"List[{hint(inner)}]"
    if form == "null":
        return f"Optional[{hint(inner)}]"
    if form == "pair":
        kinds = list(dict.fromkeys(hint(each) for each in inner))
        return f"List[{kinds[0]}]" if len(kinds) == 1 else f"List[Union[{', '.join(kinds)}]]"
    if form == "texts":
        return f"Dict[str, {hint(inner)}]"
    if form == "map":
        return class_name(inner)
    return "str" if form == "names" else "Any"


def python_class(name: str, fields: List[Dict[str, Any]]) -> str:
    """The TypedDict of a map, of those keys that are always there and of all."""

    def members(presence: bool) -> str:
        found = [each for each in fields if (each["presence"] != "unusual") is presence]
        return "".join(f"    {each['key']}: {hint(each['type'])}\n" for each in found)

    if any(not each["key"].isidentifier() or each["key"] == "from" for each in fields):
        pairs = "".join(f"        \"{each['key']}\": {hint(each['type'])},\n" for each in fields)
        optional = any(each["presence"] == "unusual" for each in fields)
        total = ",\n    total=False" if optional else ""
        made = class_name(name)
        return f'{made} = TypedDict(\n    "{made}",\n    {{\n{pairs}    }}{total},\n)\n'
    always, unusual = members(True), members(False)
    if not unusual:
        return f"class {class_name(name)}(TypedDict):\n{always}"
    base = f"_{class_name(name)}"
    return (
        f"class {base}(TypedDict):\n{always}\n\n"
        f"class {class_name(name)}({base}, total=False):\n{unusual}"
    )


def types_text(schema: Schema) -> str:
    """The whole module."""
    return HEAD + "".join(f"\n\n{python_class(name, schema[name])}" for name in sorted(schema))


# -- tables ---------------------------------------------------------------------------------------


def anchor_of(heading: str) -> str:
    """The name by which a heading is linked to."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def anchors_in(document: str) -> Dict[str, str]:
    """By the name of a map: the anchor of the heading that its table stands below."""
    found = {}
    for table in TABLE.finditer(document):
        heading = HEADING.findall(document, 0, table.start())[-1]
        found[table.group(2)] = anchor_of(heading)
    return found


def words(kind: Any, anchors: Mapping[str, str]) -> str:
    """A type as the documentation writes it."""
    if isinstance(kind, str):
        return kind
    ((form, inner),) = kind.items()
    if form == "list":
        return f"list of {words(inner, anchors)}"
    if form == "null":
        return f"{words(inner, anchors)} or null"
    if form == "pair":
        return "[" + ", ".join(words(each, anchors) for each in inner) + "]"
    if form == "texts":
        return f"map of text to {words(inner, anchors)}"
    if form == "map":
        return f"[{inner.replace('_', ' ')}](#{anchors[inner]})"
    if form == "names":
        return ", ".join(f"`{each}`" for each in inner)
    if form == "either":
        return " or ".join(words(each, anchors) for each in inner)
    return "; ".join(f"`{name}`: {words(each, anchors)}" for name, each in inner.items())


def row(field: Mapping[str, Any], anchors: Mapping[str, str]) -> str:
    """A line of a table."""
    text = field["text"]
    if field["presence"] == "later":
        text += ("; missing in" if text else "missing in") + " older files"
    if field["presence"] == "unusual":
        text = f"*may be missing:* {text}"
    kind = words(field["type"], anchors)
    return f"| `{field['key']}` | {kind} | {text} |\n"


def document_text(document: str, schema: Schema) -> str:
    """The document with all tables as they should be. Raises ValueError."""
    anchors = anchors_in(document)
    wrong = set(anchors) ^ set(schema)
    if wrong:
        raise ValueError(f"docs/format.md: these have no table, or are no maps: {sorted(wrong)}")

    def table(match: "re.Match[str]") -> str:
        rows = "".join(row(each, anchors) for each in schema[match.group(2)])
        return f"{match.group(1)}| key | type | content |\n|---|---|---|\n{rows}{match.group(3)}"

    return TABLE.sub(table, document)


def main(arguments: List[str]) -> int:
    """Exit status 1: with --check something is out of date."""
    check = "--check" in arguments
    schema = native.core.record_schema()
    wanted = {
        DOCUMENT: document_text(DOCUMENT.read_text(encoding="utf-8"), schema),
        TYPES: types_text(schema),
    }
    stale = [
        path
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'is out of date' if check else 'written'}")
        if not check:
            path.write_text(wanted[path], encoding="utf-8")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
