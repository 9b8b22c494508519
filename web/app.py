"""The site's address book."""

from aiohttp import web

from web import chat, demo, login, manager
from web.site import MB, SITE, STATIC, Site, add_headers, guard


def make_app(site: Site) -> web.Application:
    """The whole site as one aiohttp application; whoever serves it may add routes of the own before it starts."""
    # A little room above the file itself for the rest of the form, so that the refusal can be a sentence.
    app = web.Application(middlewares=[guard], client_max_size=site.settings.upload_mb * MB + MB)
    app[SITE] = site
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_close)
    app.add_routes(login.routes)
    app.add_routes(chat.routes)
    app.add_routes(manager.routes)
    if site.settings.demo:
        app.add_routes(demo.routes)
    app.router.add_static("/static/", STATIC)
    return app


async def _close(app: web.Application) -> None:
    app[SITE].close()
