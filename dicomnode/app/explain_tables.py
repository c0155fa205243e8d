"""An explanation as rich tables: one per series, a row for each volume and each refusal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dicomnode.app.explain import ExplainedSeries, ExplainedVolume, Explanation
from dicomnode.domain import SetAside


def as_tables(explanation: Explanation) -> Group:
    parts: list[RenderableType] = [_series(item) for item in explanation.series]
    parts += [Text(f"{path}: {reason}") for path, reason in explanation.unreadable]
    return Group(*parts)


def _series(item: ExplainedSeries) -> Table:
    title = Text(
        f"{item.folder}\n{item.modality or '(no modality)'} series {item.series_instance_uid}, "
        f"{item.instances} object(s)"
    )
    table = Table(title=title, title_justify="left", expand=True)
    for heading in ("images", "what", "slices", "geometry", "remarks"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "images")
    for volume in item.volumes:
        table.add_row(*_volume(volume))
    for aside in item.set_aside:
        table.add_row(*_set_aside(aside))
    if item.failure:
        failed = Text("failed", style="bold red")
        table.add_row(Text(""), failed, Text(""), Text(""), Text(item.failure))
    return table


def _volume(volume: ExplainedVolume) -> tuple[RenderableType, ...]:
    slices, rows, columns = volume.shape
    down, across = volume.spacing_mm[1:]
    distance = volume.slice_distance_mm
    return (
        Text(str(volume.images)),
        Text(f"volume {volume.label}".rstrip(), style="bold green"),
        Text(f"{slices} of {rows} x {columns}\n{down:g} x {across:g} mm"),
        Text(
            f"{volume.plane}, slices toward {volume.toward[0]}\n"
            f"{distance.median:g} mm apart ({distance.minimum:g} to {distance.maximum:g})\n"
            f"values {volume.values.minimum:g} to {volume.values.maximum:g}"
        ),
        Text("\n".join((*_networks(volume), *volume.warnings))),
    )


def _networks(volume: ExplainedVolume) -> list[str]:
    return [f"{kind.replace('_', ' ')}: {said}" for kind, said in volume.networks.items()]


def _set_aside(aside: SetAside) -> tuple[RenderableType, ...]:
    refusal = aside.refusal
    values = f"{refusal.attribute}: {', '.join(refusal.values)}" if refusal.attribute else ""
    return (
        Text(str(aside.images)),
        Text(refusal.code.value, style="bold yellow"),
        Text(""),
        Text(""),
        Text(f"{refusal.sentence}\n{values}".rstrip()),
    )
