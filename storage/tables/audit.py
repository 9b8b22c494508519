"""Who saw and changed what."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables.columns import Base, BigId, Words


class AuditRow(Base):
    """One entry of the audit trail; a trigger refuses to change or delete it. `whose`, `rows`, `old` and `new` are JSON
    as it was written, to the letter, since that is what is sealed.
    """

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    who: Mapped[str] = mapped_column(Words)
    role: Mapped[str] = mapped_column(Words)
    channel: Mapped[str] = mapped_column(Words)
    action: Mapped[str] = mapped_column(Words)
    whose: Mapped[str] = mapped_column(Words)
    rows: Mapped[str] = mapped_column(Words)
    old: Mapped[str] = mapped_column(Words)
    new: Mapped[str] = mapped_column(Words)


class AuditSealRow(Base):
    """The chain: each seal's hash covers one entry and the hash before it. Append-only like the entries."""

    __tablename__ = "audit_seal"
    position: Mapped[int] = mapped_column(BigId, primary_key=True)
    entry: Mapped[int] = mapped_column(ForeignKey("audit.id"), unique=True)
    hash: Mapped[str] = mapped_column(Words)
