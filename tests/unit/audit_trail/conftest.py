"""How far the log was sent is kept in the database: these tests run on both."""

from tests.databases import *  # noqa: F403
