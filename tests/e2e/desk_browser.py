"""A real Chromium for the tests of the desk, and what is asked of every page that it shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    ViewportSize,
    sync_playwright,
)

from tests.desk_site import PASSWORD, Site

CHROMIUM = Path("/usr/bin/chromium")
WIDE, NARROW = (1280, 900), (390, 844)

# Text that can't be read, inputs that nobody names, headings that skip a level: WCAG 2.2 AA.
FAULTS = """
() => {
  const faults = [];
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const parse = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return { r, g, b, a: a / 255 };
  };
  const luminance = ({ r, g, b }) => {
    const f = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.a > 0.6) return colour;
    }
    return parse("white");
  };
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest("svg, [disabled]")) continue;
    const style = getComputedStyle(element);
    const [one, other] = [luminance(parse(style.color)), luminance(ground(element))].sort();
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const isLarge = parseFloat(style.fontSize) >= 24;
    if (contrast < (isLarge ? 3 : 4.5)) {
      faults.push(`contrast ${contrast.toFixed(1)}: ${element.textContent.trim().slice(0, 40)}`);
    }
  }
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (!field.labels.length && !field.ariaLabel) faults.push(`no label: ${field.name}`);
  }
  for (const element of document.querySelectorAll("a, button")) {
    const image = element.querySelector("img[alt]:not([alt=''])");
    if (!element.textContent.trim() && !element.ariaLabel && !image) {
      faults.push(`no name: ${element.outerHTML.slice(0, 60)}`);
    }
  }
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) faults.push(`heading ${next} after ${level}: ${heading.textContent}`);
    level = next;
  }
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  if (document.querySelectorAll("main").length !== 1) faults.push("not one main");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  const twice = ids.filter((id, i) => ids.indexOf(id) !== i);
  if (twice.length) faults.push(`ids twice: ${twice}`);
  for (const image of document.images) {
    if (!image.hasAttribute("alt")) faults.push(`no alt: ${image.src}`);
  }
  if (document.documentElement.scrollWidth > innerWidth) {
    faults.push(`scrolls sideways: ${document.documentElement.scrollWidth} of ${innerWidth}`);
  }
  return faults;
}
"""


def missing_chromium() -> str:
    """Why this can't run here; empty where it can."""
    return "" if CHROMIUM.exists() else f"{CHROMIUM} is not installed (Debian: chromium)"


@contextmanager
def chromium() -> Iterator[Browser]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=sandbox)
        yield browser
        browser.close()


@dataclass
class Person:
    """One person at a browser; `errors` are those of scripts and policies, told by the console."""

    site: Site
    context: BrowserContext
    page: Page
    errors: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        self.page.goto(f"{self.site.address}{path}")
        return self.page

    def log_in(self, name: str) -> Page:
        page = self.go("/login")
        page.get_by_label("Account").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/desk/queue")
        return page

    def picture(self, folder: Path, name: str) -> None:
        """A screenshot of the whole page, for a person to look at."""
        self.page.screenshot(path=folder / f"{name}.png", full_page=True)


@contextmanager
def person(browser: Browser, site: Site, **options: Any) -> Iterator[Person]:
    width, height = options.pop("size", WIDE)
    viewport = ViewportSize(width=width, height=height)
    context = browser.new_context(viewport=viewport, **options)
    context.set_default_timeout(20_000)
    found = Person(site, context, context.new_page())

    def heard(message: ConsoleMessage) -> None:
        # What a page is refused is told there too; the tests ask for that themselves.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            found.errors.append(message.text)

    found.page.on("console", heard)
    found.page.on("pageerror", lambda error: found.errors.append(str(error)))
    yield found
    assert found.errors == []
    context.close()
