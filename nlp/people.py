"""Whom the rep met, or who was said to decide, in the speaker's word (老板娘, 采购经理, 王老板)."""

import re
from dataclasses import dataclass

from nlp.patterns import regex

ROLES = (
    "老板娘", "大老板", "老板", "行政总厨", "厨师长", "总厨", "主厨", "大厨", "厨师", "采购经理", "采购主任",
    "采购主管", "采购部长", "采购总监", "采购员", "采购", "店长", "总经理", "副总", "经理", "店员", "前台", "收银员",
    "收银", "服务员", "管理员", "仓管", "库管", "仓库主管", "负责人", "承包人", "承包商", "会计", "财务", "出纳",
    "领班", "主管", "小工", "股东", "园长", "校长", "老总", "厂长", "主任", "馆长", "食堂主任", "师傅", "营业员",
    "店主", "东家", "合伙人", "副店长", "大师傅", "财务总监", "营养师", "掌柜", "验收员", "收货员", "保管员",
    "库管员", "质检员", "面点师", "点心师", "董事长",
    "科长", "处长", "部长", "总监", "组长", "班长",
)  # fmt: skip
_SURNAME = (
    "[王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓"
    "许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊"
    "金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段钱汤尹黎易常武乔贺赖龚文]"
)
_DEPARTMENT = (
    r"(?:(?:后勤|运营|营运|品控|财务|大堂|前厅|厨房|行政|餐饮|餐厅|仓库|物资|总务|膳食|门店|值班|楼面|供应链|食堂)"
    r"(?=主任|经理|主管|部长|科长|处长|总监|组长|班长|师傅|负责人))"
)
_ROLE = regex(rf"{_DEPARTMENT}?(?:(?<![\u4e00-\u9fff]){_SURNAME})?(?:{'|'.join(sorted(ROLES, key=len, reverse=True))})")
_OURS = regex(r"(?:(?:我们|咱们?|我|带|陪|公司|区域)(?:的)?|我(?:再|回去|要|得)?(?:请示|汇报给?|问))$")
_FORMER = regex(r"(?:以前|之前|原来|本来|过去)[^，。]{0,8}$")
_NO_PERSON_BEFORE = regex(r"(?:放|统一|集中|管|开|自己|换了?个?)$")
_NO_PERSON_AFTER = regex(r"(?:会(?!不)|了(?=[，。]|$)|单|部|价|量|不管|儿子|女儿|他爸|爸|那里放)")
_AWAY = regex(
    r"^(?:◇+|那时候|到时候)在|^(?:[今明后]天|又|也|都|刚好|正好|人|"
    r"还|那时候|到时候|◇+)?(?:不在|没在|没来|出差|出去|不知道|伐在|"
    r"勿在|没见|外出|休息|回老家|在外|走开|出国|住院|生病|出门|有事|带(?:孩|娃|人|队|团|家)|去(?:了)?(?:外地|"
    r"医院|进货|旅游)|还没来|刚走)"
)
_NOT_MET = regex(r"(?:(?:没见[到着]?|没碰[到着]|没遇[到着])(?:○+的?)?|找不到|不见)(?:到|着)?$")
_DECIDES_AFTER = regex(
    r"^[^，。]{0,6}(?:管了|管的?(?=[，。])|说了算|点头|拍板|定的|做主|签字|批|同意|回来(?:再)?(?:看|定|决定|拍板)?)|^，[^，。]{0,3}他回来"
)
_DECIDES_BEFORE = regex(r"(?:等|请示|要问(?:下|一下|问)?|得问|汇报给?|商量)$|(?:得|要)(?:跟|和|由|等)?$")
_WAITED_FOR = regex(r"等[^，。]{1,6}回来|等[他她][^，。]{0,8}定|等[他她]爸|^[^。]{0,8}，[让叫约]我")


@dataclass(frozen=True, slots=True)
class Person:
    start: int
    end: int
    role: str


def find_people(text: str) -> list[Person]:
    """Roles in order of appearance, once each; who is away counts only when the decision is theirs."""
    found: dict[str, Person] = {}
    for match in _ROLE.finditer(text):
        before, after = text[max(0, match.start() - 12) : match.start()], text[match.end() : match.end() + 60]
        if _FORMER.search(before) and re.match(r"[^，。]{0,3}(?:做主|管|说了算|定)", after):  # 以前老板做主，现在…
            continue
        no_person = _NO_PERSON_BEFORE.search(before) and not after.startswith("管")
        if _OURS.search(before) or no_person or _NO_PERSON_AFTER.match(after):
            continue
        if before.endswith("◇") and re.match(r"也?在(?![^，。])", after):  # 明早老板在: he will be there
            continue
        decides = bool(_DECIDES_AFTER.match(after)) or bool(_DECIDES_BEFORE.search(before))
        if (_AWAY.match(after) or _NOT_MET.search(before)) and not decides and not _WAITED_FOR.search(after):
            continue
        named = any(role.endswith(match[0]) and len(role) > len(match[0]) for role in found)
        if named:  # 餐饮总监…总监今天在: the same person
            continue
        if match[0] not in found:
            found[match[0]] = Person(match.start(), match.end(), match[0])
    return _without_taken_back(text, list(found.values()))


def _without_taken_back(text: str, people: list[Person]) -> list[Person]:
    """老板，不对，老板娘: the first was a slip."""
    return [
        person
        for person in people
        if not re.match(
            r"，?(?:哦)?(?:不对|不是|说错了|错了|应该)，?(?:是)?(?:" + "|".join(ROLES) + ")", text[person.end :]
        )
    ]
