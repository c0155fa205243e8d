"""What waits is on record in the database: its tests run on both."""

from tests.databases import *  # noqa: F403
