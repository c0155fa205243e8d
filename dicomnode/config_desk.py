"""`[desk]`: what the review desk shows; whether it is there says `web.desk`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from dicomnode.config_values import Section, is_http_url

STUDY_PLACE = "{study}"


class DeskSettings(Section):
    """`ohif_url` has `{study}` where the Study Instance UID goes; empty: no link."""

    ohif_url: str = ""
    show_patient_names: bool = False
    live_seconds: Annotated[float, Field(ge=1.0)] = 5.0

    @field_validator("ohif_url")
    @classmethod
    def _has_a_place_for_the_study(cls, url: str) -> str:
        address = url.partition("?")[0].replace(STUDY_PLACE, "1")
        if url and not (is_http_url(address) and STUDY_PLACE in url):
            raise ValueError(
                "ohif_url has to be an http(s) address with {study} in it: "
                "https://HOST/viewer?StudyInstanceUIDs={study}"
            )
        return url
