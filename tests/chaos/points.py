"""Numbered fault points of a running bot, laid from outside: the product knows nothing of them.

A point lies before and after every statement that writes, before and after every commit, before a file takes its
place, and before and after every call of the channel that fetches or sends. It bears a name and, within one life of
the process, a number: "after insert outbox" 3 is the third one. docs/decisions/0014-fault-points.md says why so.
"""

import os
import re
import signal
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

_WRITES = re.compile(r"\s*(insert)\s+into\s+\W?(\w+)|\s*(update)\s+\W?(\w+)|\s*(delete)\s+from\s+\W?(\w+)", re.I)
_CALLS = re.compile(r"procrastinate_\w+")


@dataclass(frozen=True, slots=True)
class Point:
    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}#{self.number}"

    @classmethod
    def of(cls, text: str) -> Self:
        name, _, number = text.rpartition("#")
        return cls(name, int(number))


class FaultPoints:
    """Kills this very process at one point; notes in a file, if there is one, which ones it came by."""

    def __init__(self, trace: Path | None, kill_at: Point | None) -> None:
        self._kill_at = kill_at
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._trace = None if trace is None else os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hit(self, name: str) -> None:
        if self._trace is None and (self._kill_at is None or name != self._kill_at.name):
            return
        with self._lock:
            self._counts[name] += 1
            point = Point(name, self._counts[name])
            if self._trace is not None:
                os.write(self._trace, f"{point}\n".encode())
            if point == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def lay(self) -> None:
        """In every database engine and every rename of this process, from now on."""

        def before(connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
            if written := _written(statement):
                connection.info["wrote"] = written
                self.hit(f"before {written}")

        def after(_connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
            if written := _written(statement):
                self.hit(f"after {written}")

        def committing(connection: Connection) -> None:
            if wrote := connection.info.get("wrote"):
                self.hit(f"before the commit of {wrote}")

        def committed(session: Session) -> None:
            self.hit("after a commit")

        event.listen(Engine, "before_cursor_execute", before)
        event.listen(Engine, "after_cursor_execute", after)
        event.listen(Engine, "commit", committing)
        event.listen(Session, "after_commit", committed)
        sys.addaudithook(lambda name, _args: self.hit("before a file takes its place") if name == "os.rename" else None)


def points_of(trace: Path) -> list[Point]:
    """Those a process came by, in order."""
    return [Point.of(line) for line in trace.read_text().splitlines()] if trace.exists() else []


def _written(statement: str) -> str:
    """ "insert inbox" of a statement that writes, "" of one that does not."""
    if match := _WRITES.match(statement):
        verb, table = (part for part in match.groups() if part)
        return f"{verb.lower()} {table}"
    if match := _CALLS.search(statement):
        return match.group()
    return ""
