"""What each role may do at the desk and over the API: one table, which both and their tests ask.

A viewer sees no pictures: they can show a face. Who reviews sees them, and can't release; who
releases can review, so a second person is a matter of the project's policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from dicomnode.domain import Role


class Permission(StrEnum):
    SEE_LISTS = "see queue, studies, verdicts, reasons and policies"
    SEE_PICTURES = "see pictures, which can show faces"
    DECIDE = "decide on series"
    SEE_EXPORTS = "see receipts and what was exported"
    RELEASE = "release a study with a receipt"
    DEFACE = "have the faces of a study removed in a copy"
    SEE_AUDIT = "see the audit log"
    SEE_NAMES = "see what the images say of a patient, where the site allows it"
    SEE_SYSTEM = "see the system: disk, networks, peers"
    SEE_ACCOUNTS = "see accounts and roles"


# The least role that has it; each role has what those below it have.
LEAST_ROLE: Mapping[Permission, Role] = {
    Permission.SEE_LISTS: Role.VIEWER,
    Permission.SEE_PICTURES: Role.REVIEWER,
    Permission.DECIDE: Role.REVIEWER,
    Permission.SEE_EXPORTS: Role.STEWARD,
    Permission.RELEASE: Role.STEWARD,
    Permission.DEFACE: Role.STEWARD,
    Permission.SEE_AUDIT: Role.STEWARD,
    Permission.SEE_NAMES: Role.STEWARD,
    Permission.SEE_SYSTEM: Role.ADMINISTRATOR,
    Permission.SEE_ACCOUNTS: Role.ADMINISTRATOR,
}


def may(role: Role, permission: Permission) -> bool:
    return role.includes(LEAST_ROLE[permission])
