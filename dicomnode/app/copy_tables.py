"""What copies of studies without faces look like on a screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from dicomnode.app.tables import block
from dicomnode.domain import CopyState
from dicomnode.tracking.copied_series import CopyOrigin
from dicomnode.tracking.study_copies import StudyCopy


@dataclass(frozen=True)
class CopyStatus:
    """`series` are there once all of it was made; `verdicts`, by Series Instance UID, of those
    that were examined."""

    copy: StudyCopy
    series: tuple[CopyOrigin, ...]
    verdicts: Mapping[str, str]

    @property
    def is_proven(self) -> bool:
        is_done = self.copy.state is CopyState.DONE and bool(self.series)
        return is_done and not any(one.objections for one in self.series)


def copies(found: Sequence[CopyStatus], refused: Mapping[str, str]) -> Text:
    blocks = [block(f"study {study}: no copy", why) for study, why in refused.items()]
    blocks += [block(f"deface:{one.copy.id}  {one.copy.state}", *_lines(one)) for one in found]
    return Text("\n").join(blocks)


def _lines(status: CopyStatus) -> Iterator[str]:
    copy = status.copy
    yield f"study {copy.study_instance_uid}"
    yield f"its copy: study {copy.copy_study_instance_uid}"
    yield f"headers de-identified for project {copy.project}" if copy.project else ""
    yield copy.sentence
    for one in status.series:
        verdict = status.verdicts.get(one.copy_series_instance_uid, "not examined yet")
        yield f"{one.way}: series {one.copy_series_instance_uid}: {verdict}{_proof(one)}"
    for left_out in copy.left_out:
        yield f"left out: series {left_out.series_instance_uid}: {left_out.sentence}"


def _proof(one: CopyOrigin) -> str:
    if one.proof is None:
        return ""
    if one.objections:
        return f"; held: {'; '.join(one.objections)}"
    return f"; proof given (Dice {one.proof.dice:.2f}, {one.proof.removed_ml:.0f} ml removed)"
