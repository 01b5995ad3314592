"""A source distribution, a wheel built from it and installed for GDB's Python,
and the commands from there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def run(*command: str | Path, **more: object) -> str:
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in command], capture_output=True, text=True, check=False, **more
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def distribution(source: Path, directory: Path) -> Path:
    """The source distribution of a checkout."""
    copy = directory / "source"
    left_out = shutil.ignore_patterns(
        "build", "build-*", ".git", "__pycache__", "*.egg-info", ".mypy_cache", ".hypothesis"
    )
    shutil.copytree(source, copy, ignore=left_out)
    run("/usr/bin/python3", "setup.py", "-q", "sdist", "-d", directory / "dist", cwd=copy)
    shutil.rmtree(copy)
    (made,) = (directory / "dist").iterdir()
    return made


def test_the_source_distribution_is_complete(tmp_path: Path, project_root: Path) -> None:
    """Every file of the parts that a build takes."""
    tracked = [
        path.relative_to(project_root)
        for part in ("cmake", "docs", "gdbext", "man", "native", "restart", "scripts")
        for path in (project_root / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    ]
    with tarfile.open(distribution(project_root, tmp_path)) as archive:
        held = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    assert sorted({*tracked, Path("CMakeLists.txt"), Path("LICENSE")} - held) == []


def test_pip_install(
    request: pytest.FixtureRequest, tmp_path: Path, project_root: Path, build_dir: Path
) -> None:
    """Package, native module and programs; GDB loads the installed ones and not the
    checkout's. Nothing is downloaded.
    """
    venv = tmp_path / "venv"
    run("/usr/bin/python3", "-m", "venv", "--system-site-packages", venv)
    offline = ["--no-build-isolation", "--no-deps", "--no-index"]
    building = {**os.environ}
    if request.config.getoption("ways") != "all":
        # Compiling is most of a minute of both cores, and these sources have been compiled.
        launcher = f"/usr/bin/python3;{project_root}/tests/support/compiled.py;{build_dir}"
        building["CMAKE_ARGS"] = f"'-DCMAKE_CXX_COMPILER_LAUNCHER={launcher}'"
    wheels = tmp_path / "wheels"
    run(
        venv / "bin/pip", "wheel", *offline, "-w", wheels, distribution(project_root, tmp_path),
        env=building,
    )  # fmt: skip
    (wheel,) = wheels.glob("gdb_ckpt-*-linux_x86_64.whl")
    run(venv / "bin/pip", "install", *offline, wheel)

    load = next(venv.glob("lib/python*/site-packages/gdbext/load.py"))
    package = project_root / "gdbext"
    modules = {path.relative_to(package) for path in package.rglob("*.py")}
    assert modules == {path.relative_to(load.parent) for path in load.parent.rglob("*.py")}
    environment = {**os.environ, "CKPT_DIR": str(tmp_path / "store")}
    program = build_dir / "tests/programs/compute"
    shown = run(
        "gdb", "-nx", "-q", "-batch", "-ex", f"source {load}", "-ex", "break main", "-ex", "run 1",
        "-ex", "ckpt save installed", "-ex", "ckpt restore installed", "-ex", "bt",
        "-ex", "python import gdbext; print(gdbext.__file__)", "-ex", "kill", program,
        env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert 'Saved "installed"' in shown and 'Restored "installed"' in shown, shown
    assert str(venv) in shown and "main (argc=2" in shown.partition("Restored")[2], shown

    image = tmp_path / "store/snapshots/installed.ckpt"
    line = tmp_path / "line"
    line.write_text("\n")
    assert "PASS" in run(
        venv / "bin/ckpt-restart", "--stdin", line, image, env=environment, cwd=tmp_path
    )

    # pytest finds the plugin by itself.
    (tmp_path / "test_it.py").write_text(
        "def test_it(replay):\n    assert replay('installed').where.function == 'main'\n"
    )
    assert "1 passed" in run(
        venv / "bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py",
        env=environment, cwd=tmp_path,
    )  # fmt: skip

    running = subprocess.Popen(
        [program, "3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert running.stdin is not None and running.stdout is not None
    while "READY" not in running.stdout.readline():
        assert running.poll() is None
    image = tmp_path / "alone.ckpt"
    assert "Saved" in run(venv / "bin/ckpt-save", str(running.pid), image, env=environment)
    printed, _ = running.communicate("\n", timeout=60)
    assert "PASS" in printed
    assert (
        run(venv / "bin/ckpt-restart", "--stdin", line, image, env=environment, cwd=tmp_path)
        == printed
    )

    preload = next(venv.glob("lib/python*/site-packages/gdbext/libckpt.so"))
    running = subprocess.Popen(
        [program, "3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**environment, "LD_PRELOAD": str(preload)},
    )  # fmt: skip
    assert running.stdin is not None and running.stdout is not None and running.stderr is not None
    while "READY" not in running.stdout.readline():
        assert running.poll() is None
    running.send_signal(signal.SIGUSR2)
    assert running.stderr.readline().startswith(
        f"Saved {tmp_path}/store/snapshots/compute-1.ckpt: "
    )
    assert "PASS" in running.communicate("\n", timeout=60)[0]
