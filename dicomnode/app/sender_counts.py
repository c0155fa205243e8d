"""The question to a sender, wired: how many instances have the series of a study?"""

from __future__ import annotations

from collections.abc import Mapping

from dicomnode.config import Settings
from dicomnode.jobs.questions import CountAtSender
from dicomnode.retrieval.find import series_counts


def count_at_sender(settings: Settings) -> CountAtSender | None:
    """Asks the `[[sources]]` entry with the calling AE title; None where there is none to ask."""
    sources = {source.ae_title: source for source in settings.sources if source.ae_title}
    if not sources:
        return None

    def count(calling_ae_title: str, study_instance_uid: str) -> Mapping[str, int] | None:
        source = sources.get(calling_ae_title)
        if source is None:
            return None
        return series_counts(source, settings, study_instance_uid)

    return count
