"""What each kind of channel can show, for rendering without the channel itself (transcripts, tests)."""

from dataclasses import replace

from bot.channels import Abilities

TERMINAL = Abilities(
    buttons=0, button_label=0, button_data=0, text_limit=20_000, text_unit="utf16", datum="wgs84", images=False
)
# Telegram: 100 buttons of 64 bytes, 4096 UTF-16 units a text.
TELEGRAM = Abilities(
    buttons=100, button_label=40, button_data=64, text_limit=4096, text_unit="utf16", datum="wgs84", place_button=True
)
WEB = Abilities(
    buttons=20, button_label=40, button_data=64, text_limit=20_000, text_unit="utf16", datum="wgs84", place_button=True
)
# 公众号: GCJ-02 pins, 2048 bytes a text of which 350 are kept for saying why it comes late and that there is more, one
# answer within 5 s (4 s leaves room), no buttons. Beyond the answer it may push a little while its window is open.
MP = Abilities(
    buttons=0,
    button_label=0,
    button_data=0,
    text_limit=1698,
    text_unit="bytes",
    datum="gcj02",
    push="window",
    reply_deadline_s=4.0,
    one_answer=True,
)

# 企业微信: cards with at most 6 buttons, 20 options to tick or three lists of 10, of which one each is taken by "none";
# labels of 16 characters. Whoever reads in the WeChat plug-in sees no cards: WECOM_PLAIN.
WECOM = Abilities(
    buttons=27,
    button_label=16,
    button_data=64,
    text_limit=2048,
    text_unit="bytes",
    datum="gcj02",
    whole_labels=True,
    shuns_half_hours=True,
)
WECOM_PLAIN = replace(WECOM, buttons=0)
# A 群机器人 speaks into a group and hears nothing.
WECOM_GROUP = replace(WECOM, buttons=0, images=False, answers=False)

BY_NAME = {"terminal": TERMINAL, "telegram": TELEGRAM, "web": WEB, "mp": MP, "wecom": WECOM}
