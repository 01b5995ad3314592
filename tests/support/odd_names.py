"""Names as nobody chooses them."""

from __future__ import annotations

from hypothesis import strategies as st

# What a shell, a terminal, a parser of lines or a decoder might take for something
# else, and any other bytes.
NASTY = (
    b"\n", b"\r", b" ", b"'", b'"', b"$", b"\\", b"\x1b[31m", b"\x7f", b"\xff", b"\xc3(",
    b"\xed\xb3\xbf", b"=", b"%s",
)  # fmt: skip
# Names of files, arguments and the like: any bytes but those that can be in none.
NAMES = st.lists(
    st.one_of(st.sampled_from(NASTY), st.binary(min_size=1, max_size=3)), min_size=1, max_size=8
).map(lambda parts: b"".join(parts).replace(b"\0", b"0").replace(b"/", b"_") + b"x")
# Names of snapshots: a word that can be read.
SNAPSHOTS = st.lists(
    st.one_of(
        st.sampled_from(["'", '"', "$", "\\", "%s", "=", "*", "[", "-x", "~", "..", "ß", "\u6f22"]),
        # Not st.characters(), which leaves a table of all of them in the working directory.
        st.integers(min_value=33, max_value=0x2FFFF).map(chr),
    ),
    min_size=1,
    max_size=8,
).map(
    lambda parts: "".join(c for c in "".join(parts) if c.isprintable() and c not in " /").lstrip(
        "-."
    )
    or "x"
)
