"""The checkout itself: it installs from hashed locks, its rooms keep their walls, and no test leaves this machine."""

import ast
import os
import shutil
import socket
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from hatchling import build
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pytest_socket import SocketConnectBlockedError

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS: list[str] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
LOCKS = [ROOT / f"requirements{kind}.txt" for kind in ("", "-build", "-server", "-test", "-dev")]


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Top-level names a file imports anywhere in it, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def declared() -> dict[str, Requirement]:
    project = PYPROJECT["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def locked(path: Path) -> dict[str, tuple[str, int]]:
    """Version and number of hashes of every release in a lock file."""
    found: dict[str, tuple[str, int]] = {}
    name = ""
    for line in path.read_text().splitlines():
        if line.startswith("    --hash=sha256:"):
            version, hashes = found[name]
            found[name] = version, hashes + 1
        elif line and not line.startswith("#"):
            requirement = Requirement(line.removesuffix("\\"))
            name = canonicalize_name(requirement.name)
            found[name] = str(requirement.specifier).removeprefix("=="), 0
    return found


# --- rooms


def test_every_room_is_listed_wherever_rooms_are_listed() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/*.py")} - {"tests", "bench"}
    makefile = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("ROOMS"))
    assert set(ROOMS) == rooms
    assert set(PYPROJECT["tool"]["importlinter"]["root_packages"]) == rooms
    assert set(makefile.partition(":=")[2].split()) == rooms


def test_rules_import_nothing_but_the_standard_library_and_the_calendar() -> None:
    """chinese_calendar is a table of dates, as pure as zoneinfo; see docs/decisions/0023-public-holidays.md."""
    allowed = sys.stdlib_module_names | {"rules", "chinese_calendar"}
    assert modules("rules")
    assert not [f"{path.name}: {name}" for path in modules("rules") for name in imported(path) if name not in allowed]


@pytest.mark.parametrize("room", ROOMS)
def test_every_library_a_room_imports_is_declared(room: str) -> None:
    known = packages_distributions()
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(room)
        for name in imported(path)
        if name not in sys.stdlib_module_names
        and name not in ROOMS
        and not declared().keys() & {canonicalize_name(package) for package in known.get(name, [name])}
    }
    assert not missing


def test_no_file_hides_a_library_and_no_test_folder_hides_a_room() -> None:
    libraries = {
        name for name, packages in packages_distributions().items() if declared().keys() & set(map(str.lower, packages))
    }
    assert "telegram" in libraries
    assert not [path for room in ROOMS for path in modules(room) if path.stem in libraries]
    assert not [path for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name in ROOMS]


def test_the_wheel_holds_every_file_of_every_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with zipfile.ZipFile(tmp_path / build.build_wheel(str(tmp_path))) as wheel:
        packed = set(wheel.namelist())
        entry_points = next(name for name in packed if name.endswith(".dist-info/entry_points.txt"))
        assert "zoudian = bot.__main__:main" in wheel.read(entry_points).decode()
    needed = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "bot/__main__.py" in needed
    assert needed <= packed
    assert not {name for name in packed if name.startswith("tests")}


# --- locks


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_pins_and_hashes_every_release_and_names_no_index(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert not [line for line in text.splitlines() if line.startswith("-")]
    assert all(version and hashes for version, hashes in locked(path).values())


def test_a_release_is_the_same_in_every_lock() -> None:
    widest = locked(ROOT / "requirements-dev.txt")
    for path in LOCKS:
        assert {name: version for name, (version, _) in locked(path).items()}.items() <= {
            name: version for name, (version, _) in widest.items()
        }.items()


def test_the_runtime_lock_satisfies_what_the_project_declares() -> None:
    releases = locked(ROOT / "requirements.txt")
    for line in PYPROJECT["project"]["dependencies"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(releases[canonicalize_name(requirement.name)][0]), line


# --- make


def make(*arguments: str, path: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("make")
    assert program is not None
    environment = {"PATH": path, "LC_ALL": "C.UTF-8"}
    return subprocess.run([program, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def fake_python(folder: Path, name: str, version: tuple[int, int]) -> None:
    """An interpreter that believes to be `version`, and that says its name instead of making an environment."""
    believe = f"import sys; sys.version_info = ({version[0]}, {version[1]}, 0); exec(sys.argv[1])"
    script = folder / name
    script.write_text(
        f'#!/bin/sh\ncase "$1" in -c) exec "{sys.executable}" -c "{believe}" "$2";; esac\necho "$0 $*"\nexit 9\n'
    )
    script.chmod(0o755)


def test_plain_make_lists_the_two_commands_of_the_readme() -> None:
    listed = make(path=os.environ["PATH"]).stdout
    assert "make demo" in listed
    assert "make test" in listed


def test_make_takes_a_newer_python_where_python3_is_too_old(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", (3, 9))
    fake_python(tmp_path, "python3.12", (3, 12))
    result = make("install", f"VENV={tmp_path}/venv", path=str(tmp_path))
    assert result.returncode != 0
    assert f"python3.12 -m venv {tmp_path}/venv" in result.stdout


def test_make_says_what_to_install_where_no_python_fits(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", (3, 14))
    result = make("install", f"VENV={tmp_path}/venv", path=str(tmp_path))
    assert result.returncode != 0
    assert "Python 3.11, 3.12 or 3.13 was not found" in result.stderr
    assert "apt install python3" in result.stderr


# --- network


def test_a_test_may_talk_to_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()[:2]) as client:
        assert client.getpeername() == server.getsockname()


def test_a_test_may_not_talk_to_another_machine() -> None:
    with pytest.raises(SocketConnectBlockedError):
        socket.create_connection(("192.0.2.1", 443), timeout=1)  # TEST-NET-1, RFC 5737: nobody's address
