"""The local web chat as a channel: pages served by `web`, deliveries stored before they are acknowledged."""

from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from bot.abilities import WEB
from bot.channels import Accept, MediaProblem, Rendered
from bot.rendering import render
from handlers.messages import Media
from rules.limits import Limits
from storage.chats import CHANNEL
from storage.database import Database
from storage.files import Files
from storage.inbox import Delivery
from storage.outbox import Outgoing
from web.app import make_app
from web.sessions import Sessions
from web.site import Shown, Site, WebSettings

# How long an open page may keep the server from stopping; event streams end at once by themselves.
_GOODBYE_S = 5.0


class WebChannel:
    """Serves the whole site. `app` may be given more routes (a webhook's) before `start`.

    Nothing is pushed from memory: an outbox row is what a page shows, `send` only tells the open pages to look.
    """

    name = CHANNEL
    account = CHANNEL
    abilities = WEB

    def __init__(
        self,
        settings: WebSettings,
        database: Database,
        files: Files,
        limits: Limits,
        sessions: Sessions,
        clock: Callable[[], datetime],
    ) -> None:
        self.site = Site(settings, database, files, limits, sessions, clock, shown=self._shown, accept=self._take)
        self.app = make_app(self.site)
        self._accept: Accept | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, accept: Accept) -> None:
        """Listen on the site's host and port; port 0 takes a free one, which `port` then names."""
        self._accept = accept
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=_GOODBYE_S)
        await self._runner.setup()
        settings = self.site.settings
        await web.TCPSite(self._runner, settings.host, settings.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._runner is None or not self._runner.addresses:
            return self.site.settings.port
        return int(self._runner.addresses[0][1])

    async def fetch(self, media: Media) -> bytes:
        """An upload is stored before its delivery, so there is never anything left to fetch."""
        raise MediaProblem("gone")

    async def send(self, chat_ref: str, message: Rendered) -> str:
        """Tell the pages open on this chat that its outbox has something to show."""
        self.site.ring(chat_ref)
        return ""

    def invite_link(self, token: str) -> str:
        return f"{self.site.settings.address}/join/{token}"

    async def _take(self, delivery: Delivery) -> bool:
        if self._accept is None:
            raise RuntimeError("the web channel was asked for before it was started")
        return await self._accept(delivery)

    def _shown(self, message: Outgoing) -> Shown:
        rendered = render(message.body, self.abilities)
        rows = tuple(tuple((button.data, button.label) for button in row) for row in rendered.buttons)
        return Shown(rendered.texts, rows, rendered.wants_place)
