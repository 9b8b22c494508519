"""What only a demonstration has: being anybody, standing in front of any outlet, and sample voice notes."""

import json
from pathlib import Path
from typing import Any

from aiohttp import web

import texts
from handlers import joining
from rules.people import Employee, Part, system
from storage import firm, people
from storage.chats import CHANNEL
from storage.database import Work
from storage.people import Account
from web.site import SITE, Refusal, Site, data, json_body, log_in, visitor_of

routes = web.RouteTableDef()


@routes.get("/api/demo")
@routes.get("/manager/api/demo")
async def offered(request: web.Request) -> web.StreamResponse:
    """The people to be, the outlets to stand at (one's own first), and the sample notes with their words."""
    site, visitor = request.app[SITE], await visitor_of(request)
    own = visitor.employee.code if visitor.employee is not None else None

    def find(work: Work) -> dict[str, Any]:
        staff = [person for person in people.staff(work) if person.active]
        outlets = [outlet for outlet in firm.outlets(work) if outlet.point is not None]
        outlets.sort(key=lambda outlet: (outlet.rep != own, outlet.code))
        return {
            "people": [
                {
                    "code": person.code,
                    "name": person.name,
                    "role": visitor.texts.say(f"web.role.{person.role.value}"),
                    "districts": list(person.districts),
                    "chosen": person.code == own,
                    "manages": person.manages,
                    "role_code": person.role.value,
                }
                for person in staff
            ],
            "outlets": [
                {"code": outlet.code, "name": outlet.name, "address": outlet.address, "own": outlet.rep == own}
                for outlet in outlets
            ],
        }

    return data({**await site.look(find, system(Part.SITE)), "clips": _clips(site)})


@routes.post("/api/demo/person")
@routes.post("/manager/api/demo/person")
async def become(request: web.Request) -> web.StreamResponse:
    """Go on as another employee; the chat with the bot is that employee's own."""
    site = request.app[SITE]
    code = (await json_body(request)).get("code")
    now = site.clock()

    def link(work: Work) -> str:
        person = people.employee(work, code) if isinstance(code, str) else None
        if person is None or not person.active:
            raise Refusal(404, "not_found")
        return demo_account(work, person, site).user_ref

    session = site.sessions.make(now, await site.change(link, system(Part.SITE)))
    response = data({"accepted": True})
    log_in(request, response, session)
    return response


@routes.get("/api/demo/clips/{name}")
async def clip(request: web.Request) -> web.StreamResponse:
    site, name = request.app[SITE], request.match_info["name"]
    if site.settings.demo_clips is None or name not in {clip["file"] for clip in _clips(site)}:
        raise Refusal(404, "not_found")
    body = (site.settings.demo_clips / name).read_bytes()
    return web.Response(body=body, content_type="audio/ogg")


def demo_account(work: Work, person: Employee, site: Site) -> Account:
    """The web chat account of a demonstration's employee; made, and greeted, when it is first wanted."""
    known = [account for account in people.accounts_of(work, person.code) if account.channel == CHANNEL]
    if known:
        return known[0]
    user_ref = f"demo-{person.code}"
    language = texts.load(site.settings.language).language
    account = people.link(work, Account(CHANNEL, user_ref, user_ref, person.code, language), site.clock())
    joining.greet(work, account, person, site.clock(), f"greet:{account.id}")
    return account


def _clips(site: Site) -> list[dict[str, Any]]:
    folder: Path | None = site.settings.demo_clips
    if folder is None:
        return []
    clips = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    # The same notes lie there as AMR too, for the tests; no browser plays that.
    return [
        {"file": clip["file"], "text": clip["text"], "seconds": clip["seconds"]}
        for clip in clips
        if clip["file"].endswith(".ogg")
    ]
