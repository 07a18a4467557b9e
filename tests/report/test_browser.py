"""The page in a browser: no complaint, no sideways scroll, everything drawn, on phone and desk, light and dark."""

from __future__ import annotations

import pytest
from browsing import Browser, browser

from fxprune.report.writing import write_report

SCROLLS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# what sticks out of the screen, unless the box around it may be scrolled by itself
STICKS_OUT = """[...document.querySelectorAll('body *')].filter(item =>
    item.getBoundingClientRect().right > document.documentElement.clientWidth + 1
    && !item.closest('.scroll, pre')).map(item => item.outerHTML.slice(0, 80))"""
MARKS = """[...document.querySelectorAll('figure:not(.code)')].map(figure =>
    [...figure.querySelectorAll('rect, path, circle')].filter(mark => {
        const box = mark.getBoundingClientRect(); return box.width + box.height > 0;
    }).length)"""
# luminance contrast of text against the page, as WCAG defines it
CONTRAST = """(() => {
    const light = colour => { const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const page = light(getComputedStyle(document.body).backgroundColor);
    const of = (item, name) => { const own = light(getComputedStyle(item)[name]);
        return (Math.max(own, page) + 0.05) / (Math.min(own, page) + 0.05); };
    return Math.min(...[...document.querySelectorAll('p, th, td, caption, figcaption, li, a, summary, h1, h2')]
        .map(item => of(item, 'color')), ...[...document.querySelectorAll('svg text')].map(item => of(item, 'fill')));
})()"""


@pytest.fixture(scope="module")
def tab():
    with browser() as opened:
        yield opened


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_every_screen(make, tab: Browser, width, scheme):
    folder = make(model="an-organisation/a-model-with-quite-a-long-name-" + "x" * 60)
    write_report(folder)
    tab.open(folder / "report.html", width, scheme)
    assert tab.value("document.querySelectorAll('section').length") == 10
    assert tab.value(SCROLLS) <= 0
    assert tab.value(STICKS_OUT) == []
    tab.value("document.querySelectorAll('details').forEach(item => item.open = true)")
    assert tab.value(SCROLLS) <= 0
    assert tab.value(STICKS_OUT) == []
    marks = tab.value(MARKS)
    assert len(marks) == 8
    assert all(count > 0 for count in marks)
    assert tab.value(CONTRAST) >= 4.5
    dark = tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert dark is (scheme == "dark")
    assert tab.complaints == []


def test_the_letters_of_a_chart_stay_readable_on_a_phone(make, tab: Browser):
    folder = make()
    write_report(folder)
    tab.open(folder / "report.html", 390, "light")
    heights = tab.value("[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height)")
    assert min(heights) > 10
