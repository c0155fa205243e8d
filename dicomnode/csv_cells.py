"""Cells of CSV files that a spreadsheet shows and never runs."""

from __future__ import annotations

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def inert(cell: object) -> object:
    """Text that a spreadsheet would take for a formula, behind an apostrophe.

    File names and keys come from whoever made the data set. Numbers stay numbers.
    """
    if isinstance(cell, str) and cell.startswith(_BEGINS_A_FORMULA):
        return "'" + cell
    return cell
