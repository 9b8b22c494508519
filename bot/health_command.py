"""zoudian health: asks a running process of this machine whether it is ready; for Docker, systemd and scripts.

It loads no more than it needs, as it is run every few seconds.
"""

import http.client
import ipaddress
from contextlib import closing
from typing import Final

import click

from bot.cli import DATA_PROBLEM, say, settings_of, stop

READY_PATH: Final = "/readyz"
_SHOWN: Final = 300  # characters of what the process says of itself


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="问哪个端口（默认：设置里的网页端口）。")
@click.option("--host", default="", help="问哪个地址（默认：设置里的网页地址；给了 --port 就是 127.0.0.1）。")
@click.option("--path", default=READY_PATH, show_default=True, help="问哪个网址路径。")
@click.option("--timeout", type=click.FloatRange(0.1, 60), default=3.0, show_default=True, help="最多等几秒。")
@click.pass_context
def health(context: click.Context, *, port: int | None, host: str, path: str, timeout: float) -> None:
    """问本机正在运行的走店：准备好了吗。退出码 0 是好了，1 是没好或者没有应答（Docker 的 HEALTHCHECK 用）。

    worker 不开网页端口，要用 --port 指明它的指标端口。
    """
    if port is None:
        web = settings_of(context).web
        host, port = host or web.host, web.port
    where = f"{_reachable(host)}:{port}"
    try:
        status, words = _ask(_reachable(host), port, path, timeout)
    except (OSError, http.client.HTTPException) as trouble:
        stop(DATA_PROBLEM, "health.no_answer", where=where, detail=getattr(trouble, "strerror", "") or trouble)
    if status != http.HTTPStatus.OK:
        stop(DATA_PROBLEM, "health.not_ready", where=where, status=status, detail=words)
    click.echo(say("health.ready", where=where))


def _reachable(host: str) -> str:
    """Where a process answers that listens on all addresses."""
    try:
        address = ipaddress.ip_address(host or "127.0.0.1")
    except ValueError:
        return host
    if address.is_unspecified:
        return "::1" if address.version == 6 else "127.0.0.1"
    return str(address)


def _ask(host: str, port: int, path: str, timeout: float) -> tuple[int, str]:
    """The status, and the beginning of what is said with it."""
    with closing(http.client.HTTPConnection(host, port, timeout=timeout)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(_SHOWN).decode("utf-8", "replace").strip()
