"""Looks at one WeChat account from where the bot runs, builds its menu, and says in plain words what is missing.

Nothing here changes the firm's own data. Every check stands alone, so that one look tells all that is left to do.
"""

import re
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import aiohttp

from bot.loopback.signer import Signer
from bot.mp_sending import NO_RIGHT, Template
from bot.settings_fields import WebValues
from bot.wechat_client import WeChatApi
from bot.wechat_errors import ApiError, ApiNotReached, ApiRefused, TokenTrouble
from bot.wechat_menu import menu
from bot.wechat_pages import verify_file
from rules.people import Employee
from texts import Texts
from web.here import here_path

Json = dict[str, Any]
Standing = Literal["fine", "missing", "note"]

CALLBACK_S: Final = 5.0  # as long as the platform waits
NO_SUCH_APP: Final = frozenset({40056, 301002})
OUT_OF_SIGHT: Final = frozenset({60011, 60111, 40003})  # developer.work.weixin.qq.com/document/path/90313
MOST_ASKED: Final = 200  # members looked up one by one, where the app is given to whole departments
# Where a 公众号's own console lists templates of 订阅通知; it is not under /cgi-bin/.
AGREEMENTS: Final = "https://api.weixin.qq.com/wxaapi/newtmpl/gettemplate"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. What is `missing` keeps the channel from working in full."""

    standing: Standing
    text: str


class Look:
    """What was found so far, in the operator's language."""

    def __init__(self, texts: Texts, product: Literal["wecom", "mp"]) -> None:
        self.texts = texts
        self.product = texts.say(f"wechat_product.{product}")
        self.findings: list[Finding] = []

    def say(self, key: str, /, **values: object) -> str:
        shown = {name: self._listed(value) for name, value in values.items()}
        return self.texts.say(key, {"product": self.product, **shown})

    def fine(self, text: str) -> None:
        self.findings.append(Finding("fine", text))

    def missing(self, text: str) -> None:
        self.findings.append(Finding("missing", text))

    def note(self, text: str) -> None:
        self.findings.append(Finding("note", text))

    @property
    def left(self) -> int:
        return sum(finding.standing == "missing" for finding in self.findings)

    def _listed(self, value: object) -> object:
        if isinstance(value, list | tuple):
            return self.texts.say("between").join(str(one) for one in value)
        return value


async def look_at_callback(look: Look, signer: Signer, public_url: str, path: str, ports: Sequence[int] = ()) -> None:
    """Verify our own address as 企业微信 does, which tries token and AES key both. `ports`: the only ones called."""
    if not public_url:
        look.missing(look.say("setup.no_public_url", path=path))
        return
    url = f"{public_url.rstrip('/')}{path}"
    look.note(look.say("setup.enter_url", url=url))
    if ports and (urlsplit(url).port or ports[0]) not in ports:
        look.missing(look.say("setup.wrong_port"))
    wanted = secrets.token_hex(8)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALLBACK_S)) as http,
            http.get(url, params=signer.echo(wanted), allow_redirects=False) as answer,
        ):
            status, text = answer.status, await answer.content.read(200)
    except (TimeoutError, aiohttp.ClientError, ValueError):
        look.missing(look.say("setup.url_not_reached", url=url))
        return
    if status == 200 and text.decode("utf-8", "replace") == wanted:
        look.fine(look.say("setup.url_answers"))
    elif status in (400, 403):
        look.missing(look.say("setup.url_other_keys", url=url))
    else:
        look.missing(look.say("setup.url_not_ours", url=url, status=status))


async def look_at_token(look: Look, api: WeChatApi) -> bool:
    """Whether the platform knows our credentials."""
    return await tried(look, api.token(), look.say("setup.token_fine")) is not None


async def tried(look: Look, call: Awaitable[Any], done: str = "") -> Any:
    """What a call gave, or None after a line that says what is in the way."""
    try:
        result = await call
    except ApiError as error:
        look.missing(_in_the_way(look, error))
        return None
    if done:
        look.fine(done)
    return result


def _in_the_way(look: Look, error: ApiError) -> str:
    if isinstance(error, TokenTrouble):
        return str(error)
    if isinstance(error, ApiNotReached):
        return look.say("setup.not_reached")
    if isinstance(error, ApiRefused) and error.errcode in NO_SUCH_APP:
        return look.say("setup.no_such_app", errcode=error.errcode)
    return look.say("setup.refused", detail=error)


# --- 企业微信 ------------------------------------------------------------------------------------------------------


async def look_at_page(look: Look, api: WeChatApi, web: WebValues, domain: str | None = None) -> str:
    """The address of the page for the exact position, "" where there can be none. What only an administrator can set
    is said; `domain` is the trusted one as 企业微信 tells it, None where nobody tells.
    """
    page = f"{web.public_url.rstrip('/')}{here_path(api.account.product)}"
    host = urlsplit(page).hostname or ""
    if not page.startswith("https://"):
        look.note(look.say("setup.page_not_https"))
        return ""
    try:
        await api.ticket()
    except ApiRefused as refused:
        if refused.errcode not in NO_RIGHT:
            look.missing(_in_the_way(look, refused))
        else:
            look.note(look.say("setup.page_no_right", errcode=refused.errcode))
        return ""
    except ApiError as error:
        look.missing(_in_the_way(look, error))
        return ""
    await look_at_verify_files(look, web)
    if domain is None:
        look.note(look.say("setup.page_domains", host=host))
    elif domain and (host == domain or host.endswith(f".{domain}")):
        look.fine(look.say("setup.page_domain_fine", host=host))
    else:
        look.missing(look.say("setup.page_domain", host=host))
    look.fine(look.say("setup.page_fine", page=page))
    return page


async def look_at_verify_files(look: Look, web: WebValues) -> None:
    """Whether what the console looks for at the domain is there, seen from outside."""
    for name, content in map(verify_file, web.verify_files):
        url = f"{urlsplit(web.public_url)._replace(path='').geturl()}/{name}"
        text = None
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALLBACK_S)) as http,
                http.get(url, allow_redirects=False) as answer,
            ):
                text = (await answer.content.read(200)).decode("utf-8", "replace") if answer.status == 200 else ""
        except (TimeoutError, aiohttp.ClientError, ValueError):
            look.missing(look.say("setup.url_not_reached", url=url))
            continue
        if text.strip() == content:
            look.fine(look.say("setup.verify_fine", url=url))
        else:
            look.missing(look.say("setup.verify_other", url=url))


async def look_at_work(look: Look, api: WeChatApi, staff: Sequence[Employee], web: WebValues) -> None:
    """The app: credentials, trusted address, who may use it, what it reports, the page for the position; its menu."""
    if not await look_at_token(look, api):
        return
    agent_id = api.account.agent_id
    app = await tried(look, api.call(lambda client: client.agent.get(agent_id)))
    if not isinstance(app, Mapping):
        return
    look.fine(look.say("setup.app_found", name=app.get("name", "")))
    if app.get("close") == 1:
        look.missing(look.say("setup.app_closed"))
    await _look_at_members(look, api, app, staff)
    await _look_at_reports(look, api, app)
    page = await look_at_page(look, api, web, str(app.get("redirect_domain") or ""))
    made = menu(look.texts, page)
    await tried(look, api.call(lambda client: client.menu.create(agent_id, made)), look.say("setup.menu_made"))


async def _look_at_members(look: Look, api: WeChatApi, app: Mapping[str, Any], staff: Sequence[Employee]) -> None:
    """Whether everybody of the 业务员 table sees the app. A member in a department given as a whole is asked for."""
    nameless = [person.name for person in staff if not person.wecom]
    if not staff:
        look.missing(look.say("setup.nobody"))
    elif nameless:
        look.missing(look.say("setup.no_account", count=len(nameless), names=nameless[:10]))
    named = {str(one.get("userid", "")).lower() for one in _part(app, "allow_userinfos", "user")}
    wholesale = bool(_part(app, "allow_partys", "partyid") or _part(app, "allow_tags", "tagid"))
    unsure = [person for person in staff if person.wecom and person.wecom not in named]
    unseen = unsure
    if wholesale:
        unseen = []
        for person in unsure[:MOST_ASKED]:
            try:
                await api.get("user/get", {"userid": person.wecom})
            except ApiRefused as refused:
                if refused.errcode not in OUT_OF_SIGHT:
                    look.missing(_in_the_way(look, refused))
                    return
                unseen.append(person)
            except ApiError as error:
                look.missing(_in_the_way(look, error))
                return
    if unseen:
        names = [f"{person.name}（{person.wecom}）" for person in unseen[:10]]
        look.missing(look.say("setup.not_visible", count=len(unseen), names=names))
    elif any(person.wecom for person in staff):
        look.fine(look.say("setup.all_visible", count=sum(bool(person.wecom) for person in staff)))


async def _look_at_reports(look: Look, api: WeChatApi, app: Mapping[str, Any]) -> None:
    """The app tells where the phone is when its chat is opened: the only device fix that nobody has to send."""
    wanted = {"report_location_flag": 1, "isreportenter": 1}
    if all(app.get(name) == value for name, value in wanted.items()):
        look.fine(look.say("setup.reports_on"))
        return
    change = {"agentid": int(api.account.agent_id), **wanted}
    await tried(look, api.post("agent/set", change), look.say("setup.reports_switched"))


def _part(table: Mapping[str, Any], name: str, inner: str) -> list[Any]:
    found = table.get(name)
    listed = found.get(inner) if isinstance(found, Mapping) else None
    return listed if isinstance(listed, list) else []


# --- 公众号 --------------------------------------------------------------------------------------------------------


async def look_at_official(look: Look, api: WeChatApi, templates: Mapping[str, Template], web: WebValues) -> None:
    """Credentials, listed address, the page for the position, menu, templates. `templates` by intent."""
    if not await look_at_token(look, api):
        return
    page = await look_at_page(look, api, web)
    boxes = any(template.kind == "subscribe" for template in templates.values())
    if boxes:
        look.note(look.say("setup.boxes")) if page else look.missing(look.say("setup.boxes_no_page"))
    made = menu(look.texts, page, boxes=boxes)
    try:
        await api.call(lambda client: client.menu.create(made))
    except ApiRefused as refused:
        if refused.errcode in NO_RIGHT:
            look.note(look.say("setup.menu_no_right", errcode=refused.errcode))
        else:
            look.missing(_in_the_way(look, refused))
    except ApiError as error:
        look.missing(_in_the_way(look, error))
    else:
        look.fine(look.say("setup.menu_made"))
    if not templates:
        look.note(look.say("setup.no_templates"))
    for intent, template in templates.items():
        await _look_at_template(look, api, look.say(f"setup.template.{intent}"), template)


async def _look_at_template(look: Look, api: WeChatApi, name: str, template: Template) -> None:
    path, items, key = ("template/get_all_private_template", "template_list", "template_id")
    if template.kind == "subscribe":
        path, items, key = AGREEMENTS, "data", "priTmplId"
    answer = await tried(look, api.get(path))
    if answer is None:
        return
    listed = answer.get(items)
    contents = {
        str(one.get(key)): str(one.get("content", ""))
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, Mapping)
    }
    if template.template_id not in contents:
        look.missing(look.say("setup.template_unknown", name=name, id=template.template_id))
        return
    there = re.findall(r"\{\{\s*(\w+)\.DATA\s*\}\}", contents[template.template_id])
    ours = [theirs for _, theirs in template.fields]
    wrong, empty = [one for one in ours if one not in there], [one for one in there if one not in ours]
    if wrong:
        look.missing(look.say("setup.template_wrong", name=name, wrong=wrong, there=there))
    elif empty:
        look.missing(look.say("setup.template_empty", name=name, empty=empty))
    else:
        look.fine(look.say("setup.template_fine", name=name))
