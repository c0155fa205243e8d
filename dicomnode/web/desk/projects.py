"""Projects and their policies, in plain words; they are changed in the configuration alone."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from dicomnode.gate.policy import policy_of
from dicomnode.web.desk import policy_words
from dicomnode.web.desk.access import ListReader
from dicomnode.web.desk.desk import Desk, DeskOf
from dicomnode.web.desk.facts import Fact

ROUTER = APIRouter()


@dataclass(frozen=True)
class ShownProject:
    name: str
    rules: tuple[Fact, ...]
    digest: str


@dataclass(frozen=True)
class ProjectsPage:
    projects: tuple[ShownProject, ...]


@ROUTER.get("/projects")
def projects(request: Request, desk: DeskOf, principal: ListReader) -> Response:
    return desk.page(request, principal, "projects.html", ProjectsPage(_every(desk)))


def _every(desk: Desk) -> tuple[ShownProject, ...]:
    policies = [policy_of(desk.settings, name) for name in desk.projects]
    return tuple(
        ShownProject(policy.project, tuple(policy_words.rules(policy.rules)), policy.digest)
        for policy in policies
    )
