"""A stored file behind an address that anybody may open for a short while: for chats that cannot carry files."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from aiohttp import web

import texts
from storage.files import FileLost, Files
from web.site import problem_page

PATH: Final = "/files/{until}/{signature}/{key}/{name}"
MINUTES: Final = 30
LONGEST_NAME: Final = 120


@dataclass(frozen=True, slots=True)
class SignedFiles:
    """Makes such addresses below `address` and serves them. Whoever has an address has the file until it ends, so it
    is signed, short-lived, and names no person. `secret` is the site's own; the key used is derived from it.
    """

    address: str
    secret: bytes = field(repr=False)
    files: Files
    clock: Callable[[], datetime]
    language: str = texts.DEFAULT

    def link(self, key: str, name: str) -> str:
        """The address of a stored file for MINUTES from now; `name` is what it is saved as."""
        until = int((self.clock() + timedelta(minutes=MINUTES)).timestamp())
        shown = _safe(name)
        return f"{self.address.rstrip('/')}/files/{until}/{self._signature(until, key, shown)}/{key}/{quote(shown)}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The file as a download; 410 after its time, 404 for what was never signed."""
        until, signature, key, name = (request.match_info[part] for part in ("until", "signature", "key", "name"))
        if not (until.isascii() and until.isdigit() and len(until) <= 12):
            return self._problem(404, "not_found")
        right = self._signature(int(until), key, name)
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), right.encode()):
            return self._problem(404, "not_found")
        if self.clock().timestamp() > int(until):
            return self._problem(410, "link_over")
        try:
            content = await asyncio.to_thread(self.files.get, key)
        except (FileLost, ValueError):
            return self._problem(404, "not_found")
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cache-Control": "private, no-store",
            "Referrer-Policy": "no-referrer",
        }
        return web.Response(body=content, headers=headers)

    def _signature(self, until: int, key: str, name: str) -> str:
        own = hmac.digest(self.secret, b"signed files", hashlib.sha256)
        told = "\0".join((str(until), key, name)).encode("utf-8", "replace")
        return base64.urlsafe_b64encode(hmac.digest(own, told, hashlib.sha256)[:18]).decode()

    def _problem(self, status: int, problem: str) -> web.Response:
        words = texts.load(self.language)
        return problem_page(words, words.say(f"web.problem.{problem}"), status)


def _safe(name: str) -> str:
    """A file's name without what an address or a file system could read as something else."""
    kept = "".join("_" if char in '/\\:*?"<>|' or not char.isprintable() else char for char in name)
    return kept.strip(". ")[:LONGEST_NAME] or "file"
