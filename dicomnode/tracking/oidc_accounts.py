"""Accounts of people who log in elsewhere: known by their subject there, never by a name alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import sqlalchemy as sa

from dicomnode.domain import Role
from dicomnode.errors import AccountError
from dicomnode.tracking import accounts
from dicomnode.tracking.account_names import account_name
from dicomnode.tracking.accounts import Account

BY = "OpenID provider"
_LONGEST_SUBJECT = 255


def account_for(
    c: sa.Connection, subject: str, names: Sequence[str], role: Role, now: datetime
) -> Account:
    """The account of a subject with the role that it has now; made where there is none.

    Its name is the first of `names` that is free: an account that is there already belongs to
    somebody else. Raises `AccountError` where it is disabled, or no name is left.
    """
    if len(subject) > _LONGEST_SUBJECT:
        raise AccountError(f"the subject has more than {_LONGEST_SUBJECT} characters")
    known = accounts.by_oidc_subject(c, subject)
    if known is None:
        name = _free_name(c, names)
        return accounts.create(c, name, role, oidc_subject=subject, by=BY, now=now)
    if not known.is_enabled:
        raise AccountError(f"{known.name} is disabled")
    return known if known.role is role else accounts.set_role(c, known.name, role, by=BY, now=now)


def _free_name(c: sa.Connection, names: Sequence[str]) -> str:
    for given in names:
        with suppress(AccountError):
            name = account_name(given)
            if accounts.by_name(c, name) is None:
                return name
    raise AccountError("the name of this person is none, or another account has it")
