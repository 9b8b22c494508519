"""企业微信 on loopback: one app of one corp, and the robots of its groups."""

import itertools
import re
import secrets
import time
from collections import defaultdict
from typing import Any
from xml.sax.saxutils import escape

from bot.loopback.consoles import WorkConsole
from bot.loopback.pages import Pages
from bot.loopback.platform import Call, LoopbackPlatform, Refusal
from bot.loopback.signer import Messages

Json = dict[str, Any]

TEXT_BYTES = 2048  # longer texts are cut without a word
MARKDOWN_BYTES = 4096  # of a group's robot
TASK_ID = re.compile(r"[0-9A-Za-z_\-@]{1,128}")


class WorkPlatform(LoopbackPlatform):
    """`members` are the userids that the app may reach; `sent` what they got, as one entry a message and member.

    `dropped` is what was over `member_limits`, 30 a minute and 1,000 an hour to a member, `swallowed` what the check
    for duplicates kept back: both answered as a success. `cards` holds each card by its task id, with `shown` as the
    label it was changed to. `robots` are the keys of group robots and the texts that their groups got.
    """

    blocked_errcode = 60020

    def __init__(
        self,
        corp_id: str = "ww0000loopback0000",
        agent_id: str = "1000002",
        secret: str = "loopback-secret-of-the-app-000000000000001",  # noqa: S107 - of no real corp
        *,
        members: tuple[str, ...] = (),
        unlicensed: tuple[str, ...] = (),
        callback_s: float = 5.0,
    ) -> None:
        super().__init__(corp_id, secret, callback_s=callback_s)
        self.agent_id = agent_id
        self.members = {member.lower() for member in members}
        self.unlicensed = {member.lower() for member in unlicensed}
        self.member_limits: tuple[tuple[int, float], ...] = ((30, 60.0), (1000, 3600.0))
        self.sent: list[Json] = []
        self.dropped: list[Json] = []
        self.swallowed: list[Json] = []
        self.recalled: list[str] = []
        self.cards: dict[str, Json] = {}
        self.robots: dict[str, list[str]] = {}
        self.messages = Messages(corp_id, agent_id)
        self._message_numbers = itertools.count(1)
        self._codes: dict[str, str] = {}  # response_code that was not used yet → task id
        self._times: dict[str, list[float]] = defaultdict(list)
        self._robot_times: dict[str, list[float]] = defaultdict(list)
        self._checked: dict[str, float] = {}
        self.pages = Pages(corp_id, agent_id)
        self.open_paths = {"gettoken", "webhook/send"} | self.pages.open_paths
        self.handlers |= {
            "gettoken": self._gettoken,
            "message/send": self._send,
            "message/update_template_card": self._update_card,
            "message/recall": self._recall,
            "webhook/send": self._robot,
            "auth/getuserinfo": self._whose_code,
            "get_jsapi_ticket": self.pages.ticket,
            **self.pages.handlers,
        }
        self.console = WorkConsole(agent_id, self.members)
        self.handlers |= self.console.handlers

    # what people do

    def newest_card(self, member: str, label: str = "") -> Json:
        """The newest card of a member that has this label on a button or option."""
        for message in reversed(self.sent):
            if message["to"] != member.lower() or message["msgtype"] != "template_card":
                continue
            card: Json = message["template_card"]
            if not label or any(label in text for _, text in choices_of(card)):
                return card
        raise LookupError(f"no card with {label!r} for {member}")

    def tap(self, member: str, *labels: str, at: int | None = None, card: Json | None = None) -> str:
        """The event of pressing a button, or of ticking these labels and pressing the card's submit button."""
        shown = card or self.newest_card(member, labels[0])
        keys = [next(key for key, text in choices_of(shown) if label in text) for label in labels]
        kind = str(shown["card_type"])
        raw, key = "", keys[0]
        if kind != "button_interaction":
            raw, key = _selected(shown, keys), str(shown["submit_button"]["key"])
        code = self._code(str(shown["task_id"]))
        fields = {"EventKey": key, "TaskId": str(shown["task_id"]), "CardType": kind, "ResponseCode": code}
        return self.messages.event(member, "template_card_event", at=at, raw=raw, **fields)

    # calls

    def _gettoken(self, call: Call) -> Json:
        return self.token_for(call.params.get("corpid", ""), call.params.get("corpsecret", ""), forced=False)

    def _send(self, call: Call) -> Json:
        """Those who may not be reached are named in the answer, which is a success all the same."""
        message = call.json
        if str(message.get("agentid")) != self.agent_id:
            raise Refusal(40056, "invalid agentid")
        wanted = [one.lower() for one in str(message.get("touser", "")).split("|") if one]
        known = [one for one in wanted if one in self.members]
        if not known:
            raise Refusal(81013, "user & party & tag all invalid")
        reached = [one for one in known if one not in self.unlicensed]
        number = f"msg-{next(self._message_numbers)}"
        kind = str(message.get("msgtype"))
        inside = dict(message.get(kind) or {})
        answer = {
            "errcode": 0,
            "errmsg": "ok",
            "invaliduser": "|".join(one for one in wanted if one not in self.members),
            "unlicenseduser": "|".join(one for one in known if one in self.unlicensed),
            "msgid": number,
        }
        if kind == "text":
            inside["content"] = str(inside.get("content", "")).encode()[:TEXT_BYTES].decode("utf-8", "ignore")
        elif kind in ("image", "file"):
            self._check_file(kind, str(inside.get("media_id")))
        elif kind == "template_card":
            self.check_card(inside)
            self.cards[inside["task_id"]] = {**inside, "shown": ""}
            answer["response_code"] = self._code(inside["task_id"])
        for one in reached:
            entry = {"to": one, "msgtype": kind, kind: inside, "msgid": number}
            if self._is_double(message, one, inside):
                self.swallowed.append(entry)
            elif self._is_too_many(self._times[one], self.member_limits):
                self.dropped.append(entry)
            else:
                self.sent.append(entry)
        return answer

    def _is_double(self, message: Json, member: str, inside: Json) -> bool:
        if message.get("enable_duplicate_check") != 1:
            return False
        now, what = time.monotonic(), f"{member} {message['msgtype']} {inside}"
        ends = self._checked.get(what, 0.0)
        if ends <= now:
            self._checked[what] = now + float(message.get("duplicate_check_interval", 1800))
        return ends > now

    def _is_too_many(self, times: list[float], limits: tuple[tuple[int, float], ...]) -> bool:
        now = time.monotonic()
        if any(sum(at > now - seconds for at in times) >= count for count, seconds in limits):
            return True
        times.append(now)
        return False

    def _check_file(self, kind: str, media_id: str) -> None:
        media = self.media.get(media_id)
        if media is None or media.kind != kind:
            raise Refusal(40007, "invalid media_id")
        if not 5 < len(media.data) <= (10 if kind == "image" else 20) * 1024 * 1024:
            raise Refusal(40009, "invalid image size")

    def check_card(self, card: Json) -> None:
        """What the platform refuses, or cuts, or never shows again is refused here."""
        task_id = str(card.get("task_id", ""))
        if not TASK_ID.fullmatch(task_id):
            raise Refusal(40058, "invalid task_id")
        if task_id in self.cards:
            raise Refusal(42014, "task_id has been used")
        kind, choices = card.get("card_type"), choices_of(card)
        most, longest = {
            "button_interaction": (6, 10),
            "vote_interaction": (20, 17),
            "multiple_interaction": (30, 16),
        }.get(str(kind), (0, 0))
        title = str(card.get("main_title", {}).get("title", ""))
        fits = 0 < len(choices) <= most and all(
            0 < len(text) <= longest and len(key.encode()) <= 128 for key, text in choices
        )
        lists = card.get("select_list", [])
        if any(len(one["option_list"]) > 10 for one in lists) or len(lists) > 3:
            fits = False
        if not fits or not 0 < len(title) <= 36 or len(card.get("main_title", {}).get("desc", "")) > 44:
            raise Refusal(40058, "invalid template_card")
        if len(card.get("sub_title_text", "")) > 160:
            raise Refusal(40058, "sub_title_text is too long")

    def _code(self, task_id: str) -> str:
        code = secrets.token_hex(16)
        self._codes[code] = task_id
        return code

    def _update_card(self, call: Call) -> Json:
        task_id = self._codes.pop(str(call.json.get("response_code")), None)
        if task_id is None:
            raise Refusal(42034, "response_code is invalid or used")
        self.cards[task_id]["shown"] = str(call.json.get("button", {}).get("replace_name", ""))
        return {"errcode": 0, "errmsg": "ok"}

    def _whose_code(self, call: Call) -> Json:
        """A member of the app is named by the userid, in small letters; a guest by an openid."""
        person = self.pages.use_code(call.params.get("code", ""))
        named = {"userid": person.lower()} if person else {"openid": "oGuest_of_the_corp"}
        return {"errcode": 0, "errmsg": "ok", **named}

    def _recall(self, call: Call) -> Json:
        number = str(call.json.get("msgid"))
        if not any(message["msgid"] == number for message in self.sent):
            raise Refusal(40115, "invalid msgid")
        self.recalled.append(number)
        return {"errcode": 0, "errmsg": "ok"}

    def _robot(self, call: Call) -> Json:
        key = call.params.get("key", "")
        if key not in self.robots:
            raise Refusal(93000, "invalid webhook url")
        if self._is_too_many(self._robot_times[key], ((20, 60.0),)):
            raise Refusal(45009, "api freq out of limit")
        kind = str(call.json.get("msgtype"))
        longest = MARKDOWN_BYTES if kind == "markdown" else TEXT_BYTES
        self.robots[key].append(
            str(call.json.get(kind, {}).get("content", "")).encode()[:longest].decode("utf-8", "ignore")
        )
        return {"errcode": 0, "errmsg": "ok"}


def choices_of(card: Json) -> list[tuple[str, str]]:
    """(key, label) of each button or option of a card."""
    if card.get("card_type") == "button_interaction":
        return [(str(one["key"]), str(one["text"])) for one in card.get("button_list", [])]
    lists = card.get("select_list") or [card.get("checkbox", {})]
    return [(str(one["id"]), str(one["text"])) for part in lists for one in part.get("option_list", [])]


def _selected(card: Json, keys: list[str]) -> str:
    """SelectedItems as the platform writes it: each list has something chosen, if only its first."""
    items = ""
    for part in card.get("select_list") or [card["checkbox"]]:
        ids = [one["id"] for one in part["option_list"]]
        chosen = [key for key in keys if key in ids] or ([part["selected_id"]] if "selected_id" in part else [])
        options = "".join(f"<OptionId>{escape(one)}</OptionId>" for one in chosen)
        name = escape(str(part["question_key"]))
        items += f"<SelectedItem><QuestionKey>{name}</QuestionKey><OptionIds>{options}</OptionIds></SelectedItem>"
    return f"<SelectedItems>{items}</SelectedItems>"
