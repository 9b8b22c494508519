"""Loads python-telegram-bot without three libraries that it takes along where they are installed, 13 MB in memory:
cryptography, for Telegram Passport, pygments and rich, for the command line of httpx. Both do without by themselves.

To be imported before anything of `telegram`.
"""

import sys
from typing import Any

modules: dict[str, Any] = sys.modules  # None in it stands for a module that cannot be imported
absent = [name for name in ("cryptography", "pygments", "rich") if name not in modules]
modules.update(dict.fromkeys(absent))
try:
    import telegram  # noqa: F401
finally:
    for name in absent:
        del modules[name]
