"""The folder of pages: there before anybody is told, whole or not at all, bounded, and never in the way."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from infra.runtime.settings import Endpoints, Settings, parse
from streams.alerts.delivery import pages_of
from streams.alerts.page.folder import KEPT, Pages
from tests.unit.streams.alerts.alert import NOW, alert

OVER = {"recovered": True, "evidence": {"alert": "a1"}, "summary": "it is over: all is well"}


async def test_a_page_is_written_and_named(tmp_path: Path) -> None:
    """By its file, or by its address where the folder is served; before it is written by nothing."""
    folder = tmp_path / "drift" / "alerts"
    local, served = Pages(folder), Pages(folder, "https://ops.invalid/drift/")
    assert local.place(alert()) == ""
    await local.take(alert(), new=True)
    assert local.place(alert()) == str(folder / "a1.html")
    assert served.place(alert()) == "https://ops.invalid/drift/a1.html"
    assert "the error rate rose" in (folder / "a1.html").read_text(encoding="utf-8")
    assert [path.name for path in folder.iterdir()] == ["a1.html"]


async def test_the_end_is_written_on_the_page_of_its_alert(tmp_path: Path) -> None:
    """Also after a restart, which reads the alert again without writing its page anew."""
    before = Pages(tmp_path)
    await before.take(alert(), new=True)
    written = (tmp_path / "a1.html").stat().st_mtime_ns
    after = Pages(tmp_path)
    await after.take(alert(), new=False)
    assert (tmp_path / "a1.html").stat().st_mtime_ns == written
    notice = alert("a1-recovered", raised_at=NOW + timedelta(minutes=5), **OVER)
    await after.take(notice, new=True)
    text = (tmp_path / "a1.html").read_text(encoding="utf-8")
    assert "Over since 2026-01-01 12:05:00 UTC" in text and "all is well" in text
    assert after.place(notice) == str(tmp_path / "a1.html")
    assert len(list(tmp_path.iterdir())) == 1


async def test_the_end_of_an_unknown_alert_makes_no_page(tmp_path: Path) -> None:
    """There is nothing to explain."""
    pages = Pages(tmp_path / "alerts")
    await pages.take(alert("a1-recovered", **OVER), new=True)
    assert pages.place(alert("a1-recovered", **OVER)) == ""


async def test_what_cannot_be_written_stops_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is logged and the alert goes without a page: a file in the folder's place, an id that is a path."""
    (tmp_path / "alerts").write_text("no folder")
    pages = Pages(tmp_path / "alerts")
    await pages.take(alert(), new=True)
    assert pages.place(alert()) == ""
    outside = alert("../../outside")
    await Pages(tmp_path / "other").take(outside, new=True)
    assert Pages(tmp_path / "other").place(outside) == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alerts"]
    printed = "".join(capsys.readouterr())
    assert printed.count("alert_page.failed") == 2


def test_the_newest_thousand_are_kept(tmp_path: Path) -> None:
    """What is older goes with the next page, and so do leavings of a write that was cut off."""
    for number in range(KEPT + 3):
        path = tmp_path / (f"old{number}.html" if number else ".old.html.new")
        path.write_text("")
        os.utime(path, (number, number))
    Pages(tmp_path).write(alert())
    names = {path.name for path in tmp_path.iterdir()}
    assert len(names) == KEPT
    assert "a1.html" in names and f"old{KEPT + 2}.html" in names
    assert not names & {".old.html.new", "old1.html", "old2.html", "old3.html"}


def test_installations_that_share_a_folder_do_not_mix(tmp_path: Path) -> None:
    """A topic prefix has pages of its own; the address is the file's."""
    text = 'topic_prefix = "b."\n[alerts]\npage_url = "http://x.invalid/p"\n[streams.s]\nkind = "api"\n'
    pages = pages_of(Settings(tmp_path, parse(text, "test"), Endpoints("", "", "")))
    assert pages.write(alert()) == tmp_path / "drift" / "b.alerts" / "a1.html"
    assert pages.place(alert()) == "http://x.invalid/p/a1.html"
