"""What the documentation names exists: links, commands, options, make targets, functions, words, the tour's output."""

import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import click
import pytest

import rules
import texts
from bot.cli import main as zoudian
from bot.settings import load_settings
from handlers.commands import COMMANDS
from handlers.proposals import EXTRAS
from handlers.visit_flow import visit_flow
from rules.evidence import Level
from rules.limits import Limits
from rules.visit import Outcome
from tests.test_packaging import ROOMS

ROOT = Path(__file__).resolve().parent.parent
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
GLOSSARY = ROOT / "docs" / "glossary.md"

EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
EACH_README = pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code_of(page: Path) -> list[str]:
    """Everything set as code: spans, and the lines of fenced and indented blocks without their comments."""
    text = read(page)
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S)
    rest = re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.M | re.S)
    indented = re.findall(r"^    (.+)$", rest, re.M)
    lines = [line for block in fenced for line in block.splitlines()] + indented
    return [*re.findall(r"`([^`\n]+)`", rest), *(re.sub(r"\s{2,}#.*", "", line) for line in lines)]


def named(dotted: str) -> Any:
    """What a dotted name stands for: a module, or something in one. Raises AttributeError or ModuleNotFoundError."""
    parts = dotted.split(".")
    modules = 1
    while modules < len(parts) and importlib.util.find_spec(".".join(parts[: modules + 1])) is not None:
        modules += 1
        if not hasattr(importlib.import_module(".".join(parts[:modules])), "__path__"):
            break
    found: Any = importlib.import_module(".".join(parts[:modules]))
    for part in parts[modules:]:
        found = getattr(found, part)
    return found


# --- links and files


@EACH_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", read(page))
    inside = [link.partition("#")[0] for link in links if not link.startswith(("https://", "#"))]
    assert [link for link in inside if not (page.parent / link).exists()] == []


@EACH_PAGE
def test_files_exist(page: Path) -> None:
    spans = [
        span
        for span in code_of(page)
        if re.fullmatch(rf"(?:{'|'.join(ROOMS)}|tests|docs|bench|deploy)/[\w./*-]*", span)
    ]
    assert [span for span in spans if not list(ROOT.glob(span.removesuffix("/")))] == []


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", read(folder / "README.md"))
    assert listed == sorted(path.name for path in folder.glob("0*.md"))
    assert [name[:4] for name in listed] == [f"{number:04}" for number in range(1, len(listed) + 1)]


def test_a_newcomer_finds_every_page() -> None:
    seen: set[Path] = set()
    waiting = [READMES[0]]
    while waiting:
        page = waiting.pop().resolve()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            links = re.findall(r"\]\(([^)\s#]+)\)", read(page))
            waiting += [page.parent / link for link in links if not link.startswith("https://")]
    assert set(PAGES) <= seen


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "images").glob("*"))
    assert pictures
    assert all(picture.stat().st_size < 300_000 for picture in pictures)
    assert all(picture.name in read(readme) for picture in pictures for readme in READMES)


# --- commands, options, targets, variables


def command_of(words: list[str]) -> click.Command:
    """The command that the words after `zoudian` name. LookupError where there is none."""
    found: click.Command = zoudian
    for word in words:
        if not isinstance(found, click.Group):
            break
        inner = found.get_command(click.Context(found), word)
        if inner is None:
            raise LookupError(word)
        found = inner
    return found


@EACH_PAGE
def test_commands_and_options_exist(page: Path) -> None:
    for span in code_of(page):
        for call in re.findall(r"\bzoudian ([^|&;]+)", span):
            words = call.split()
            command = command_of([word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)])
            known = {option for param in command.params for option in param.opts} | {"--help"}
            given = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert given <= known, span


@EACH_README
def test_every_command_is_explained(page: Path) -> None:
    explained = {found for span in code_of(page) for found in re.findall(r"^zoudian ([a-z-]+)", span)}
    assert explained == set(zoudian.list_commands(click.Context(zoudian)))


@EACH_PAGE
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.M))
    wanted = {target for span in code_of(page) for target in re.findall(r"^make ([a-z-]+)", span)}
    assert wanted <= targets


@EACH_PAGE
def test_variables_exist(page: Path) -> None:
    known = {one.variable for one in load_settings(None, {}).in_force()}
    known |= {"ZOUDIAN_SECRETS_DIR", "ZOUDIAN_CONFIG", "ZOUDIAN_CHROMIUM", "ZOUDIAN_DOMAIN"}
    assert set(re.findall(r"\bZOUDIAN_[A-Z_]+\b", read(page))) <= known


# --- names in the code


@EACH_PAGE
def test_names_exist(page: Path) -> None:
    for span in code_of(page):
        if re.fullmatch(rf"(?:{'|'.join(ROOMS)})(?:\.\w+)+", span):
            named(span)


def test_one_message_names_what_there_is() -> None:
    found = re.findall(r"`([\w/]+)\.py:([\w.]+)`", read(ROOT / "docs" / "one-message.md"))
    assert len(found) > 20
    for path, name in found:
        assert (ROOT / f"{path}.py").is_file(), path
        named(f"{path.replace('/', '.')}.{name}")


def glossary() -> list[tuple[str, list[str]]]:
    """(中文, the names in the code) of every row."""
    rows = [line.strip("| ").split(" | ") for line in read(GLOSSARY).splitlines() if line.startswith("| ")]
    return [(row[0], re.findall(r"`([^`]+)`", row[2])) for row in rows if row[0] not in ("中文", "---")]


def test_the_glossary_names_what_there_is() -> None:
    answers = {step.name for step in visit_flow(Limits()).steps} | set(EXTRAS)
    assert glossary()
    for word, names in glossary():
        assert names, word
        for name in names:
            if answer := re.fullmatch(r'answers\["(\w+)"\]', name):
                assert answer.group(1) in answers, word
            else:
                named(name)


def test_the_glossary_holds_every_word_of_the_business() -> None:
    wanted = {f'answers["{step.name}"]' for step in visit_flow(Limits()).steps}
    wanted |= {f'answers["{name}"]' for name in EXTRAS}
    wanted |= {f"{function.__module__}.{function.__name__}" for function in COMMANDS.values()}
    for module in pkgutil.iter_modules(rules.__path__, "rules."):
        for name, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if kind.__module__ == module.name and not name.startswith("_"):
                wanted.add(f"{module.name}.{name}")
                if issubclass(kind, Enum):
                    wanted |= {f"{module.name}.{name}.{member.name}" for member in kind}
    assert sorted(wanted - {name for _, names in glossary() for name in names}) == []


def test_the_glossary_uses_the_words_that_people_read() -> None:
    chinese = texts.load("zh-CN")
    words = {name: word for word, names in glossary() for name in names}
    for outcome in Outcome:
        assert words[f"rules.visit.Outcome.{outcome.name}"] == chinese.say(f"outcome.{outcome.value}")
    for level in Level:
        assert words[f"rules.evidence.Level.{level.name}"] == chinese.say(f"level.{level.value}")


# --- figures and output


@EACH_README
def test_the_size_is_the_measured_one(page: Path) -> None:
    decision = read(ROOT / "docs" / "decisions" / "0001-dependencies.md")
    measured = re.search(r"\*\*(\d+) releases, (\d+) MB\*\*", decision)
    assert measured is not None
    releases, megabytes = measured.groups()
    assert f"{megabytes} MB" in read(page)
    assert re.search(rf"\b{releases} (?:Python|个 Python)", read(page))


def without_days(line: str) -> str:
    """Dates depend on the day the tour is played."""
    return re.sub(r"\d+月\d+日", "某日", line)


@pytest.mark.recogniser
def test_the_tour_says_what_the_readme_shows(tmp_path: Path) -> None:
    shown = [re.findall(r"^```text\n(.*?)^```$", read(page), re.M | re.S)[0].splitlines() for page in READMES]
    assert shown[0] == shown[1]
    command = [sys.executable, "-m", "bot", "demo", "--tour", "--fast"]
    # Here the checkout, and no other recogniser than the test model, wherever the tests run.
    here = {**os.environ, "PYTHONPATH": str(ROOT), "ZOUDIAN_SPEECH__MODEL": "none-of-this-name"}
    tour = subprocess.run(
        command, check=False, cwd=tmp_path, env=here, capture_output=True, encoding="utf-8", timeout=120
    )
    assert tour.returncode == 0, tour.stderr
    said = iter(map(without_days, tour.stdout.splitlines()))
    for line in map(without_days, shown[0]):
        start = line.removesuffix("…")
        assert not start or any(one == line or (line != start and one.startswith(start)) for one in said), line
