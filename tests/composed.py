"""deploy/compose.yaml without Docker: each service's command, environment and secrets as a process of this machine.

Paths and ports of the containers become folders and loopback ports; what a process writes anywhere but in the data
volume or /tmp is found.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import ClientConnectionError, ClientSession, web

from tests.botapi.server import BotApi, Json
from tests.botapi.webhooks import Webhook

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = ROOT / "deploy" / "compose.yaml"
DOMAIN = "bot.example.com"
METRICS = "ZOUDIAN_METRICS__PORT"


def compose() -> dict[str, Any]:
    """The file as Docker reads it where no variable is set."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", COMPOSE.read_text(encoding="utf-8"))
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def services(profile: str) -> dict[str, dict[str, Any]]:
    """The services of a profile by name; one with replicas once each, numbered."""
    found: dict[str, dict[str, Any]] = {}
    for name, service in compose()["services"].items():
        if profile not in service["profiles"]:
            continue
        replicas = service.get("deploy", {}).get("replicas", 1)
        found |= {name if replicas == 1 else f"{name}-{number}": service for number in range(1, replicas + 1)}
    return found


def seconds(duration: str) -> float:
    """A duration of compose, 60s or 2m."""
    return float(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@dataclass
class Machine:
    """One host: the data volume, the files of secrets, and where the containers' root and home would be: read-only."""

    folder: Path
    secrets: Mapping[str, str]
    more: Mapping[str, str] = field(default_factory=dict)  # variables that lead to the loopback servers

    def __post_init__(self) -> None:
        self.data, self.root, self.tmp = (self.folder / name for name in ("data", "root", "tmp"))
        for made in (self.data, self.root, self.tmp, self.folder / "secrets"):
            made.mkdir()
        shutil.copy(ROOT / "config.toml", self.root / "config.toml")
        for name, value in self.secrets.items():
            (self.folder / "secrets" / name).write_text(value)
        self.root.chmod(0o555)

    def environment(self, service: Mapping[str, Any], name: str, port: int, metrics: int) -> dict[str, str]:
        """What the container sees, with its paths as they are here; of the secrets only the service's own."""
        own = self.folder / f"secrets-{name}"
        own.mkdir(exist_ok=True)
        for secret in service.get("secrets", ()):
            (own / secret).write_text(self.secrets.get(secret, ""))
        here = {
            "/run/secrets": str(own),
            "/data": str(self.data),
            "/etc/zoudian/config.toml": str(self.root / "config.toml"),
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - as in a container, where it is the container's own
        }
        given = {key: here.get(value, value) for key, value in service["environment"].items()}
        if METRICS in given:
            given[METRICS] = str(metrics)
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL") if key in os.environ}
        return {
            **kept,
            **given,
            "HOME": str(self.root),
            # The image brings the dictionaries along; here they lie where every other process of ours has them.
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
            "TMPDIR": str(self.tmp),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "ZOUDIAN_WEB__PORT": str(port),
            "ZOUDIAN_SPEECH__MODEL": "none-of-this-name",
            **self.more,
        }

    def written_elsewhere(self) -> list[str]:
        """What stands where a container could not have written."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.name != "config.toml")


@dataclass
class Container:
    """One service as a process."""

    name: str
    service: Mapping[str, Any]
    machine: Machine
    port: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)
    starts: int = 0

    def command(self, words: Sequence[str]) -> list[str]:
        program, *rest = words
        assert program == "zoudian"
        own = {self.service["environment"].get(METRICS): str(self.metrics)}
        return [sys.executable, "-m", "bot", *(own.get(word, word) for word in rest)]

    def environment(self) -> dict[str, str]:
        return self.machine.environment(self.service, self.name, self.port, self.metrics)

    def start(self) -> None:
        """Returns at once; `until_up` waits for it."""
        self.starts += 1
        self.log = self.machine.folder / f"{self.name}-{self.starts}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command(self.service["command"]),
                cwd=self.machine.root,
                env=self.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def until_up(self, allowed: float = 60.0) -> None:
        async with asyncio.timeout(allowed):
            while "走店" not in self.said():
                assert self.process.poll() is None, self.said()
                await asyncio.sleep(0.05)

    async def stop(self) -> int:
        """As `docker stop`: the stop signal, and the kill after the grace time. The exit code."""
        self.process.send_signal(signal.Signals[self.service["stop_signal"]])
        grace = seconds(self.service["stop_grace_period"])
        return await asyncio.to_thread(self.process.wait, grace)

    def kill(self) -> None:
        if hasattr(self, "process") and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """A command in the container, as its health check is run."""
        return subprocess.run(
            self.command(words),
            cwd=self.machine.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


class BehindProxy(BotApi):
    """Telegram, which calls the public address, and the proxy behind that address, as deploy/proxy has it: by turns to
    each receiver, and to the next where one does not take the connection. `by_port` counts who took how many.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__(webhook_pause_s=0.1)
        self.ports, self.by_port = list(ports), dict.fromkeys(ports, 0)
        self._turn = 0

    async def _do_setwebhook(self, params: Json, files: Any) -> bool:
        assert params["url"] == f"https://{DOMAIN}/telegram/webhook"
        first = self.webhook is None
        self.webhook = Webhook(f"{self.base}/proxy", params["secret_token"], frozenset(params["allowed_updates"]))
        if first:
            for update in list(self._waiting):
                self._webhooks.put(update)
        return True

    def _routes(self, application: web.Application) -> None:
        application.router.add_post("/proxy", self._forward)

    async def _forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        for _ in self.ports:
            port = self.ports[self._turn % len(self.ports)]
            self._turn += 1
            headers = {**request.headers, "Host": DOMAIN}
            try:
                async with (
                    ClientSession() as client,
                    client.post(f"http://127.0.0.1:{port}/telegram/webhook", data=body, headers=headers) as answer,
                ):
                    self.by_port[port] += 1
                    return web.Response(status=answer.status)
            except ClientConnectionError:
                continue
        return web.Response(status=502)
