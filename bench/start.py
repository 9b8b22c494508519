"""How long the bot takes to start and answer its first message, and how much memory it needs: `python -m bench.start`.

The firm is there already, the recogniser is left out. The clock starts with the process. Documented in
docs/performance.md. A developer's environment has libraries (rich, pygments) that structlog loads where it finds them:
`--python` names the Python of one made by `make install`, as a firm has it.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

from bench.__main__ import OURS, ask, mib

CHATS = 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", default=sys.executable, help="what the bot runs with")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        started(given.python, folder, 0)  # makes the firm, and jieba's cache
        found = [started(given.python, folder, number % (CHATS - 1) + 1) for number in range(given.rounds)]
    print("| | median | min to max |\n| --- | --- | --- |")
    for what, values in zip(
        ("start to polling, s", "start to first answer, s", "resident after it, MiB", "peak, MiB"),
        zip(*found, strict=True),
        strict=True,
    ):
        print(f"| {what} | {statistics.median(values):.2f} | {min(values):.2f} to {max(values):.2f} |")


def started(python: str, folder: str, chat: int) -> tuple[float, float, float, float]:
    """Seconds to the first poll and to the first answer, MiB resident and at the peak, of one process."""
    server = subprocess.Popen([sys.executable, "-m", "bench.server"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    base = server.stdout.readline().strip()
    began = time.monotonic()
    child = subprocess.Popen([python, *OURS, base, folder, str(CHATS)])
    try:
        ask(f"{base}/control/ready")
        polling = time.monotonic() - began
        answered = polling + ask(f"{base}/control/run?first={chat}&count=1")["first_ms"] / 1000
        return polling, answered, mib(child.pid, "VmRSS"), mib(child.pid, "VmHWM")
    finally:
        for process in (child, server):
            process.kill()
            process.communicate()


if __name__ == "__main__":
    main()
