"""The style of the desk: contrast by WCAG 2.2, labels, and nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from dicomnode.web.desk.templating import FOLDER

STYLE = (FOLDER / "static" / "desk.css").read_text(encoding="utf-8")
SCRIPT = (FOLDER / "static" / "desk.js").read_text(encoding="utf-8")
TEMPLATES = {file.name: file.read_text("utf-8") for file in (FOLDER / "templates").iterdir()}
_TWO_COLOURS = re.compile(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);")
PALETTE: Mapping[str, tuple[str, str]] = {
    name: (light, dark) for name, light, dark in _TWO_COLOURS.findall(STYLE)
}
TEXTS = [
    *((text, ground) for text in ("ink", "soft", "accent") for ground in ("ground", "sheet")),
    ("ink", "raised"),
    ("soft", "raised"),
    ("on-accent", "accent"),
    *((tone, f"{tone}-ground") for tone in ("good", "calm", "doubt", "bad")),
]
# What one has to see to use a control: its edge, and where the focus is.
EDGES = [(edge, ground) for edge in ("edge", "accent") for ground in ("ground", "sheet")]


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance of sRGB."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    red, green, blue = linear
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_black_on_white_has_the_contrast_that_the_standard_names() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXTS)
def test_text_can_be_read(text: str, ground: str, scheme: int) -> None:
    assert contrast(PALETTE[text][scheme], PALETTE[ground][scheme]) >= 4.5


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("edge", "ground"), EDGES)
def test_a_control_can_be_seen(edge: str, ground: str, scheme: int) -> None:
    assert contrast(PALETTE[edge][scheme], PALETTE[ground][scheme]) >= 3.0


def test_every_colour_that_is_used_is_in_the_palette() -> None:
    used = set(re.findall(r"var\(--([a-z-]+)\)", STYLE))
    assert used - {"radius", "gap"} <= set(PALETTE)


def test_pages_have_no_inline_script_or_style_and_load_nothing_from_elsewhere() -> None:
    for name, template in TEMPLATES.items():
        assert not re.search(r"\sstyle=|\son[a-z]+=|<style|javascript:", template), name
        assert not re.search(r"<script(?![^>]*src=\"/desk/static/)", template), name
        assert not re.search(r"(src|href)=\"(https?:)?//", template), name
    assert "url(" not in STYLE
    assert not re.search(r"https?://|eval\(|new Function", SCRIPT)


def test_every_input_has_a_label() -> None:
    for name, template in TEMPLATES.items():
        labelled = set(re.findall(r'<label[^>]* for="([^"]+)"', template))
        for field in re.findall(r"<(?:input|select|textarea)\b[^>]*>", template):
            is_hidden = 'type="hidden"' in field
            within = re.search(rf"<label[^>]*>\s*{re.escape(field)}", template)
            identified = re.search(r'\bid="([^"]+)"', field)
            assert is_hidden or within or (identified and identified[1] in labelled), (name, field)


def test_every_table_has_a_caption_and_every_heading_a_scope() -> None:
    for name, template in TEMPLATES.items():
        assert template.count("<table") == template.count("<caption"), name
        assert all("scope=" in cell for cell in re.findall(r"<th\b[^>]*>", template)), name
