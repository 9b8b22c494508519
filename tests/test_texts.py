"""The texts: both languages say the same things, everything the code says is there, and nothing lies unused."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

import texts
from bot.abilities import BY_NAME
from bot.settings_problems import Origin
from handlers.commands import COMMANDS
from nlp.models import PullReason
from nlp.sound_limits import BadReason
from rules.anomalies import Anomaly
from rules.audit import Action
from rules.confirmations import Verdict
from rules.evidence import Level, PlaceKind
from rules.follow_up import PART_OF_DAY, TodoState
from rules.people import Role
from rules.visit import Outcome, Source, State

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("rules", "texts", "nlp", "storage", "reports", "handlers", "scheduler", "web", "bot")
CHINESE, ENGLISH = texts.load("zh-CN"), texts.load("en")
BOTH = [CHINESE, ENGLISH]


@cache
def sources() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
    }


def strings_of(path: str) -> Iterator[str]:
    for node in ast.walk(sources()[path]):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def all_strings() -> frozenset[str]:
    """Every string constant of the product, and every word of the pages' scripts, which ask for texts too."""
    found = {text for path in sources() for text in strings_of(path)}
    for page in (ROOT / "web" / "static").rglob("*.*"):
        if page.suffix in (".js", ".html"):
            found |= set(re.findall(r"[a-z][a-z_0-9]*(?:\.[a-z_0-9]+)*", page.read_text(encoding="utf-8")))
    return frozenset(found)


@cache
def families() -> frozenset[str]:
    """Patterns of the keys that are put together: f"outcome.{value}", f"visit.{step}.ask", f"{key}_time"."""
    patterns = (
        pattern_of(node) for tree in sources().values() for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
    )
    return frozenset(pattern for pattern in patterns if pattern)


def pattern_of(node: ast.JoinedStr) -> str:
    """The keys an f-string can make, as a pattern; empty for one that makes none."""
    fixed = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
    if not re.fullmatch(r"[a-z_.]+", fixed) or not re.search(r"[a-z]\.|^[._]+[a-z]", fixed):
        return ""
    value = "[a-z_]+" if isinstance(node.values[0], ast.Constant) else "[a-z_.]+"
    return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else value for part in node.values)


def said() -> Iterator[tuple[str, str]]:
    """(file, key) of every literal key handed to Say, say, sentence and the like."""
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args:
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in ("Say", "say", "word", "Problem"):
                    yield from ((path, key) for key in literals(node.args[0]))
                if name == "stop" and len(node.args) > 1:
                    yield from ((path, key) for key in literals(node.args[1]))


def literals(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)


def reason_codes(path: str, call: str) -> set[str]:
    """The first arguments of every call of this name in one file, both branches of an `a if b else c` counted."""
    return {
        code
        for node in ast.walk(sources()[path])
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == call and node.args
        for code in literals(node.args[0])
    }


def problems_of_rows() -> set[str]:
    """What an import may complain of: Row.refuse(column, key), RowProblem(…, key), Unreadable(reason)."""
    found: set[str] = set()
    for path in ("reports/firm_import.py", "reports/firm_rows.py", "reports/sheets.py"):
        for node in ast.walk(sources()[path]):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                at = {"refuse": 1, "RowProblem": 3, "Unreadable": 0}.get(name)
                if at is not None and len(node.args) > at:
                    found |= set(literals(node.args[at]))
    return found


def of(values: Iterable[object]) -> list[str]:
    return [str(value) for value in values]


# Every family of keys that is put together, and where its members come from.
FAMILIES: dict[str, Callable[[], Iterable[str]]] = {
    "outcome.": lambda: of(Outcome),
    "level.": lambda: of(Level),
    "todo_state.": lambda: of(TodoState),
    "alert_line.": lambda: of(Anomaly),
    "alert_short.": lambda: of(Anomaly),
    "part_of_day.": lambda: PART_OF_DAY,
    "reason.": lambda: reason_codes("rules/evidence.py", "Reason") | {"appeal_upheld"},
    "web.place.": lambda: of(PlaceKind),
    "web.source.": lambda: of(Source),
    "web.role.": lambda: of(Role),
    "web.todo.": lambda: of(TodoState),
    "web.appeal.": lambda: ["open", "upheld", "rejected"],
    "channel.": lambda: [*BY_NAME, "wecom"],
    "web.note.": lambda: ["waiting", "heard", "unsure", "silent", "broken", "no_model", "typed"],
    "export.visit_state.": lambda: of(State),
    "verdict.": lambda: of(Verdict),
    "audit_action.": lambda: of(Action),
    "audit_rows.": lambda: ["visit", "visit_change", "note", "photo", "place", "appeal", "chat", "dead"],
    "import_problem.": problems_of_rows,
    "model.failed.": lambda: get_args(PullReason),
    "summarize.audio.": lambda: get_args(BadReason),
    "settings.in.": lambda: get_args(Origin),
    "objection.": lambda: [
        *("price", "promotion", "terms", "stock", "taste", "quality"),
        *("shelf_life", "delivery", "storage", "competitor", "authority", "contract"),
    ],
}


def test_both_languages_have_the_same_keys() -> None:
    assert CHINESE.keys() == ENGLISH.keys()


@pytest.mark.parametrize("key", sorted(CHINESE.keys() & ENGLISH.keys()))
def test_both_languages_fill_in_the_same(key: str) -> None:
    assert CHINESE.placeholders(key) == ENGLISH.placeholders(key)


@pytest.mark.parametrize(("path", "key"), sorted(set(said())))
def test_what_the_code_says_is_there(path: str, key: str) -> None:
    assert CHINESE.knows(key), f"{path} says {key}"


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_member_of_a_family_is_there(family: str) -> None:
    members = list(FAMILIES[family]())
    assert members
    assert [member for member in members if not CHINESE.knows(f"{family}{member}")] == []


def test_the_families_are_those_of_the_code() -> None:
    assert [family for family in FAMILIES if f"{re.escape(family)}[a-z_]+" not in families()] == []


def test_nothing_lies_unused() -> None:
    unused = [
        key
        for key in sorted(CHINESE.keys())
        if key not in all_strings()
        and not any(re.fullmatch(pattern, key) for pattern in families())
        and not (key.startswith("web.") and key.removeprefix("web.") in all_strings())
        and not (key.startswith("web.") and key.rpartition(".")[2] in all_strings())
    ]
    assert unused == []


@pytest.mark.parametrize("one", BOTH, ids=lambda one: one.language)
def test_variants_stand_beside_a_label_or_a_command(one: texts.Texts) -> None:
    commands = {f"command.{name}" for name in COMMANDS}
    assert [key for key in sorted(one.variant_keys()) if not one.knows(key) and key not in commands] == []
    assert commands <= one.variant_keys()


@pytest.mark.parametrize("one", BOTH, ids=lambda one: one.language)
def test_no_typed_word_means_two_commands(one: texts.Texts) -> None:
    words: dict[str, str] = {}
    for key in sorted(key for key in one.variant_keys() if key.startswith("command.")):
        for word in one.variants(key):
            assert words.setdefault(texts.plain(word), key) == key, word
