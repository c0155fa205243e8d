"""What every page of the desk needs, and the frame around it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import jinja2
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse

from dicomnode import __version__
from dicomnode.config import Settings
from dicomnode.config_desk import STUDY_PLACE
from dicomnode.config_policy import DEFAULT_PROJECT
from dicomnode.domain import WantedDigest
from dicomnode.inference.examiner import ExaminerInUse
from dicomnode.tracking.database import Database
from dicomnode.tracking.totals import Total
from dicomnode.web.desk import templating
from dicomnode.web.identity import Principal
from dicomnode.web.permissions import Permission, may

THEME_COOKIE = "desk_theme"

# In the order of the navigation.
_PAGES = (
    ("/desk/queue", "Queue", Permission.SEE_LISTS),
    ("/desk/studies", "Studies", Permission.SEE_LISTS),
    ("/desk/projects", "Projects", Permission.SEE_LISTS),
    ("/desk/exports", "Exports", Permission.SEE_EXPORTS),
    ("/desk/audit", "Audit log", Permission.SEE_AUDIT),
    ("/desk/system", "System", Permission.SEE_SYSTEM),
    ("/desk/accounts", "Accounts", Permission.SEE_ACCOUNTS),
)

# What a page tells after a redirect, by the code in its address: never words from the address.
TOLD: Mapping[str, str] = {
    "decided": "Your decision is recorded.",
    "revoked": "Your decision is taken back.",
    "last": "Your decision is recorded. Nothing else waits for a person.",
    "receipt": "The receipt is issued.",
    "copy": "The copy is asked for.",
    "logout": "You are logged out.",
}


@dataclass(frozen=True)
class NavLink:
    href: str
    label: str
    is_current: bool


@dataclass(frozen=True)
class Frame:
    """What stands around the content of every page."""

    account: str
    role: str
    csrf: str
    nav: tuple[NavLink, ...]
    theme: str
    told: str
    assets: str
    version: str = __version__


@dataclass(frozen=True)
class Desk:
    """`totals` are the counts of the node, not older than half a minute."""

    settings: Settings
    database: Database
    examiner: ExaminerInUse
    totals: Callable[[], Sequence[Total]]
    environment: jinja2.Environment = field(default_factory=templating.environment)

    @cached_property
    def assets(self) -> str:
        """Of the style sheet and the script: their addresses change when they do."""
        files = sorted((templating.FOLDER / "static").iterdir())
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]

    @property
    def wanted(self) -> WantedDigest:
        """Networks may be installed while this runs; raises `ModelError` where one is wrong."""
        return self.examiner.now().wanted_digest

    @property
    def projects(self) -> tuple[str, ...]:
        return (DEFAULT_PROJECT, *sorted(self.settings.projects))

    def ohif_url(self, study_instance_uid: str) -> str:
        """Empty where no viewer is configured."""
        return self.settings.desk.ohif_url.replace(STUDY_PLACE, study_instance_uid)

    def page(
        self,
        request: Request,
        principal: Principal | None,
        template: str,
        page: object,
        status_code: int = 200,
    ) -> HTMLResponse:
        values = {"page": page, "frame": self._frame(request, principal)}
        return HTMLResponse(self.render(template, values), status_code)

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        return templating.render(self.environment, template, values)

    def _frame(self, request: Request, principal: Principal | None) -> Frame:
        theme = request.cookies.get(THEME_COOKIE, "")
        return Frame(
            account=principal.account.name if principal else "",
            role=principal.role.value if principal else "",
            csrf=principal.csrf_token if principal else "",
            nav=_nav(request.url.path, principal) if principal else (),
            theme=theme if theme in ("light", "dark") else "",
            told=TOLD.get(request.query_params.get("told", ""), ""),
            assets=self.assets,
        )


def _nav(path: str, principal: Principal) -> tuple[NavLink, ...]:
    return tuple(
        NavLink(href, label, path.startswith(href))
        for href, label, permission in _PAGES
        if may(principal.role, permission)
    )


def desk_of(request: Request) -> Desk:
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk


DeskOf = Annotated[Desk, Depends(desk_of)]
