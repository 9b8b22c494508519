"""Does memory grow with messages? One bot, whole and polling, through many thousands: `python -m bench.soak`.

The conversation of the other benchmarks (a live position, a photo, a typed note, two taps), again and again by the same
people at the same outlets, with nothing left out but Telegram's pace. Prints the process's resident memory as it goes,
and at the end what a message of the second half added. The database and the files grow, as they should.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.__main__ import OURS, ask, cpu_seconds, mib
from bench.conversation import STEPS

FLAT_BYTES = 200  # a message more than this for good, over the second half, and it is no longer called flat


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--chats", type=int, default=200, help="people who talk at the same time")
    parser.add_argument("--minutes", type=float, default=600, help="stop after so long, with what there is by then")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        server = subprocess.Popen([sys.executable, "-m", "bench.server"], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        base = server.stdout.readline().strip()
        log = (Path(folder) / "log").open("wb")
        command = [sys.executable, *OURS, base, folder, str(given.chats)]
        bot = subprocess.Popen(command, stderr=log)
        try:
            ask(f"{base}/control/ready")
            seen = soak(bot.pid, base, Path(folder), given.messages, given.chats, given.minutes)
        finally:
            for process in (bot, server):
                process.kill()
                process.wait()
            log.close()
    verdict(seen)


def soak(pid: int, base: str, folder: Path, messages: int, chats: int, minutes: float) -> list[tuple[int, float]]:
    """(messages so far, resident MiB) after each round."""
    seen: list[tuple[int, float]] = []
    began = time.monotonic()
    print("| messages | resident MiB | of it shared with files | threads | msg/s | CPU µs/msg | database MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    shown = 0
    while (seen[-1][0] if seen else 0) < messages and time.monotonic() - began < 60 * minutes:
        before = cpu_seconds(pid)
        result = ask(f"{base}/control/run?first=0&count={chats}")
        if result["surplus"] or result["unclosed"]:
            raise SystemExit(f"the bot talked otherwise than agreed: {result}")
        count = (seen[-1][0] if seen else 0) + chats * STEPS
        seen.append((count, mib(pid, "VmRSS")))
        if count - shown >= messages / 20 or len(seen) == 1:
            shown = count
            size = sum(file.stat().st_size for file in folder.glob("bench.sqlite*")) / 2**20
            cpu = 1e6 * (cpu_seconds(pid) - before) / (chats * STEPS)
            threads = len(os.listdir(f"/proc/{pid}/task"))
            rate = result["messages"] / result["seconds"]
            print(
                f"| {count:,} | {seen[-1][1]:.1f} | {mib(pid, 'RssFile'):.1f} | {threads} | {rate:.0f} | {cpu:.0f} |"
                f" {size:.0f} |",
                flush=True,
            )
    return seen


def verdict(seen: list[tuple[int, float]]) -> None:
    """The slope of a straight line through the second half; exit code 1 when it is no longer flat."""
    half = seen[len(seen) // 2 :]
    if len(half) < 3:
        raise SystemExit("too few messages to tell")
    slope, _ = statistics.linear_regression([count for count, _ in half], [size for _, size in half])
    grown = slope * 2**20
    print(f"second half: {grown:+.0f} bytes a message, {half[0][1]:.1f} to {half[-1][1]:.1f} MiB")
    if grown > FLAT_BYTES:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
