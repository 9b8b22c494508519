"""The conversation every bot here holds, and the words it must close with: one visit in five messages."""

from typing import Any

TOKEN = "123456:bench-token-AAE5Vv2l0rGz1dXyKq3wPjH7uN4mB8"
STEPS = 5  # a live position, a photo, a typed note, a tap on 确认, a tap on the first close factor
NOTE = "解决了送货迟到的问题，老板娘订了5箱小酥肉"
CLOSED = "拜访已记录"
CONFIRM = ("确认", "修改")
FACTORS = (
    "竞品缺货",
    "老板娘认可新品",
    "价格有优势",
    "促销政策到位",
    "配送及时",
    "老客户补货",
    "样品试用满意",
    "决策人当面拍板",
)
FIRST_CHAT = 1000
EVERYWHERE = 0.01  # degrees between two outlets: far enough for one clear match


def outlet_place(chat: int) -> tuple[float, float]:
    """(latitude, longitude) in WGS-84 of the outlet where a chat's rep stands."""
    row, column = divmod(chat - FIRST_CHAT, 25)
    return round(29.5 + row * EVERYWHERE, 5), round(120.2 + column * EVERYWHERE, 5)


def photo_name(chat: int) -> str:
    return f"front-{chat}"


def update(number: int, chat: int, step: int, tapped: str, date: int) -> dict[str, Any]:
    """The update of one step as Telegram writes it; `tapped` is the data of the button that is pressed."""
    user = {"id": chat, "is_bot": False, "first_name": "建", "last_name": "王", "language_code": "zh-hans"}
    where = {"id": chat, "first_name": "建", "last_name": "王", "type": "private"}
    message: dict[str, Any] = {"message_id": number, "from": user, "chat": where, "date": date}
    if step == 0:
        lat, lon = outlet_place(chat)
        place = {"latitude": lat, "longitude": lon, "live_period": 900, "horizontal_accuracy": 8.0}
        return {"update_id": number, "message": {**message, "location": place}}
    if step == 1:
        sizes = [
            {"file_id": photo_name(chat), "file_unique_id": "AQAD", "width": 640, "height": 480, "file_size": 24_000}
        ]
        return {"update_id": number, "message": {**message, "photo": sizes}}
    if step == 2:
        return {"update_id": number, "message": {**message, "text": NOTE}}
    shown = {**message, "from": {"id": 123456, "is_bot": True, "first_name": "走店"}, "text": "…"}
    query = {"id": str(number), "from": user, "message": shown, "chat_instance": "1", "data": tapped}
    return {"update_id": number, "callback_query": query}
