"""deploy/: what its files name exists, and no service can do more than it has to. tests/test_topology.py runs them."""

import configparser
import re
import shutil
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from bot.settings import load_settings, unknown_variables
from bot.settings_walk import variable_of
from bot.telegram_channel import WEBHOOK_PATH
from tests.composed import COMPOSE, ROOT, compose, seconds, services
from tests.test_packaging import ROOMS

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PROFILES = ("single", "cluster")
SECRET_VARIABLES = {one.variable for one in load_settings(None, {}).in_force()}
EACH_SERVICE = pytest.mark.parametrize("name", sorted(compose()["services"]))
EACH_UNIT = pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)


def ours() -> dict[str, dict[str, Any]]:
    return {name: one for name, one in compose()["services"].items() if one.get("image") == "zoudian:local"}


def exists(words: list[str]) -> None:
    """The words are a command of ours with options it has."""
    program, name, *rest = words
    assert program == "zoudian"
    command = main.get_command(click.Context(main), name)
    assert command is not None, name
    command.make_context(name, list(rest), parent=click.Context(main))


# --- compose.yaml


def test_the_profiles_are_what_the_operations_page_says() -> None:
    assert sorted(services("single")) == ["zoudian"]
    assert sorted(services("cluster")) == [
        "migrate",
        "postgres",
        "proxy",
        "receiver-1",
        "receiver-2",
        "worker-1",
        "worker-2",
    ]
    assert all(set(one["profiles"]) <= set(PROFILES) for one in compose()["services"].values())


@EACH_SERVICE
def test_no_service_can_do_more_than_it_needs(name: str) -> None:
    service = compose()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    assert seconds(service["stop_grace_period"]) >= 15
    assert "privileged" not in service
    assert "latest" not in service["image"]
    if name in ours():
        assert service["user"] == "10001:10001"
        assert "cap_add" not in service
    if name != "migrate":
        assert service["healthcheck"]["test"][0] == "CMD"


@EACH_SERVICE
def test_what_a_service_names_is_declared(name: str) -> None:
    whole, service = compose(), compose()["services"][name]
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        assert source in whole["volumes"] or (DEPLOY / source).exists(), source
    for secret in service.get("secrets", ()):
        assert whole["secrets"][secret]["file"] == f"./secrets/{secret}"
    for other, wanted in dict.fromkeys(service.get("depends_on", ()), None).items():
        assert other in whole["services"], wanted
        assert set(service["profiles"]) <= set(whole["services"][other]["profiles"])


@pytest.mark.parametrize("name", sorted(ours()))
def test_our_commands_settings_and_secrets_exist(name: str) -> None:
    service = ours()[name]
    exists(service["command"])
    assert unknown_variables(service["environment"]) == []
    assert {variable_of(tuple(secret.split("__"))) for secret in service.get("secrets", ())} <= SECRET_VARIABLES
    if name != "migrate":
        exists(service["healthcheck"]["test"][1:])
        assert seconds(service["healthcheck"]["timeout"]) > 3, "longer than zoudian health itself waits"
    load_settings(ROOT / "config.toml", {**service["environment"], "ZOUDIAN_SECRETS_DIR": ""} | _enough(service))


def _enough(service: dict[str, Any]) -> dict[str, str]:
    """The secret without which webhook mode is refused; make-secrets.sh always makes it."""
    return {"ZOUDIAN_TELEGRAM__WEBHOOK_SECRET": "x" * 20} if "telegram__webhook_secret" in service["secrets"] else {}


def test_the_webhook_is_where_the_bot_listens_and_only_proxies_are_open() -> None:
    cluster = compose()["services"]
    assert cluster["receiver-1"]["environment"]["ZOUDIAN_TELEGRAM__WEBHOOK_URL"].endswith(WEBHOOK_PATH)
    assert [name for name, one in cluster.items() if "ports" in one] == ["zoudian", "proxy"]
    assert all(port.startswith("127.0.0.1:") for port in cluster["zoudian"]["ports"])


def test_secrets_are_made_once_and_nobody_else_can_come_to_them(tmp_path: Path) -> None:
    script = shutil.copy(DEPLOY / "make-secrets.sh", tmp_path)
    for _ in range(2):
        subprocess.run([script], check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(made) == set(compose()["secrets"])
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert made["postgres_password"] in made["data__url"]
    assert len(made["web__cookie_key"]) == 64
    (tmp_path / "secrets" / "telegram__token").chmod(0o600)
    (tmp_path / "secrets" / "telegram__token").write_text("filled in")
    subprocess.run([script], check=True, capture_output=True)
    assert (tmp_path / "secrets" / "telegram__token").read_text() == "filled in"
    kept = [secret for secret in made if secret not in ("postgres_password", "telegram__token")]
    for name in ("postgres_password", "telegram__token", "data__url"):
        (tmp_path / "secrets" / name).unlink()
    assert load_settings(None, {"ZOUDIAN_SECRETS_DIR": str(tmp_path / "secrets")}).web.cookie_key
    assert "data__url" in kept


# --- Dockerfile


def dockerfile() -> list[list[str]]:
    """Instructions with their words."""
    text = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_holds_every_room_and_what_it_copies_is_there() -> None:
    copied = [
        word for first, *words in dockerfile() if first == "COPY" and "--from" not in words[0] for word in words[:-1]
    ]
    assert set(ROOMS) <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    sent = (ROOT / ".dockerignore").read_text().split()
    assert {f"!{name}" for name in copied} <= set(sent)


def test_the_image_runs_as_nobody_in_particular_and_stops_and_tells_as_it_should() -> None:
    last: dict[str, list[str]] = {}
    for first, *words in dockerfile():
        last = {} if first == "FROM" else {**last, first: words}
    assert last["USER"] == ["10001:10001"]
    assert last["STOPSIGNAL"] == ["SIGTERM"]
    assert last["VOLUME"] == ["/data"]
    assert '"zoudian", "health"' in " ".join(last["HEALTHCHECK"])
    assert " ".join(last["CMD"]) == '["zoudian", "run"]'
    assert len([words for words in dockerfile() if words[0] == "FROM"]) == 2
    installs = [" ".join(words) for words in dockerfile() if "pip" in words]
    assert all(
        "--require-hashes" in part or "--no-deps" in part for line in installs for part in line.split("pip install")[1:]
    )


# --- systemd


def unit(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(path, encoding="utf-8")
    return parser


def every(path: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", path.read_text(encoding="utf-8"), re.M)


@EACH_UNIT
def test_a_unit_runs_a_command_of_ours_and_comes_back(path: Path) -> None:
    service = unit(path)["Service"]
    program, *words = service["ExecStart"].split()
    assert program == "/opt/zoudian/.venv/bin/zoudian"
    exists(["zoudian", *words])
    assert (service["Restart"], service["RestartSec"], service["KillSignal"]) == ("always", "1", "SIGTERM")
    assert (service["NoNewPrivileges"], service["ProtectSystem"], service["CapabilityBoundingSet"]) == (
        "yes",
        "strict",
        "",
    )
    assert int(service["TimeoutStopSec"]) == seconds(compose()["services"]["zoudian"]["stop_grace_period"])
    given = dict(line.split("=", 1) for line in every(path, "Environment"))
    assert unknown_variables(given) == []
    loaded = [line.partition(":")[0] for line in every(path, "LoadCredential")]
    assert {variable_of(tuple(name.split("__"))) for name in loaded} <= SECRET_VARIABLES
    assert [f"{name}:\\n" for name in loaded] == every(path, "SetCredential"), "one that is missing counts as empty"
    assert set(loaded) == set(compose()["secrets"]) - {"postgres_password"}


@EACH_UNIT
def test_systemd_takes_the_unit(path: Path, tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not on this machine")
    name = path.name.replace("@.", "@8350.")
    text = path.read_text(encoding="utf-8").replace("/opt/zoudian/.venv/bin/zoudian", "/bin/true")
    (tmp_path / name).write_text(text)
    result = subprocess.run([verify, "verify", tmp_path / name], capture_output=True, text=True, check=False)
    said = [line for line in result.stderr.splitlines() if name in line]
    assert (result.returncode, said) == (0, []), result.stderr


def test_a_secret_that_is_an_empty_line_is_none(tmp_path: Path) -> None:
    for name in ("data__url", "telegram__token", "web__cookie_key", "wecom__aes_key", "mp__token"):
        (tmp_path / name).write_text("\n")
    settings = load_settings(None, {"ZOUDIAN_SECRETS_DIR": str(tmp_path)})
    assert settings.database_url.startswith("sqlite:")
    assert not settings.telegram.token.get_secret_value()


# --- zoudian health


@contextmanager
def process(status: int, words: str) -> Iterator[int]:
    """Somebody who answers so on a port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(words.encode())

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(main, ["health", *arguments], env=variables)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_health_is_the_process_s_own_word(status: int, code: int) -> None:
    with process(status, "outbox: 95 s") as port:
        by_port = ask("--port", str(port))
        by_settings = ask(ZOUDIAN_WEB__PORT=str(port), ZOUDIAN_WEB__HOST="0.0.0.0")  # noqa: S104 - asked about, not bound
    assert (by_port.exit_code, by_settings.exit_code) == (code, code)
    assert ("outbox: 95 s" in by_port.output) == bool(code)


def test_health_without_a_process_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        waits = ask("--port", port, "--timeout", "0.2")
    gone = ask("--port", port)
    assert (waits.exit_code, gone.exit_code) == (1, 1)
    assert "没有应答" in gone.output


def test_compose_is_where_this_test_looks() -> None:
    assert COMPOSE.is_file()
    assert UNITS
