"""What accounts and tokens look like on a screen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from dicomnode.app.tables import block
from dicomnode.tracking.accounts import Account
from dicomnode.tracking.api_tokens import ApiToken


def accounts(found: Sequence[Account]) -> Text:
    blocks = (
        block(
            f"{item.name}  {item.role}{'' if item.is_enabled else '  DISABLED'}",
            _way_in(item),
            f"made {_time(item.created_at)}",
        )
        for item in found
    )
    none = Text("there is no account: dicomnode accounts add NAME --role administrator")
    return Text("\n").join(blocks) if found else none


def tokens(found: Sequence[ApiToken], now: datetime) -> Text:
    blocks = (
        block(f"{item.id}  {item.name}", f"for {item.account} as {item.role}", _end(item, now))
        for item in found
    )
    return Text("\n").join(blocks) if found else Text("there is no token: dicomnode tokens add")


def _way_in(item: Account) -> str:
    if item.oidc_subject is not None:
        return f"logs in elsewhere, as {item.oidc_subject}"
    return "logs in with a password" if item.has_password else "no password: only by tokens"


def _end(item: ApiToken, now: datetime) -> str:
    if item.revoked_at is not None:
        return f"REVOKED {_time(item.revoked_at)}"
    if item.expires_at is None:
        return "without an end"
    return f"{'ENDED' if item.expires_at <= now else 'ends'} {_time(item.expires_at)}"


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
