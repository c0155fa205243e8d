"""`dicomnode status --watch`: what the node is at, on one screen of 80 columns and 24 lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dicomnode.app.tables import printable
from dicomnode.config import Settings
from dicomnode.errors import DicomnodeError, SpoolError
from dicomnode.meters import Family
from dicomnode.tracking import flow, study_list
from dicomnode.tracking.database import Database
from dicomnode.tracking.pulses import Beat, beats
from dicomnode.tracking.spool import Spool
from dicomnode.tracking.study_list import StudyRow

REFRESH_SECONDS = 2.0
_ROLES = ("scp", "work", "web", "gate")
_MOST_DESTINATIONS = 4
_MOST_STUDIES = 5
_SLOW_SECONDS = 3600.0
_LABELS = {
    "receive": "arriving",
    "examine": "wait for examination",
    "examining": "being examined",
    "deliver": "SEGs to deliver",
    "pull": "studies to pull",
    "gate": "held at the gate",
}


@dataclass(frozen=True)
class Seen:
    """What one look found; each number by its name."""

    at: datetime
    beats: Sequence[Beat]
    depth: Mapping[str, float]
    oldest_seconds: Mapping[str, float]
    pending: Mapping[str, float]
    failing: Mapping[str, float]
    away: Mapping[str, float]
    studies: Sequence[StudyRow]
    free_bytes: int | None
    minimum_free_bytes: int


def look(settings: Settings, database: Database) -> Seen:
    """Each question is answered by an index. Raises `DatabaseError`."""
    now = datetime.now(UTC)
    named = [destination.name for destination in settings.destinations]
    with database.read() as connection:
        depth, oldest = flow.queues(connection, now)
        pending, failing, away = flow.destinations(connection, named)
        studies = study_list.page(connection, limit=_MOST_STUDIES).rows
    return Seen(
        now,
        beats(settings.pulses_folder),
        _by_name(depth),
        _by_name(oldest),
        _by_name(pending),
        _by_name(failing),
        _by_name(away),
        studies,
        _free_bytes(settings.spool_folder),
        settings.scp.minimum_free_bytes,
    )


def watch(console: Console, ask: Callable[[], Seen], pause: Callable[[float], object]) -> None:
    """Until Ctrl+C; where nobody looks (no terminal) once."""
    if not console.is_terminal:
        console.print(screen(ask()))
        return
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(_now(ask), refresh=True)
                pause(REFRESH_SECONDS)
    except KeyboardInterrupt:
        return


def watch_node(console: Console, settings: Settings, database: Database) -> None:
    watch(console, lambda: look(settings, database), time.sleep)


def _now(ask: Callable[[], Seen]) -> RenderableType:
    """A database that is away comes back."""
    try:
        return screen(ask())
    except DicomnodeError as error:
        return Text(f"{error}\nTrying again. Ctrl+C ends.", style="bold red")


def screen(seen: Seen) -> RenderableType:
    at = seen.at.astimezone().strftime("%H:%M:%S")
    title = Text(f"dicomnode  {at}  ", style="bold").append("Ctrl+C ends", style="dim not bold")
    return Group(
        title,
        Text("  ").join(_roles(seen.beats)),
        _disk(seen),
        Text(),
        _queues(seen),
        *((Text(), _destinations(seen)) if seen.pending else ()),
        Text(),
        _studies(seen.studies),
    )


def _roles(found: Sequence[Beat]) -> Iterator[Text]:
    for role in _ROLES:
        ages = [beat.age_seconds for beat in found if beat.role == role]
        alive = sum(beat.is_alive for beat in found if beat.role == role)
        if not ages:
            missing = role in ("scp", "work")
            yield Text(f"{role}: none", style="bold red" if missing else "dim")
        elif alive == len(ages):
            yield Text(f"{role}: {alive} alive", style="green")
        else:
            yield Text(f"{role}: silent for {_age(max(ages))}", style="bold red")


def _disk(seen: Seen) -> Text:
    if seen.free_bytes is None:
        return Text("the spool is not there", style="bold red")
    full = seen.free_bytes < seen.minimum_free_bytes
    text = f"disk of the spool: {seen.free_bytes / 1e9:.1f} GB free"
    return Text(f"{text}, nothing more is taken in", style="bold red") if full else Text(text)


def _queues(seen: Seen) -> Table:
    table = _table("queue", "number", "oldest")
    for name, label in _LABELS.items():
        count, oldest = int(seen.depth.get(name, 0)), seen.oldest_seconds.get(name, 0.0)
        style = "dim" if not count else "yellow" if oldest > _SLOW_SECONDS else ""
        table.add_row(label, str(count), _age(oldest) if count else "-", style=style)
    return table


def _destinations(seen: Seen) -> Table:
    table = _table("destination", "waiting", "last")
    for name, waiting in islice(seen.pending.items(), _MOST_DESTINATIONS):
        last = _last(seen, name)
        is_bad = last in ("away", "failed")
        table.add_row(name, f"{waiting:.0f}", last, style="bold red" if is_bad else "")
    return table


def _last(seen: Seen, name: str) -> str:
    """How a destination took what was sent last, unless nothing is sent there now."""
    if seen.away.get(name):
        return "away"
    failing = seen.failing.get(name)
    return "-" if failing is None else "failed" if failing else "well"


def _studies(found: Sequence[StudyRow]) -> Table | Text:
    if not found:
        return Text("nothing received yet", style="dim")
    table = _table("newest studies", "series", "verdict")
    table.columns[0].no_wrap = True
    for study in found:
        verdict = study.verdict or "not yet"
        table.add_row(printable(study.study_instance_uid), str(study.series_count), verdict)
    return table


def _table(first: str, second: str, third: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), expand=False)
    table.add_column(first, min_width=30, max_width=48, overflow="ellipsis")
    table.add_column(second, justify="right", no_wrap=True)
    table.add_column(third, no_wrap=True)
    return table


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def _by_name(family: Family) -> Mapping[str, float]:
    return {key[0]: value for key, value in family.values.items() if isinstance(value, float)}


def _free_bytes(folder: Path) -> int | None:
    try:
        return Spool(folder).free_bytes()
    except (OSError, SpoolError):
        return None
