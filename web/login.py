"""Coming in: an invite link opens a page, and the button on it hands the invite to the bot like any message."""

import re
import uuid

from aiohttp import web

import texts
from handlers.messages import Incoming, Kind
from handlers.wire import incoming_to_plain
from storage.chats import CHANNEL
from storage.inbox import Delivery
from web.site import IS_NEW, SITE, Refusal, data, json_body, log_in, page, visitor_of, words_for

routes = web.RouteTableDef()
_INVITE = re.compile(r"[A-Za-z0-9_-]{16,64}")


@routes.get("/")
async def home(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/chat")


@routes.get("/join/{token}")
async def invited(request: web.Request) -> web.StreamResponse:
    """Opening the link uses nothing up (a messenger's preview opens it too); the button on the page does."""
    if not _INVITE.fullmatch(request.match_info["token"]):
        raise Refusal(404, "not_found")
    return page("join.html", texts.load(request.app[SITE].settings.language))


@routes.get("/api/me")
@routes.get("/manager/api/me")
async def me(request: web.Request) -> web.StreamResponse:
    """Who the page talks as, the token its POSTs carry, and its words.

    A first cookie is given here alone: a page opened from a foreign site's link comes without its strict cookie, and
    must not replace it.
    """
    site, visitor = request.app[SITE], await visitor_of(request)
    employee = visitor.employee
    response = data(
        {
            "token": site.sessions.token(visitor.session),
            "account": visitor.session.user_ref,
            "person": None if employee is None else {"name": employee.name, "manages": employee.manages},
            "demo": site.settings.demo,
            "upload_mb": site.settings.upload_mb,
            "time_zone": site.limits.time_zone,
            "language": visitor.texts.language,
            "words": words_for(visitor.texts, "web."),
        }
    )
    if request[IS_NEW] and request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin":
        log_in(request, response, visitor.session)
    return response


@routes.post("/api/join")
async def join(request: web.Request) -> web.StreamResponse:
    """Hand an invite in, as a person nobody knows yet; whether it is good, the bot says in the chat."""
    site = request.app[SITE]
    token = (await json_body(request)).get("invite")
    if not isinstance(token, str) or not _INVITE.fullmatch(token):
        raise Refusal(400, "bad")
    now = site.clock()
    session = site.sessions.make(now)
    await site.accept(
        Delivery(
            channel=CHANNEL,
            account=CHANNEL,
            delivery_key=f"{session.user_ref}:{uuid.uuid4()}",
            person=f"{CHANNEL}:{session.user_ref}",
            chat_ref=session.user_ref,
            raw={"kind": "join"},
            message=incoming_to_plain(Incoming(Kind.JOIN, now, text=token)),
            received_at=now,
        )
    )
    response = data({"accepted": True})
    log_in(request, response, session)
    return response


@routes.post("/api/leave")
@routes.post("/manager/api/leave")
async def leave(request: web.Request) -> web.StreamResponse:
    """Forget this browser's session."""
    response = data({"left": True})
    log_in(request, response, request.app[SITE].sessions.make(request.app[SITE].clock()))
    return response
