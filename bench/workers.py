"""How much more two workers transcribe than one: `python -m bench.workers`.

`zoudian worker` itself, in one process and in two, one thread of the recogniser each, on a PostgreSQL of our own; the
voice notes of the sample firm, heard by the small test model. The clock starts when the notes are put, after every
worker has heard some, and ends when all are heard. Alternating; it says something only where as many cores are free as
workers run, so the load of the machine is told beside it.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.step import folder, postgres_url
from bot.wiring import SAMPLE_FIRM, TEST_MODEL
from reports.firm_import import read_firm, save_firm
from rules.visit import Visit
from storage import evidence, jobs, people, visits
from storage.database import Database
from storage.evidence import Note
from storage.files import LocalFiles
from storage.migrate import migrate
from storage.people import Account
from tests.databases import WHOLE

REP = "E101"
WARM_UP = 4  # notes a worker


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("--notes", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    url, home = postgres_url(), Path(folder())
    database = Database(url)
    migrate(database)
    files = LocalFiles(home / "files")
    clips = [files.put(path.read_bytes()) for path in sorted((SAMPLE_FIRM / "clips").glob("*.ogg"))]
    with database.work(WHOLE) as work:
        save_firm(work, read_firm(SAMPLE_FIRM))
        account = people.link(work, Account("web", "1", "1", REP), datetime.now(UTC)).id
    rates: dict[int, list[float]] = {1: [], 2: []}
    for number in range(given.rounds):
        for count in (1, 2) if number % 2 == 0 else (2, 1):
            rate = notes_a_second(database, url, home, clips, account, count, given.notes)
            rates[count].append(rate)
            print(f"round {number + 1}: {count} at work, {rate:.2f} notes/s, load {os.getloadavg()[0]:.1f}", flush=True)
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    print("| workers | notes/s, median (min to max) |\n| --- | --- |")
    for count, found in rates.items():
        print(f"| {count} | {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f}) |")
    print(f"\nTwo to one: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}).")
    database.close()


def notes_a_second(
    database: Database, url: str, home: Path, clips: list[str], account: int, workers: int, notes: int
) -> float:
    environment = {
        **os.environ,
        "ZOUDIAN_DATA__URL": url,
        "ZOUDIAN_DATA__FOLDER": str(home),
        "ZOUDIAN_SPEECH__MODEL": TEST_MODEL.model,
        "ZOUDIAN_SPEECH__CPU_THREADS": "1",
        "ZOUDIAN_SPEECH__PROMPT": "",
        "ZOUDIAN_SPEECH__HOTWORD_TOKENS": "0",
        "ZOUDIAN_SPEECH__ALLOW_SMALL_MODELS": "true",
        "ZOUDIAN_LOG_LEVEL": "ERROR",
        "OMP_NUM_THREADS": "1",
    }
    with tempfile.TemporaryFile() as said:
        command = [sys.executable, "-m", "bot", "worker"]
        running = [subprocess.Popen(command, env=environment, stdout=said, stderr=said) for _ in range(workers)]
        try:
            put(database, clips, account, WARM_UP * workers)
            until_heard(database, running)
            began = time.monotonic()
            put(database, clips, account, notes)
            until_heard(database, running)
            return notes / (time.monotonic() - began)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(30)


def put(database: Database, clips: list[str], account: int, count: int) -> None:
    """So many voice notes, each of a visit of its own, so that none waits for another."""
    now = datetime.now(UTC)
    with database.work(WHOLE) as work:
        for number in range(count):
            visit = visits.add(work, Visit(rep=REP, opened_at=now, touched_at=now), "Asia/Shanghai")
            note = Note(
                rep=REP, at=now, state="waiting", visit=visit, file=clips[number % len(clips)], mime="audio/ogg"
            )
            args = {"note": evidence.add_note(work, note, None), "account": account}
            jobs.put(work, "transcribe", args, now, lock=f"visit:{visit}")


def until_heard(database: Database, running: list[subprocess.Popen[bytes]]) -> None:
    far = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    pause = 0.05
    while True:
        with database.read(WHOLE) as work:
            if not evidence.notes_waiting(work, far[1], far[0]):
                return
        if any(process.poll() is not None for process in running):
            raise SystemExit("a worker ended")
        time.sleep(pause)  # noqa: TID251 - a clock of the wall is what is measured


if __name__ == "__main__":
    main()
