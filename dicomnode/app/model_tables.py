"""What the `models` commands show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

from dicomnode.app.tables import block
from dicomnode.inference.cards import lines, normalised
from dicomnode.inference.catalogue import Release
from dicomnode.inference.models import Model


def models(found: Iterable[Model]) -> Text:
    """A block a network, its digest whole at any width: it is there to be compared."""
    return Text("\n").join(_model(model) for model in found)


def _model(model: Model) -> Text:
    who = model.identity
    labels = ", ".join(map(str, model.labels)) or "all but background"
    return block(
        who.name,
        f"kind       {who.kind.value}{' (starter network, stands in)' if model.stand_in else ''}",
        f"version    {who.version}",
        f"folds      {', '.join(model.folds)} ({model.checkpoint})",
        f"labels     {labels}",
        f"modalities {', '.join(model.modalities)}",
        f"SHA-256    {who.sha256}",
        f"licence    {model.licence}",
        f"source     {model.source}",
    )


def cards(found: Sequence[Model]) -> Text:
    """Each network with all that its card says."""
    return Text("\n").join(
        _model(model)
        .append_text(Text("\n"))
        .append_text(block("card", *lines(normalised(model.card))))
        for model in found
    )


def releases(found: Sequence[Release]) -> Text:
    """What can be installed by name, and what is known of it."""
    return Text("\n").join(_release(release) for release in found)


def _release(release: Release) -> Text:
    networks = [
        line
        for network in release.networks
        for line in (
            f"{network.dataset}: {network.kind.value}",
            f"  {network.meaning}; {', '.join(network.modalities)}",
        )
    ]
    return block(
        release.name,
        f"file       {release.file_name}",
        f"address    {release.url or 'unknown'}",
        f"size       {release.size_bytes or 'unknown'}",
        f"SHA-256    {release.sha256 or 'unknown'}",
        f"licence    {release.licence}",
        f"source     {release.source}",
        release.remarks,
        *networks,
    )
