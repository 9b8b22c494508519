"""The numbers and words a firm may set. `config.toml` fills them; these defaults are the product's."""

from dataclasses import dataclass, field
from datetime import time

CLOSE_FACTORS = (
    "竞品缺货",
    "老板娘认可新品",
    "价格有优势",
    "促销政策到位",
    "配送及时",
    "老客户补货",
    "样品试用满意",
    "决策人当面拍板",
)
ROOT_CAUSES = (
    "需求未识别",
    "价格未匹配",
    "决策人未覆盖",
    "竞品锁定",
    "账期未谈拢",
    "库存未消化",
    "样品未验证",
    "配送未满足",
)


EVIDENCE = ("照片", "小结", "定位", "待办")
"""What can prove that an action was done: a photo, a spoken or typed note, a place, a follow-up that was made."""


@dataclass(frozen=True, slots=True)
class PhraseActions:
    """A vague phrase of a customer and the checkable actions it opens, in the firm's own words.

    `evidence` names, action by action, what counts as proof of it: one of EVIDENCE; empty where anything does.
    """

    phrases: tuple[str, ...]
    actions: tuple[str, ...]
    evidence: tuple[str, ...] = ()

    def proof_of(self, action: str) -> str:
        """What must be there before this action counts as done; "" where anything does."""
        return dict(zip(self.actions, self.evidence, strict=False)).get(action, "")


@dataclass(frozen=True, slots=True)
class Saying:
    """Words of the firm's own customers for something known.

    `field` is objections, outcome, close_factor or root_cause; `means` the code, or the firm's name, of what they say.
    """

    field: str
    means: str
    words: tuple[str, ...]


NOT_WORTH_IT = Saying("objections", "price", ("划不来", "不划算"))
THINK_AGAIN = PhraseActions(
    ("再考虑下", "再考虑一下", "考虑考虑", "再想想", "考虑一下"),
    ("是否已发送对比参数表", "是否预约了技术答疑", "是否明确了老板娘关注的保质期敏感点"),
    ("照片", "待办", "小结"),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Distances in metres, times in local time of the firm, durations as named."""

    time_zone: str = "Asia/Shanghai"
    fence_m: float = 200.0
    clear_match_ratio: float = 2.0  # the next outlet must be this many times farther for the first to be taken
    pin_fresh_minutes: int = 10
    top_speed_kmh: float = 150.0
    photo_fresh_hours: int = 12
    near_same_bits: int = 30  # of 256; PDQ's published threshold for "the same picture" is 31
    todo_over_minutes: int = 25
    forgotten_after_minutes: int = 60  # a tap later than this after the last evidence does not make the visit longer
    undo_hours: int = 24
    shortest_visit_minutes: int = 3
    work_days: tuple[int, ...] = (0, 1, 2, 3, 4, 5)  # Monday is 0
    holidays_off: bool = True  # public holidays, and 调休 worked in their stead: rules.work_days
    day_starts: time = time(8, 30)
    day_ends: time = time(18, 30)
    remind_at: time = time(9, 0)
    remind_ahead_minutes: int = 60
    alert_at: time = time(18, 0)
    alert_catch_up_hours: int = 12
    new_outlets_a_day: int = 1
    new_outlet_run_days: int = 2
    close_factors: tuple[str, ...] = CLOSE_FACTORS
    root_causes: tuple[str, ...] = ROOT_CAUSES
    phrase_actions: tuple[PhraseActions, ...] = field(default=(THINK_AGAIN,))
    sayings: tuple[Saying, ...] = field(default=(NOT_WORTH_IT,))
