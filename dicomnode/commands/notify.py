"""`notify`: does a message reach the people whom the configuration names?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from dicomnode.commands.common import Config, say, settings_of
from dicomnode.errors import ConfigurationError, NoticeError


def notify(
    test: Annotated[bool, typer.Option("--test", help="Send a test by every channel.")] = False,
    config: Config = None,
) -> None:
    """Send a test message by e-mail and webhook; the node tells of what waits by itself."""
    from dicomnode.notices.message import trial_message
    from dicomnode.notices.teller import channels_of

    settings = settings_of(config)
    channels = channels_of(settings)
    if not channels:
        raise ConfigurationError(
            "nobody is told of anything: configure notifications.email or notifications.webhook"
        )
    if not test:
        names = " and ".join(channel.name for channel in channels)
        say(f"people are told by {names}; --test sends a message now")
        return
    failed = False
    for channel in channels:
        try:
            channel.send(trial_message(settings, datetime.now(UTC)))
        except NoticeError as error:
            failed = True
            say(f"{channel.name}: {error}")
        else:
            say(f"{channel.name}: sent")
    if failed:
        raise typer.Exit(1)
