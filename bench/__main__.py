"""Messages a second and CPU a message of one whole conversation, ours beside python-telegram-bot and aiogram.

One server process, one bot process after another in alternating order; medians over the rounds. See
docs/performance.md for what is compared and what is not.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import Any

Result = dict[str, Any]
WARM_UP = 20  # chats before the clock starts
OURS = ["-m", "bench.as_command", "bench.ours"]
BOTS: dict[str, list[str]] = {
    "zoudian": ["bench.ours"],
    "ptb durable": ["bench.ptb_bot", "durable"],
    "ptb default": ["bench.ptb_bot", "default"],
    "aiogram durable": ["bench.aiogram_bot", "durable"],
    "aiogram memory": ["bench.aiogram_bot", "memory"],
}
KEEPS = {
    "zoudian": "inbox, turn and outbox committed with full sync before anything is acknowledged or sent",
    "ptb durable": "pickle rewritten after every update, before the reply; no fsync; the update is confirmed earlier",
    "ptb default": "pickle once a minute: up to a minute is lost",
    "aiogram durable": "SQLite, one commit with full sync a step, before the reply; the update is confirmed earlier",
    "aiogram memory": "nothing",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--chats", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(BOTS), help="these bots alone")
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    given = parser.parse_args()
    names = given.only or list(BOTS)
    runs: dict[str, list[Result]] = {name: [] for name in names}
    for number in range(given.rounds):
        for name in names if number % 2 == 0 else reversed(names):
            runs[name].append(run(BOTS[name], given.chats))
            print(f"round {number + 1}  {name:16} {runs[name][-1]['per_second']:8.0f} msg/s", file=sys.stderr)
    report = {"machine": machine(), "chats": given.chats, "rounds": given.rounds, "runs": runs}
    text = json.dumps(report, ensure_ascii=False, indent=1)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    print(table(runs))


def run(bot: list[str], chats: int) -> Result:
    """One bot, fresh, through a warm-up and the measured conversations."""
    module, *arguments = bot
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        server = subprocess.Popen([sys.executable, "-m", "bench.server"], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        base = server.stdout.readline().strip()
        command = [sys.executable, "-m", module, base, folder, *arguments]
        if module == "bench.ours":
            command = [sys.executable, *OURS, base, folder, str(chats + WARM_UP)]
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            ask(f"{base}/control/ready")
            ask(f"{base}/control/run?first=0&count={WARM_UP}")
            before = cpu_seconds(child.pid)
            result = ask(f"{base}/control/run?first={WARM_UP}&count={chats}")
            cpu = cpu_seconds(child.pid) - before
            memory = mib(child.pid, "VmHWM")
        except OSError:
            child.kill()
            raise SystemExit(f"{module} failed:\n{child.communicate()[1][-3000:]}") from None
        finally:
            for process in (child, server):
                process.kill()
                process.communicate()
    if result["surplus"] or result["unclosed"]:
        raise SystemExit(f"{module} talked otherwise than agreed: {result}")
    return {
        **result,
        "per_second": result["messages"] / result["seconds"],
        "cpu_us": 1e6 * cpu / result["messages"],
        "peak_mib": memory,
    }


def ask(address: str) -> Result:
    with urllib.request.urlopen(address, timeout=600) as answer:  # noqa: S310 - loopback, made above
        return dict(json.load(answer))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def mib(pid: int, what: str) -> float:
    """`VmRSS`: resident now; `VmHWM`: at the peak."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) / 1024


def machine() -> Result:
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in ("python-telegram-bot", "aiogram", "sqlalchemy", "aiohttp")},
        "sync_ms": sync_ms(),
    }


def sync_ms() -> float:
    """How long this disk takes to write 4 KiB for good: the median of 50."""
    times = []
    with tempfile.TemporaryFile() as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(random.randbytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def table(runs: dict[str, list[Result]]) -> str:
    """Medians, and the ratio of ours to each."""
    lines = [
        "| bot | msg/s median (min to max) | ours ÷ this | CPU µs/msg | ours ÷ this | p95 ms | peak MiB | it keeps |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    ours = runs.get("zoudian")
    for name, results in runs.items():
        rates = [result["per_second"] for result in results]
        rate, cpu = statistics.median(rates), median(results, "cpu_us")
        of_rate = f"{median(ours, 'per_second') / rate:.2f}" if ours else ""
        of_cpu = f"{median(ours, 'cpu_us') / cpu:.2f}" if ours else ""
        lines.append(
            f"| {name} | {rate:.0f} ({min(rates):.0f} to {max(rates):.0f}) | {of_rate} | {cpu:.0f} | {of_cpu} |"
            f" {median(results, 'p95_ms'):.0f} | {median(results, 'peak_mib'):.0f} | {KEEPS[name]} |"
        )
    return "\n".join(lines)


def median(results: list[Result], key: str) -> float:
    return statistics.median(float(result[key]) for result in results)


if __name__ == "__main__":
    main()
