"""Ways in which shop owners object, as frames: who or what, what is said of it, how strongly.

A word list knows the sentences it was made from; a frame (a price noun and, a few characters on, any way of not bearing
it) knows sentences nobody has written down yet. The words of `nlp.cues` are surer and are read first. Same masks as
there: ◎ competitor, □ product, ○ outlet, ◇ appointment, one mark a character. Negation, history, hypothesis and
speaker are judged by `nlp.reasons` for both. Where a mark may repeat, the count has a limit: time stays linear.
"""

import re
from collections.abc import Mapping

from nlp import frames_goods, frames_money, frames_supply
from nlp.frame_words import OTHERS, PROMO, N, any_of

OBJECTIONS: Mapping[str, re.Pattern[str]] = {
    "price": frames_money.PRICE,
    "promotion": frames_money.PROMOTION,
    "terms": frames_money.TERMS,
    "stock": frames_goods.STOCK,
    "taste": frames_goods.TASTE,
    "quality": frames_goods.QUALITY,
    "shelf_life": frames_goods.SHELF_LIFE,
    "delivery": frames_supply.DELIVERY,
    "storage": frames_supply.STORAGE,
    "competitor": frames_supply.COMPETITOR,
    "authority": frames_supply.AUTHORITY,
    "contract": frames_money.CONTRACT,
}

# Said over two clauses.
ACROSS: Mapping[str, re.Pattern[str]] = {
    "promotion": any_of(
        rf"{PROMO}[^，。]{{0,2}}，?(?:这次|这回|现在|今年)[^，。]{{0,2}}没",
    ),
    "shelf_life": any_of(
        rf"(?:保质期|日期|效期)[^。]{{0,16}}(?:只|就)(?:有|剩){N}个月",
        r"(?:放|存|保质期|期)[^。]{0,3}(?:多久|多长)[^。]{0,16}(?:嫌[^，。]{0,2}短|皱眉|摇头|太短|不行)",
        r"保质期[^。]{0,16}(?:已经|都放|放了|过了)[^。]{0,8}(?:月|天|半|了)",
    ),
    "price": any_of(
        rf"{OTHERS}[^。]{{0,12}}[百十]{N}*[块元]?，?(?:我们|咱们?|你们)[^，。]{{0,6}}[百十]{N}*[块元]?(?=[，。]|$)",
        rf"(?:你们|我们|咱们?)[^，。]{{0,8}}[百十]{N}*[块元]?，{OTHERS}[^，。]{{0,8}}[百十]{N}*[块元]?(?=[，。]|$)",
    ),
}  # fmt: skip
