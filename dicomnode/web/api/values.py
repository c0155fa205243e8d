"""What clients send, checked, and the values of answers that are not those of the gate itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dicomnode.config_policy import GateSettings, ProjectName
from dicomnode.dicom.uid_syntax import is_uid
from dicomnode.domain import GateDecision
from dicomnode.gate.receipt import Receipt

MOST_STUDIES = 10_000
MOST_FILES = 20_000


def _uid(value: str) -> str:
    if not is_uid(value):
        raise ValueError("a UID is 1 to 64 digits and dots")
    return value


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("a note is one line")
    return value


Uid = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_uid)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StudyList(_Sent):
    studies: Annotated[list[Uid], Field(min_length=1, max_length=MOST_STUDIES)]


class ReceiptRequest(_Sent):
    """The receipt names the account of the token, and the note: it leaves with the study."""

    study_instance_uid: Uid
    note: Annotated[str, Field(max_length=500), AfterValidator(_one_line)] = ""


class FileToLeave(_Sent):
    """`sha256` is over the whole file."""

    sop_instance_uid: Uid
    sha256: Sha256


class FileList(_Sent):
    files: Annotated[list[FileToLeave], Field(min_length=1, max_length=MOST_FILES)]


class Projects(BaseModel):
    projects: list[ProjectName]


class ProjectPolicy(BaseModel):
    """`sha256` is what receipts name: the project and every rule."""

    project: ProjectName
    rules: GateSettings
    sha256: Sha256


@dataclass(frozen=True)
class SignedDocument(Receipt):
    """`signature` is base64, over the canonical form of all the rest (docs/gate.md)."""

    signature: str


class IssuedReceipt(BaseModel):
    """`receipt` is null where the study may not leave."""

    decision: GateDecision
    receipt: SignedDocument | None


class ReceiptEntry(BaseModel):
    number: int
    study_instance_uid: str
    at: datetime
    project: str
    outcome: str
    key_id: str
    sha256: str


class ReceiptPage(BaseModel):
    """The newest first. `next_before` is `before` of the next page; null at the end."""

    receipts: list[ReceiptEntry]
    next_before: int | None


class ListEnd(BaseModel):
    """The last line of a list: without it the answer was cut off, and says nothing."""

    complete: bool = True
    release: int
    hold: int
    unknown_study: int
