"""The judge: reads the database and what the provider took, and nothing of the product's code.

It knows what a run without a kill looks like (`seen` of one) and holds every other run against it.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

Json = dict[str, Any]

# What is said when a note takes longer than ten seconds, as it may when a worker died over it on PostgreSQL.
STILL_LISTENING = "正在听…"

# Whoever lives on has noted what the provider took, on a machine that has much to do too.
NOTED_S = 4.0

# What the reps did and what became of it, without numbers of rows and times: equal in every run.
_STORED = {
    "inbox": "select person, state from inbox order by person, position",
    "visits": "select rep, outlet, state, outcome, grade from visit order by rep, id",
    "places": "select rep, kind from place order by rep, id",
    "photos": "select rep, file from photo order by rep, inbox",
    "notes": "select rep, file, state, text from note order by rep, id",
    "changes": "select v.rep, count(*) from visit_change c"
    " join visit v on v.id = c.visit group by v.rep order by v.rep",
    "follow-ups": "select rep, outlet, state, first, last from follow_up order by rep, id",
    "outbox": "select chat_ref, intent, state, count(*) from outbox"
    " where intent <> 'reply' group by 1, 2, 3 order by 1, 2, 3",
    "alerts": "select manager, kind, local_day from alert order by 1, 2, 3",
    "occurrences": "select schedule, local_day, outcome from occurrence order by 1, 2",
}
_TWICE = {
    "a delivery stored twice": "select delivery_key from inbox group by channel, account, delivery_key",
    "a pin counted twice": "select inbox from place where inbox is not null group by inbox",
    "a photo counted twice": "select inbox from photo where inbox is not null group by inbox",
    "a note counted twice": "select inbox from note where inbox is not null group by inbox",
    "an update applied twice": "select inbox from visit_change where inbox is not null group by visit, inbox",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """`said` is what each chat read, numbers masked and repetitions by a kill left out."""

    stored: dict[str, list[tuple[Any, ...]]]
    said: dict[int, list[str]]


@dataclass(frozen=True, slots=True)
class Death:
    """The end of one life: how much the provider had taken before the next began, and when (seconds since 1970)."""

    sent: int
    at: float


@dataclass(slots=True)
class Verdict:
    faults: list[str] = field(default_factory=list)
    sent_twice: int = 0


def judge(
    url: str, folder: Path, given: set[int], sent: list[Json], deaths: list[Death], clean: Seen | None
) -> Verdict:
    """`given`: the updates that happened; `sent`: what the provider took, in order."""
    verdict = Verdict()
    rows, outbox, twice = _read(url)
    told: list[str] = verdict.faults
    told += twice
    stored = {int(key) for (key,) in rows["keys"]}
    told += [f"update {key} is lost" for key in sorted(given - stored)]
    told += [f"update {key} was never given" for key in sorted(stored - given)]
    told += [f"job {job} is left {state}" for job, state in rows["jobs"]]
    told += [f"file {key} is lost or damaged" for (key,) in rows["files"] if not _intact(folder, key)]
    told += _order_of(rows["applied"])
    extra = _extra(outbox, sent, told)
    verdict.sent_twice = len(extra)
    told += _unexplained(extra, sent, deaths)
    if clean is not None:
        seen = Seen({name: rows[name] for name in _STORED}, _said(sent, extra))
        for name, wanted in clean.stored.items():
            if seen.stored[name] != wanted:
                told.append(f"{name}: {seen.stored[name]} instead of {wanted}")
        for chat in sorted({*clean.said, *seen.said}):
            if seen.said.get(chat) != clean.said.get(chat):
                told.append(f"said to {chat}: {seen.said.get(chat)} instead of {clean.said.get(chat)}")
    return verdict


def seen(url: str, sent: list[Json]) -> Seen:
    rows, outbox, _ = _read(url)
    return Seen({name: rows[name] for name in _STORED}, _said(sent, _extra(outbox, sent, [])))


def _read(url: str) -> tuple[dict[str, list[tuple[Any, ...]]], list[Any], list[str]]:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":  # row-level security shows nothing to who names no scope
                connection.execute(text("select set_config('zoudian.scope', 'all', true)"))

            def rows(statement: str) -> list[tuple[Any, ...]]:
                return [tuple(row) for row in connection.execute(text(statement))]

            found = {name: rows(statement) for name, statement in _STORED.items()}
            found["keys"] = rows("select delivery_key from inbox")
            found["applied"] = rows("select person, position from inbox order by done_at, id")
            found["files"] = rows("select file from photo union select file from note where file <> ''")
            outbox = rows("select channel, chat_ref, id, state, provider_id from outbox order by id")
            twice = [
                f"{what}: {row[0]}"
                for what, statement in _TWICE.items()
                for row in rows(statement + " having count(*) > 1")
            ]
            if engine.dialect.name == "sqlite":
                twice += [f"SQLite: {line}" for (line,) in rows("pragma integrity_check") if line != "ok"]
                found["jobs"] = rows("select id, state from job")
            else:
                found["jobs"] = rows("select id, status from procrastinate_jobs where status <> 'succeeded'")
            return found, outbox, twice
    finally:
        engine.dispose()


def _order_of(applied: list[tuple[Any, ...]]) -> list[str]:
    last: dict[str, int] = {}
    faults = []
    for person, position in applied:
        if position < last.get(person, position):
            faults.append(f"{person}: {position} was applied after {last[person]}")
        last[person] = position
    return faults


def _extra(outbox: list[Any], sent: list[Json], told: list[str]) -> list[Json]:
    """What the provider took and no row knows of. Rows whose message it never took, or took out of order, are told."""
    by_number = {str(message["message_id"]): message for message in sent}
    last: dict[str, int] = {}
    for _, chat, row, state, number in outbox:
        message = by_number.get(number)
        if state != "sent" or message is None or str(message["chat"]["id"]) != chat:
            told.append(f"message {row} to {chat} is {state} and did not arrive")
            continue
        if int(number) < last.get(chat, 0):
            told.append(f"message {row} to {chat} arrived before an earlier one")
        last[chat] = int(number)
    marked = {number for *_, number in outbox}
    return [message for message in sent if str(message["message_id"]) not in marked]


def _unexplained(extra: list[Json], sent: list[Json], deaths: list[Death]) -> list[str]:
    """Twice sent is what the provider took last in a chat just before a death, and what came next there is the same.

    Mostly the row knows of the second; of the first where the dead process's mark was under way to a server, which went
    on with it.
    """
    faults = []
    for message in extra:
        in_chat = [place for place, other in enumerate(sent) if other["chat"]["id"] == message["chat"]["id"]]
        at = in_chat.index(next(place for place in in_chat if sent[place] is message))
        pairs = [in_chat[at - 1 : at + 1] if at else [], in_chat[at : at + 2]]
        if not any(_repeated(pair, sent, deaths) for pair in pairs):
            copies = [(place, sent[place]["date"]) for place in in_chat if _masked(sent[place]) == _masked(message)]
            died = [(death.sent, round(death.at, 1)) for death in deaths]
            told = f"(place, taken at) {copies}; deaths (place, at) {died}"
            faults.append(f"sent twice without a death in between: {message.get('text', '')[:60]!r} {told}")
    return faults


def _repeated(pair: list[int], sent: list[Json], deaths: list[Death]) -> bool:
    """Whether two neighbours in a chat say the same, with a death between them that came before the first was noted."""
    if len(pair) < 2:
        return False
    first, second = pair
    taken_at = sent[first]["date"]  # whole seconds
    between = [death for death in deaths if first < death.sent <= second]
    return _masked(sent[first]) == _masked(sent[second]) and any(one.at - taken_at < NOTED_S for one in between)


def _said(sent: list[Json], extra: list[Json]) -> dict[int, list[str]]:
    said: dict[int, list[str]] = {}
    for message in sent:
        if not any(message is other for other in extra) and STILL_LISTENING not in _masked(message):
            said.setdefault(message["chat"]["id"], []).append(_masked(message))
    return said


def _masked(message: Json) -> str:
    return re.sub(r"\d+", "0", str(message.get("text", message.get("caption", ""))))


def _intact(folder: Path, key: str) -> bool:
    path = folder / "files" / key[:2] / key[2:4] / key
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == key
