"""The menus of 企业微信 and 公众号: three buttons with up to five entries each, most of them commands by their names.

An entry's key is the name in handlers.commands.COMMANDS, which is what the channels read. Choosing a place and taking a
photo open the phone's own map and camera; what they send comes as an ordinary pin and picture.
"""

from typing import Any, Final

from texts import Texts

_LAYOUT: Final[tuple[tuple[str, tuple[tuple[str, str], ...]], ...]] = (
    ("visit", (("start", "click"), ("place", "location_select"), ("photo", "pic_sysphoto"), ("end", "click"))),
    ("follow", (("todos", "click"), ("alerts", "click"), ("appeal", "click"))),
    ("mine", (("visits", "click"), ("card", "click"), ("switch", "click"), ("undo", "click"), ("help", "click"))),
)


def menu(texts: Texts, page: str = "", *, boxes: bool = False) -> dict[str, Any]:
    """As both platforms' menu/create take it. `page`: the address of the page that measures where the phone is;
    `boxes`: there people agree to be reminded, too.
    """
    made = []
    for top, entries in _LAYOUT:
        below = [
            {"type": kind, "name": texts.say(f"wechat_menu.{name}"), "key": name, "sub_button": []}
            for name, kind in entries
        ]
        if page and top == "visit":
            below.insert(1, {"type": "view", "name": texts.say("wechat_menu.exact"), "url": page})
        if page and boxes and top == "follow":
            below.append({"type": "view", "name": texts.say("wechat_menu.remind"), "url": page})
        made.append({"name": texts.say(f"wechat_menu.{top}"), "sub_button": below})
    return {"button": made}
