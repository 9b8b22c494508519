"""What the frames have in common (see nlp.frames): how they are put together, and words that several of them use."""

import re

from nlp.patterns import regex


def any_of(*patterns: str) -> re.Pattern[str]:
    return regex("|".join(patterns))


def near(subject: str, predicate: str, gap: int = 6) -> str:
    """The predicate said of the subject, at most `gap` characters on, in the same breath."""
    return rf"(?:{subject})[^，。；！？]{{0,{gap}}}(?:{predicate})"


N = r"[\d一二两三四五六七八九十半几好百]"
COUNTER = r"[箱包瓶桶盒袋件]"
OTHERS = (
    r"(?:◎{1,8}|隔壁|对面|对门|别家|别人|别处|人家|外面|外头|市场里?上?|其他家|另[一外][^，。]?家|同行|网上|"
    r"拼多多|批发市场|批发部|批发商|供货的|那[一几]家)"
)
PROMO = (
    r"(?:活动|促销|大促|店庆|年货节|优惠|搭赠|赠品|买赠|政策|返利|返点|返现|满减|折扣|力度|补贴|陈列费|堆头|堆头费|进场支持|"
    r"市场支持|费用支持|赠送|搭送|特惠|礼品|福利|"
    r"奖励|让利活动|试吃支持|海报|买.[送搭]|礼包|扶持|赞助|首单|首批|花头|甜头|好处|年返|试吃台|促销员|导购|"
    r"试用装|支持)"
)
