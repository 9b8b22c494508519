"""zoudian demo --wechat: the same visit through both products, from the encrypted callback to the saved visit."""

import re

import pytest
from click.testing import CliRunner

from bot.cli import main


@pytest.mark.recogniser
def test_both_products_take_a_visit_in_five_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOUDIAN_SPEECH__MODEL", "none-of-this-name")  # the small test model, wherever this runs
    result = CliRunner().invoke(main, ["demo", "--wechat"])
    assert result.exit_code == 0, result.output
    wecom, mp = result.stdout.split("—— 公众号：一次拜访")
    for said in (wecom, mp):
        assert said.count("rep: ") == 5
        assert "一共 5 步" in said
        assert "老板要了鸡翅六箱薯条十包" in said
        assert "✅ 拜访已记录：城南烧烤（成交，27 分钟）" in said
    assert "[确认] [修改]" in wecom
    assert "1 确认  2 修改" in mp
    assert re.search(r"^rep: 1$", mp, re.M)
