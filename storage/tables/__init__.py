"""Every table, by subject. Rows never leave this room; what plain objects they become is said where they are read.

Whoever imports one of them has imported all, so that `Base.metadata` is never a part of the tables only.
"""

from storage.tables import audit, firm, limits, managers, people, post, visits, work
from storage.tables.columns import Base

__all__ = ["Base", "audit", "firm", "limits", "managers", "people", "post", "visits", "work"]
