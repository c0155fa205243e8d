"""Receipts are kept in the database: their tests run on both."""

from tests.databases import *  # noqa: F403
