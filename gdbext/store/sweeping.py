"""What a collection removes from a store: kept files that no snapshot needs, and what was left
behind by killed processes. The store is locked meanwhile: no save or restore uses it.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path
from typing import AbstractSet, List, Mapping, Tuple

from . import overlay

# What is in scratch/ belongs to a process: of this machine, or of another one with the same store,
# whose ids mean nothing here.
_SCRATCH_S = 7 * 86400
_SCRATCH = re.compile(r"(?:sysroot|overlay|core|live)-(\d+)(?:-\d+)?(?:\.ckpt)?")


def scratch(directory: Path) -> None:
    """Remove what processes that are gone have left in scratch/."""
    for path in _entries(directory):
        match = _SCRATCH.fullmatch(path.name)
        if match is None or os.path.exists(f"/proc/{match[1]}"):
            continue
        if path.lstat().st_mtime > time.time() - _SCRATCH_S:
            continue
        if path.is_dir() and not path.is_symlink():
            overlay.remove(path)
        else:
            path.unlink(missing_ok=True)


def objects(directory: Path, needed: Mapping[str, AbstractSet[str]]) -> Tuple[int, int]:
    """Remove the contents in objects/ that are not `needed` (by hash, under these names; "" for
    any), and what did not become complete. The number of contents, and the bytes freed.
    """
    count = freed = 0
    for group in _directories(directory):
        for content in _directories(group):
            names = needed.get(content.name)
            if names is not None and "" in names:
                continue
            for path in _entries(content):
                if names is None or path.name not in names:
                    freed += _removed(path)
            if names is None:
                shutil.rmtree(content, ignore_errors=True)
                count += 1
        try:
            group.rmdir()
        except OSError:
            pass  # not empty: others in this group are still needed
    return count, freed


def _removed(path: Path) -> int:
    """Remove a file; the bytes freed."""
    try:
        freed = path.lstat().st_blocks * 512
        path.unlink()
    except OSError:
        return 0  # a directory, or not ours to remove
    return freed


def index(directory: Path, needed: AbstractSet[str]) -> int:
    """Remove what the native module noted of files whose content is no longer kept."""
    freed = 0
    for entry in _entries(directory):
        try:
            if entry.read_text(encoding="ascii", errors="replace") not in needed:
                freed += entry.lstat().st_blocks * 512
                entry.unlink()
        except OSError:
            pass  # a file that is not ours to read: it stays
    return freed


def _directories(path: Path) -> List[Path]:
    return [each for each in _entries(path) if each.is_dir() and not each.is_symlink()]


def _entries(path: Path) -> List[Path]:
    try:
        return sorted(path.iterdir())
    except FileNotFoundError:
        return []
