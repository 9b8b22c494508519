"""Spoken visit notes of the sample firm, put together from clauses.

A note is one opening clause, which names the outlet, and one to four further ones, each of them said in one breath.
Quantities stay among those that reps order (1 to 30, 50, 100), so that a small recogniser can learn every one of them.
"""

from collections.abc import Callable
from random import Random

OUTLETS = (
    "柯桥老灶台酒家 老灶台酒家 老灶台",
    "鲁迅路阿福面馆 阿福面馆",
    "越城小厨",
    "兰亭农家乐 农家乐",
    "安昌古镇腊味馆 安昌腊味馆 腊味馆",
    "东浦黄酒饭店 黄酒饭店",
    "鉴湖渔家",
    "上虞海鲜大排档 海鲜大排档",
    "诸暨次坞打面 次坞打面",
    "嵊州小笼包总店 小笼包总店",
    "新昌炒年糕",
    "柯岩风景区食堂 柯岩食堂",
    "轻纺城北市场快餐 北市场快餐",
    "绍兴饭店",
    "沈园茶餐厅",
    "胜利路火锅城",
    "城南烧烤",
    "马山工业区食堂 马山食堂",
    "钱清镇便利店 钱清便利店",
    "皋埠老街酒楼 老街酒楼",
)
PRODUCTS = (
    ("小酥肉 金牌小酥肉", "箱包"),
    ("黑鱼片 免浆黑鱼片", "箱包"),
    ("薯条 粗薯条", "箱包"),
    ("鸡翅 奥尔良鸡翅", "箱包"),
    ("火锅底料 底料", "箱包"),
    ("蚝油 鲜味蚝油", "箱瓶"),
    ("生抽 一品生抽 酱油", "箱桶"),
    ("牛肉丸 手工牛肉丸", "箱包"),
    ("酸菜鱼", "箱包"),
    ("鸡块 藤椒鸡块", "箱包"),
    ("蛋挞皮 低温蛋挞皮", "箱盒"),
    ("馒头 冷冻馒头", "箱袋"),
)
COMPETITORS = ("海之味", "味农", "鲜达", "百川", "老味道")
ROLES = ("老板", "老板娘", "店长", "采购", "厨师长", "店员", "王老板", "李经理", "陈店长")
STRETCHES = ("下周", "月底前", "下个月", "下个月初", "下个月中旬", "国庆以后", "重阳节后", "过两天", "年底前")
QUANTITIES = (*range(1, 31), 50, 100)
WEEKDAYS = "一二三四五六日"
DIGITS = "零一二三四五六七八九"

OPENINGS = (
    "刚跑完{outlet}",
    "刚从{outlet}出来",
    "今天拜访了{outlet}",
    "上午去了{outlet}",
    "下午去了{outlet}",
    "我在{outlet}",
    "{outlet}",
    "{outlet}这家",
)
TAKES = ("要了", "订了", "直接订了", "补了", "加了", "先拿")
BUYERS = ("", "", "他们", "{role}")
DEALS = (
    "当场成交了",
    "当面拍板定了",
    "老板当面拍板",
    "说要考虑考虑",
    "暂时没要",
    "没谈成",
    "今天没下单",
    "没聊上",
    "今年没戏了",
    "以后不跟我们做了",
)
CLOSE_FACTORS = (
    "说我们价格有优势",
    "说促销政策到位",
    "夸我们配送及时",
    "老客户补货",
    "样品试用很满意",
    "老板娘认可新品",
    "老板娘认可新品才订的",
    "{competitor}断货了",
    "{competitor}缺货临时找我们",
)
OBJECTIONS = (
    "嫌价格太贵",
    "嫌我们比别家贵",
    "主要嫌没有活动力度",
    "嫌账期短",
    "说库存还有很多",
    "上个月的{product}还有{count}箱",
    "冰柜满了放不下",
    "觉得{product}太辣",
    "觉得{product}太咸",
    "客人吃不惯",
    "担心质量不稳定",
    "嫌保质期太短",
    "嫌我们送货慢",
    "上次送货晚了两天",
    "说再这样就换别家",
    "采购拍不了板",
    "要总部批",
    "店员说老板不在",
    "合同还没到期",
    "没弄明白他们到底想要什么",
    "也没聊出结果",
)
# What may follow the outlet's name or its owner at once.
PERSONAL = (*OBJECTIONS[:4], *OBJECTIONS[12:15], "现结{amount}", "收款{amount}")
RIVALRY = (
    "现在用的是{competitor}",
    "现在用{competitor}的{product}",
    "{competitor}每箱便宜{few}块",
    "{competitor}在做活动买十送一",
    "跟{competitor}签了独家",
)
SAMPLES = ("送了{few}包{product}给{role}试", "留了{few}包{product}的样品", "想先试试{product}的样品")
PAYMENTS = (
    "现结",
    "现结{amount}",
    "收款{amount}",
    "想要六十天账期",
    "我们只能给三十天",
    "谈好{term}账期",
    "{term}账期的那笔",
    "回单已上传",
    "上次的货款已经结了",
)
MEETINGS = ("见到了{role}", "跟{role}聊了一会", "聊了半小时", "{role}很感兴趣", "{role}态度很好", "{role}不太满意")
NEXT_STEPS = ("送到", "要货", "送货", "再约", "再来", "再来看看", "再去拜访", "给答复", "问结果", "跟他们总部开会")


def numeral(number: int) -> str:
    """The Chinese numeral of 1 to 199 as it is said, without the counting form 两."""
    hundreds, rest = divmod(number, 100)
    tens, ones = divmod(rest, 10)
    said = DIGITS[hundreds] + "百" if hundreds else ""
    if tens:
        said += ("" if tens == 1 and not hundreds else DIGITS[tens]) + "十"
    elif ones and hundreds:
        said += "零"
    return said + (DIGITS[ones] if ones else "")


def counted(number: int) -> str:
    """The numeral before a measure word: two is 两."""
    return "两" if number == 2 else numeral(number)


def outlet(random: Random) -> str:
    return random.choice(random.choice(OUTLETS).split())


def order_line(random: Random) -> str:
    names, units = random.choice(PRODUCTS)
    quantity = counted(random.choice(QUANTITIES)) + random.choice(units)
    product = random.choice(names.split())
    return random.choice((product + quantity, quantity + product))


def amount(random: Random) -> str:
    """A sum of money in yuan, shortened as people say it: 五千三百六, 一万二."""
    first, second, third = (counted(random.randint(1, 9)), *(numeral(random.randint(1, 9)) for _ in range(2)))
    return first + random.choice(("千", f"千{second}", f"千{second}百{third}", "万", f"万{second}"))


def moment(random: Random) -> str:
    """When something is to happen; every third time it is a stretch of days without an hour."""
    if random.random() < 0.35:
        return random.choice((*STRETCHES, counted(random.randint(2, 9)) + "天后"))
    weekday = random.choice(("这周", "下周", "下礼拜")) + random.choice(WEEKDAYS)
    day = random.choice(("明天", "后天", "大后天", weekday, weekday, weekday))
    half, hours = random.choice((("上午", (8, 9, 10, 11)), ("下午", (1, 2, 3, 4, 5)), ("", ())))
    if not hours or random.random() > 0.7:
        return day + half
    return day + half + counted(random.choice(hours)) + "点" + random.choice(("", "", "半"))


def filled(random: Random, pattern: str) -> str:
    """The pattern with its {places} taken by random names and numbers."""
    return pattern.format(
        outlet=outlet(random),
        competitor=random.choice(COMPETITORS),
        role=random.choice(ROLES),
        product=random.choice(random.choice(PRODUCTS)[0].split()),
        count=counted(random.choice(QUANTITIES)),
        few=counted(random.randint(1, 9)),
        amount=amount(random),
        term=random.choice(("三十天", "六十天")),
    )


def opening(random: Random) -> str:
    """An opening clause; every third one goes on into what the customer said."""
    if random.random() < 0.33:
        said = random.choice((*PERSONAL, *DEALS[:6], *CLOSE_FACTORS[:5]))
        return outlet(random) + random.choice(("", "老板", "老板娘")) + filled(random, said)
    return filled(random, random.choice(OPENINGS))


def order(random: Random) -> str:
    who = filled(random, random.choice(BUYERS))
    verb = random.choice(TAKES) if who or random.random() < 0.8 else ""
    lines = order_line(random) + (order_line(random) if random.random() < 0.35 else "")
    return who + verb + lines


def next_step(random: Random) -> str:
    return moment(random) + random.choice(NEXT_STEPS)


def one_of(patterns: tuple[str, ...]) -> Callable[[Random], str]:
    return lambda random: filled(random, random.choice(patterns))


# In the order in which a rep tells them; the weight is how often a note has the clause.
BODY: tuple[tuple[Callable[[Random], str], float], ...] = (
    (one_of(MEETINGS), 1.0),
    (order, 2.5),
    (one_of(RIVALRY), 1.0),
    (one_of(OBJECTIONS), 1.5),
    (one_of(DEALS), 0.8),
    (one_of(CLOSE_FACTORS), 1.0),
    (one_of(SAMPLES), 0.8),
    (one_of(PAYMENTS), 1.0),
    (next_step, 2.0),
)


def body(random: Random) -> str:
    """Any clause but the opening one."""
    kinds, weights = zip(*BODY, strict=True)
    kind: Callable[[Random], str] = random.choices(kinds, weights)[0]
    return kind(random)


def note(random: Random, fewest: int = 2, most: int = 5) -> list[str]:
    """The clauses of one note, ``fewest`` to ``most`` of them, in the order in which a rep tells them."""
    wanted = random.randint(fewest, most) - 1
    positions = set()
    while len(positions) < wanted:
        positions.add(random.choices(range(len(BODY)), [weight for _, weight in BODY])[0])
    return [opening(random), *(BODY[position][0](random) for position in sorted(positions))]
