"""A job that runs in another process is watched: killed, resumed, failing, finished."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from commands import REGIONS, WINDOWS, Workplace, start, wait_for
from conftest import COMMAND, record_folder
from terminals import new_terminal, pieces

from pipeline.job.watching import watch


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def looks(out: Path) -> Iterator[dict[str, Any]]:
    return watch(out, 0.1)


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_a_job_is_seen_to_run_to_be_killed_to_go_on_and_to_finish(
    place: Workplace, suffix: str
) -> None:
    out = place.folder / f"x{suffix}"
    running = place.held(out)
    seen = looks(out)
    look = next(seen)
    assert (look["finished"], look["regions"], look["done"]) == (False, REGIONS, 1)
    assert (look["windows"], look["failed"], look["last_failed"]) == (WINDOWS, 0, [])
    assert look["running"] == [f"process {running.pid} on {os.uname().nodename}"]
    rate, windows = look["windows_per_second"], look["windows_done"]
    assert rate > 0
    assert look["times_real_time"] == pytest.approx(rate * 0.004, rel=0.01)
    assert look["seconds_left"] == pytest.approx((WINDOWS - windows) / rate, rel=0.01, abs=0.1)
    (host,) = look["hosts"]
    assert (host["host"], host["done"], host["windows_per_second"]) == (
        os.uname().nodename,
        1,
        rate,
    )
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    look = next(seen)
    assert (look["running"], look["windows_per_second"], look["seconds_left"]) == ([], 0, None)
    place.release()
    again = place.extract(out)
    last = [*seen][-1]  # it ends by itself
    assert again.wait().code == 0
    assert (last["finished"], last["done"], last["windows_done"]) == (True, REGIONS, WINDOWS)


def test_what_failed_is_told_and_gone_when_it_is_done(place: Workplace) -> None:
    out, good = place.folder / "x.zarr", (place.folder / "ramp.py").read_text()
    fails = "        if calls > 6:\n            raise ValueError('no\\x1bluck')\n"
    (place.folder / "ramp.py").write_text(
        good.replace("        if calls > 6 and", fails + "        if calls > 6 and")
    )
    assert place.extract(out).wait().code == 1
    seen = looks(out)
    look = next(seen)
    assert (look["done"], look["failed"]) == (1, REGIONS - 1)
    assert [item["region"] for item in look["last_failed"]] == [1, 2]
    assert "ValueError: no\x1bluck (ramp.py, line " in look["last_failed"][0]["reason"]
    shown = start("status", out, "--watch", "--every", 0.1, cwd=place.folder)
    line = r"[\d:T+-]+, 1 of 3 regions, time left is not known, 2 failed, nobody is at work"
    wait_for(lambda: shown.printed().count("\n") > 1)
    os.kill(shown.pid, signal.SIGINT)
    ended = shown.wait()
    assert (ended.code, ended.err) == (130, "\ninterrupted\n")
    assert all(re.fullmatch(line, said) for said in ended.out.splitlines())
    (place.folder / "ramp.py").write_text(good)
    other = place.extract(out, "--overwrite")  # another job, as the feature is another
    last = [*seen][-1]
    assert other.wait().code == 0
    assert (last["finished"], last["failed"], last["done"]) == (True, 0, REGIONS)


def test_a_finished_job_is_looked_at_once(place: Workplace) -> None:
    out = place.folder / "x.zarr"
    assert place.extract(out).wait().code == 0
    (look,) = looks(out)
    assert (look["finished"], look["running"], look["shares"]) == (True, [], [])
    shown = place.run("status", out, "--watch")
    assert (shown.code, shown.err) == (0, "")
    assert re.fullmatch(r"[\d:T+-]+, 3 of 3 regions, finished\n", shown.out)
    shown = place.run("status", out, "--watch", "--json")
    assert shown.out.count("\n") == 1
    assert json.loads(shown.out)["done"] == REGIONS


def test_shares_are_told_apart(place: Workplace) -> None:
    out = place.folder / "x.zarr"
    running = place.held(out, "--share", "0/1")
    look = next(looks(out))
    holder = f"process {running.pid} on {os.uname().nodename}"
    assert look["shares"] == [{"share": "0/1", "holder": holder, "regions": 3, "done": 1}]
    place.release()
    assert running.wait().code == 0


def test_a_record_that_is_rewritten_is_read_again(place: Workplace) -> None:
    out = place.folder / "x.zarr"
    running = place.held(out)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    seen = looks(out)
    assert next(seen)["done"] == 1
    (log,) = (p for p in (record_folder(out) / "log").iterdir() if '"done"' in p.read_text())
    log.write_text(
        "".join(line for line in log.read_text().splitlines(True) if '"done"' not in line)
    )
    assert next(seen)["done"] == 0


def test_a_store_that_is_removed_ends_it_in_a_sentence(place: Workplace) -> None:
    out = place.folder / "x.zarr"
    assert place.extract(out).wait().code == 0
    (record_folder(out) / "finished").unlink()
    seen = looks(out)
    next(seen)
    out.rename(place.folder / "elsewhere.zarr")
    with pytest.raises(FileNotFoundError, match=r"x\.zarr does not exist"):
        next(seen)


def test_a_narrow_terminal_is_drawn_on_in_place_and_left_clean(place: Workplace) -> None:
    out, width = place.folder / "x.zarr", 30
    running = place.held(out)
    shown = until_interrupted(
        [str(COMMAND), "status", str(out), "--watch", "--every", "0.1"], width
    )
    place.release()
    assert running.wait().code == 0
    first, *later = re.split(r"\x1b\[(\d+)F\x1b\[J", shown)
    *frames, last = [first, *later[1::2]]
    assert len(frames) > 1
    assert last.endswith("interrupted\r\n")
    for frame, up in zip(frames, later[::2], strict=True):
        *lines, end = frame.split("\r\n")
        assert (len(lines), end) == (int(up), "")
        assert max(map(len, lines)) < width  # so the terminal breaks none
        assert re.match(r"[\d.]+%\|█", lines[1])


def until_interrupted(command: list[str], width: int) -> str:
    """What a command shows on a terminal until Ctrl-C after its third look."""
    terminal, side = new_terminal(width)
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with Popen(command, stdin=side, stdout=side, stderr=side, env=environment) as running:
        os.close(side)
        shown, interrupted = b"", False
        for piece in pieces(terminal):
            shown += piece
            if shown.count(b"\x1b[J") == 2 and not interrupted:
                running.send_signal(signal.SIGINT)
                interrupted = True
    assert running.returncode == 130
    return shown.decode()
