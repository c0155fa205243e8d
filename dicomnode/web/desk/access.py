"""Who may ask for which page: `needs` is a parameter's type, from the table of permissions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import UploadFile

from dicomnode.web.identity import Principal, require
from dicomnode.web.permissions import LEAST_ROLE, Permission


def _needs(permission: Permission) -> object:
    return Depends(require(LEAST_ROLE[permission]))


ListReader = Annotated[Principal, _needs(Permission.SEE_LISTS)]
PictureReader = Annotated[Principal, _needs(Permission.SEE_PICTURES)]
Decider = Annotated[Principal, _needs(Permission.DECIDE)]
ExportReader = Annotated[Principal, _needs(Permission.SEE_EXPORTS)]
Releaser = Annotated[Principal, _needs(Permission.RELEASE)]
Defacer = Annotated[Principal, _needs(Permission.DEFACE)]
AuditReader = Annotated[Principal, _needs(Permission.SEE_AUDIT)]
NameReader = Annotated[Principal, _needs(Permission.SEE_NAMES)]
SystemReader = Annotated[Principal, _needs(Permission.SEE_SYSTEM)]
AccountReader = Annotated[Principal, _needs(Permission.SEE_ACCOUNTS)]


async def _fields(request: Request) -> Mapping[str, str]:
    """`require` has read the form, within its bounds, and looked at its token."""
    form = await request.form(max_files=0)
    return {name: value for name, value in form.items() if not isinstance(value, UploadFile)}


Fields = Annotated[Mapping[str, str], Depends(_fields)]
