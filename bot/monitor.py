"""/metrics, /healthz, /readyz: with all there is to say on a port of their own, in one word on the web port."""

from typing import Final

from aiohttp import web

from bot.meters import CONTENT_TYPE
from bot.probes import Probes, Verdict

_GOODBYE_S: Final = 2.0


class Monitor:
    """The page for the operator, on an address that only the operator reaches; there is no password."""

    def __init__(self, probes: Probes, host: str, port: int) -> None:
        self._probes, self._host, self._port = probes, host, port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises OSError where the port cannot be had; port 0 takes a free one, which `port` then names."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GOODBYE_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def port(self) -> int:
        return int(self._runner.addresses[0][1]) if self._runner is not None else self._port

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=await self._probes.metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _in_full(self._probes.alive())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _in_full(await self._probes.ready())


def public_routes(probes: Probes) -> list[web.RouteDef]:
    """The same two questions on the port that everybody reaches: ok, or unavailable."""

    async def healthz(_request: web.Request) -> web.Response:
        return _in_a_word(probes.alive())

    async def readyz(_request: web.Request) -> web.Response:
        return _in_a_word(await probes.ready())

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]


def _in_full(verdict: Verdict) -> web.Response:
    content = {"ok": verdict.fine, "wrong": list(verdict.wrong), **verdict.details}
    return web.json_response(content, status=200 if verdict.fine else 503, headers={"Cache-Control": "no-store"})


def _in_a_word(verdict: Verdict) -> web.Response:
    text, status = ("ok\n", 200) if verdict.fine else ("unavailable\n", 503)
    return web.Response(text=text, status=status, headers={"Cache-Control": "no-store"})
