"""Photos and recordings on their way to a browser: the right type, never sniffed, never a page of its own."""

import asyncio

from aiohttp import web

from storage.files import FileLost, Files
from web.site import Refusal

# Whatever else somebody uploaded is handed out as a download without a type.
_SHOWN = frozenset(
    {"image/jpeg", "image/png", "image/webp"}
    | {f"audio/{kind}" for kind in ("ogg", "webm", "mp4", "mpeg", "wav", "x-wav", "x-m4a", "aac", "amr")}
)


async def file_response(request: web.Request, files: Files, key: str, mime: str = "") -> web.Response:
    """A stored file; without a type it must be an image. A player that jumps asks for a byte range and gets it."""
    try:
        content = await asyncio.to_thread(files.get, key)
    except FileLost:
        raise Refusal(404, "not_found") from None
    plain = mime.partition(";")[0].strip().lower() or _image_type(content)
    headers = {
        "Content-Type": plain if plain in _SHOWN else "application/octet-stream",
        "Content-Disposition": "inline" if plain in _SHOWN else "attachment",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, no-store",
        "Accept-Ranges": "bytes",
    }
    try:
        wanted = request.http_range
    except ValueError:
        wanted = slice(None)
    start, stop, _ = wanted.indices(len(content))
    if (wanted.start is None and wanted.stop is None) or start >= stop:
        return web.Response(body=content, headers=headers)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
    return web.Response(body=content[start:stop], status=206, headers=headers)


def _image_type(content: bytes) -> str:
    """By the first bytes; empty for what is none of the three kinds of photo that are taken."""
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    return "image/webp" if content.startswith(b"RIFF") and content[8:12] == b"WEBP" else ""
