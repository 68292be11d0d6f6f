"""Reporters: what programs read, and what people do."""

import io
import json

import pytest

from emrdiff_geo.cli import progress
from emrdiff_geo.fusion import ProgressEvent


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_one_versioned_object_a_line():
    out = io.StringIO()
    reporter = progress.JsonReporter(out=out)
    reporter.start("fuse", "1.2.3")
    reporter.progress("fuse", 0, 2)
    reporter.progress("fuse", 2, 2)
    reporter.message("info", "two\nlines")
    reporter.result(path="out.tif", report={"psnr": float("inf"), "bands": (1, 2)})
    events = lines(out.getvalue())
    assert {e["version"] for e in events} == {1}
    assert [e["event"] for e in events] == ["start", "progress", "progress", "message", "result"]
    assert {"stage", "done", "total", "elapsed_s", "message"} <= events[1].keys()
    assert events[-1]["path"] == "out.tif"
    assert events[-1]["report"] == {"psnr": None, "bands": [1, 2]}


def test_json_thins_out_but_keeps_the_ends_and_the_measurements():
    out = io.StringIO()
    tell = progress.for_steps(progress.JsonReporter(out=out), "train")
    for step in range(1001):
        tell(step, 1000, 0.5, {"psnr": 40.0, "gain": 0.1} if step == 500 else None)
    events = lines(out.getvalue())
    assert len(events) < 200
    assert events[0]["done"] == 0
    assert events[-1]["done"] == 1000
    assert [e["done"] for e in events if "psnr" in e] == [500]
    assert all(e["loss"] == 0.5 for e in events)


def test_events_of_the_fusion_are_understood():
    out = io.StringIO()
    tell = progress.for_events(progress.JsonReporter(out=out))
    tell(ProgressEvent("statistics", 0, 1, "measuring"))
    (event,) = lines(out.getvalue())
    assert (event["stage"], event["done"], event["total"]) == ("statistics", 0, 1)
    assert event["message"] == "measuring"


def test_fusing_tells_pixels_memory_and_what_is_left(monkeypatch):
    times = iter([0.0, 0.0, 10.0, 10.0, 20.0, 20.0])
    out = io.StringIO()
    reporter = progress.JsonReporter(out=out)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    reporter.begun = 0.0
    tell = progress.for_events(reporter)
    # A run that is continued counts what it does itself.
    tell(ProgressEvent("fuse", 2, 6, pixels=2000))
    tell(ProgressEvent("fuse", 4, 6, pixels=4000))
    first, second = lines(out.getvalue())
    assert first["memory_mb"] > 1
    assert "pixels_per_s" not in first
    assert (second["pixels_per_s"], second["remaining_s"]) == (200, 10)


@pytest.mark.parametrize("mode", ["bar", "json", "none"])
def test_what_is_on_no_terminal_gets_no_escape_codes(mode, capsys):
    with progress.make_reporter(mode) as reporter:
        for done in range(101):
            reporter.progress("fuse", done, 100, loss=1.0)
        reporter.message("warning", "[bold]careful[/bold]")
        reporter.result(path="out.tif")
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "[bold]careful[/bold]" in out + err
    assert len(err.splitlines()) < 10
    assert (out == "") == (mode != "json")


def test_lines_tell_each_stage_and_its_end(capsys):
    reporter = progress.LineReporter()
    for stage in ("statistics", "fuse"):
        for done in range(6):
            reporter.progress(stage, done, 5)
    err = capsys.readouterr().err
    assert err.splitlines() == [
        "measuring the scene 0/5",
        "measuring the scene 5/5",
        "fusing tiles 0/5",
        "fusing tiles 5/5",
    ]


def test_a_bar_survives_notes_unknown_totals_and_new_stages(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress.make_reporter("bar") as reporter:
        assert isinstance(reporter, progress.BarReporter)
        reporter.progress("train", 1, 0, loss=0.5)
        reporter.progress("train", 2, 10, loss=0.25, psnr=40.0)
        reporter.message("info", "a note [with brackets]")
        reporter.progress("write", 0, 1, "finishing")
    err = capsys.readouterr().err
    assert "a note [with brackets]" in err
    assert "finishing" in err


def test_quiet_says_nothing_of_success(capsys):
    progress.make_reporter("none", quiet=True).result(path="out.tif")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [progress.LineReporter, progress.BarReporter])
def test_stages_begin_anew_with_every_row_of_a_batch(kind, capsys):
    with kind() as reporter:
        for number in (1, 2):
            reporter.row(number, 2, "out.tif", "started")
            reporter.progress("statistics", 0, 1)
            reporter.row(number, 2, "out.tif", "failed", 0.5, "no such file")
    notes = capsys.readouterr().err
    assert notes.count("failed: no such file") == 2
    if kind is progress.LineReporter:
        assert notes.count("measuring the scene") == 2
