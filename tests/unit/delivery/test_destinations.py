"""Who gets the SEG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dicomnode.config import Settings
from dicomnode.delivery.destinations import destination_names, resolve
from dicomnode.domain import Revision
from dicomnode.errors import DeliveryRefusedError

REVISION = Revision(1, 1, "d", "1.2", "1.2.3", "CT", (), "MR@HOME", "2001:db8::5")


def _peer(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "ae_title": name.upper(), "host": "h", "port": 4242} | more


def test_every_destination_gets_the_seg(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(destinations=[_peer("pacs"), _peer("archive")])
    assert destination_names(REVISION, settings) == ("pacs", "archive")


def test_the_sender_is_a_destination_where_configured(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(delivery={"return_to_sender": True, "return_port": 11119})
    (name,) = destination_names(REVISION, settings)
    sender = resolve(name, settings)
    assert (sender.ae_title, sender.host, sender.port) == ("MR@HOME", "2001:db8::5", 11119)


def test_a_series_without_a_known_sender_goes_to_the_fixed_destinations(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(destinations=[_peer("a")], delivery={"return_to_sender": True})
    unknown = replace(REVISION, calling_ae_title="")
    assert destination_names(unknown, settings) == ("a",)


def test_a_destination_is_found_where_it_is_configured_now(
    make_settings: Callable[..., Settings],
) -> None:
    assert resolve("pacs", make_settings(destinations=[_peer("pacs", port=1)])).port == 1
    assert resolve("pacs", make_settings(destinations=[_peer("pacs", port=2)])).port == 2


def test_a_destination_that_is_no_longer_configured_is_refused(
    make_settings: Callable[..., Settings],
) -> None:
    with pytest.raises(DeliveryRefusedError, match="pacs is no longer in the configuration"):
        resolve("pacs", make_settings())
