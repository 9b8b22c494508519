"""What `zoudian wecom setup` and `zoudian mp setup` ask of the platforms: the app, its menu, members, templates."""

from typing import Any, Final

from bot.loopback.platform import Call, Refusal

Json = dict[str, Any]

# The types of menu entries that a platform knows; those with a page have a `url`, the others a `key`.
PRESSED: Final = frozenset(
    {
        *("click", "scancode_push", "scancode_waitmsg", "pic_sysphoto", "pic_photo_or_album", "pic_weixin"),
        "location_select",
    }
)


def check_menu(menu: Json, top_bytes: int, entry_bytes: int) -> None:
    """Refuses what the platforms refuse: over 3 × 5 entries, names that are too long, keys over 128 bytes."""
    top = menu.get("button")
    if not isinstance(top, list) or not 1 <= len(top) <= 3:
        raise Refusal(40016, "invalid button size")
    for button in top:
        entries = button.get("sub_button")
        _check_name(button, top_bytes, 40018)
        if entries is None:
            _check_entry(button)
            continue
        if not 1 <= len(entries) <= 5:
            raise Refusal(40023, "invalid sub button size")
        for entry in entries:
            _check_name(entry, entry_bytes, 40025)
            _check_entry(entry)


def _check_name(button: Json, longest: int, errcode: int) -> None:
    if not 0 < len(str(button.get("name", "")).encode()) <= longest:
        raise Refusal(errcode, "invalid button name size")


def _check_entry(button: Json) -> None:
    if button.get("type") == "view":
        if not str(button.get("url", "")).startswith(("http://", "https://")):
            raise Refusal(40055, "invalid button url")
    elif button.get("type") not in PRESSED:
        raise Refusal(40017, "invalid button type")
    elif not 0 < len(str(button.get("key", "")).encode()) <= 128:
        raise Refusal(40019, "invalid button key size")


class WorkConsole:
    """One app of 企业微信 as its console has it. `outside` are members of the corp that the app may not see."""

    def __init__(self, agent_id: str, members: set[str]) -> None:
        self._agent_id, self._members = agent_id, members
        self.outside: set[str] = set()
        self.departments: list[int] = []
        self.closed = False
        self.domain = ""  # the trusted one, without a scheme
        self.flags = {"report_location_flag": 0, "isreportenter": 0}
        self.menu: Json | None = None
        self.handlers = {
            "agent/get": self._agent,
            "agent/set": self._set_agent,
            "user/get": self._member,
            "menu/create": self._make_menu,
        }

    def _check_agent(self, agent_id: object) -> None:
        if str(agent_id) != self._agent_id:
            raise Refusal(40056, "invalid agentid")

    def _agent(self, call: Call) -> Json:
        self._check_agent(call.params.get("agentid"))
        named = [] if self.departments else [{"userid": one} for one in sorted(self._members)]
        return {
            "errcode": 0,
            "errmsg": "ok",
            "agentid": int(self._agent_id),
            "name": "走店",
            "allow_userinfos": {"user": named},
            "allow_partys": {"partyid": self.departments},
            "close": int(self.closed),
            "redirect_domain": self.domain,
            **self.flags,
        }

    def _set_agent(self, call: Call) -> Json:
        self._check_agent(call.json.get("agentid"))
        self.flags |= {name: int(call.json[name]) for name in self.flags if name in call.json}
        return {"errcode": 0, "errmsg": "ok"}

    def _member(self, call: Call) -> Json:
        member = call.params.get("userid", "").lower()
        if member in self.outside:
            raise Refusal(60011, "no privilege to access/modify contact/party/agent")
        if member not in self._members:
            raise Refusal(60111, "userid not found")
        return {"errcode": 0, "errmsg": "ok", "userid": member, "name": member}

    def _make_menu(self, call: Call) -> Json:
        self._check_agent(call.params.get("agentid"))
        check_menu(call.json, 16, 40)
        self.menu = call.json
        return {"errcode": 0, "errmsg": "ok"}


class OfficialConsole:
    """A 公众号 as its console has it. `templates` and `agreements` (订阅通知): the content by its number."""

    def __init__(self) -> None:
        self.menu: Json | None = None
        self.templates: dict[str, str] = {}
        self.agreements: dict[str, str] = {}
        self.handlers = {
            "menu/create": self._make_menu,
            "template/get_all_private_template": self._templates,
            "wxaapi/newtmpl/gettemplate": self._agreements,
        }

    def _make_menu(self, call: Call) -> Json:
        check_menu(call.json, 16, 60)
        self.menu = call.json
        return {"errcode": 0, "errmsg": "ok"}

    def _templates(self, call: Call) -> Json:
        listed = [{"template_id": one, "title": "提醒", "content": text} for one, text in self.templates.items()]
        return {"template_list": listed}

    def _agreements(self, call: Call) -> Json:
        listed = [{"priTmplId": one, "title": "提醒", "content": text} for one, text in self.agreements.items()]
        return {"errcode": 0, "errmsg": "ok", "data": listed}
