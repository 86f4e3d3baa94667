from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from geocorrect.anchors.readers.timestamps import nanoseconds_from_seconds, read_timestamps, utc_from_nanoseconds
from geocorrect.anchors.trajectory import Trajectory, read_tum
from geocorrect.errors import InputError

ROW = "1237.6017897600 206.777989 3.105123 -0.494818 -0.009945 0.005503 0.984668 -0.174070"


def straight(times_ns: list[int], speed_m_s: float = 9.0, rate_rad_s: float = 0.2) -> Trajectory:
    seconds = np.array(times_ns) / 1e9
    position = np.outer(seconds, [speed_m_s, 0.0, 0.1])
    return Trajectory(
        "drive.txt", np.array(times_ns, np.int64), position, Rotation.from_rotvec(np.outer(seconds, [0, 0, rate_rad_s]))
    )


@given(st.integers(0, 950_000_000))
def test_constant_motion_is_interpolated_exactly(time_ns: int) -> None:
    pose = straight([0, 100_000_000, 210_000_000, 600_000_000, 950_000_000]).pose_at(time_ns)
    assert pose.translation_m == pytest.approx([9.0 * time_ns / 1e9, 0.0, 0.1 * time_ns / 1e9], abs=1e-9)
    assert pose.rotation.as_euler("zyx")[0] == pytest.approx(0.2 * time_ns / 1e9, abs=1e-9)


def test_rows_are_met_exactly_and_fractional_rows_lie_between() -> None:
    drive = straight([0, 50_000_000, 100_000_000])
    assert drive.pose_at(50_000_000).translation_m == pytest.approx(drive.pose(1).translation_m)
    assert drive.time_at_row(1.12) == 56_000_000
    assert drive.pose_at_row(2.0).translation_m == pytest.approx(drive.pose(2).translation_m)
    with pytest.raises(InputError, match="row 2.5"):
        drive.pose_at_row(2.5)
    with pytest.raises(InputError, match="row 3"):
        drive.pose(3)


@pytest.mark.parametrize("time_ns", [-1, 100_000_001])
def test_outside_the_covered_time_is_refused(time_ns: int) -> None:
    drive = straight([0, 100_000_000])
    assert not drive.covers(time_ns)
    with pytest.raises(InputError, match=r"drive.txt: no pose at .*covers 0.000000 s … 0.100000 s"):
        drive.pose_at(time_ns)


def test_a_gap_is_refused_inside_and_met_at_its_ends() -> None:
    drive = straight([0, 100_000_000, 900_000_000, 1_000_000_000])
    assert drive.pose_at(100_000_000).translation_m[0] == pytest.approx(0.9)
    assert drive.pose_at(900_000_000).translation_m[0] == pytest.approx(8.1)
    with pytest.raises(InputError, match=r"gap of 0.800 s"):
        drive.pose_at(500_000_000)


def test_tum_times_keep_every_digit(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text(f"# comment\n{ROW}\n{ROW.replace('1237.6017897600', '90001.000000001')}\n")
    drive = read_tum(path)
    assert drive.time_ns.tolist() == [1_237_601_789_760, 90_001_000_000_001]
    assert drive.pose(0).translation_m == pytest.approx([206.777989, 3.105123, -0.494818])


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("1238 0 0 0 0 0 0", "line 2: 7 columns"),
        ("1238 0 0 x 0 0 0 1", "line 2: could not convert"),
        ("1238 0 0 nan 0 0 0 1", "line 2: a value is not finite"),
        ("abc 0 0 0 0 0 0 1", "line 2: 'abc' is not a number of seconds"),
        ("inf 0 0 0 0 0 0 1", "line 2: 'inf' is not a finite"),
        ("1238 0 0 0 0 0 0 0", "line 2: quaternion of length 0"),
        ("1237 0 0 0 0 0 0 1", "line 2: the time does not increase"),
        ("1237.6017897600 0 0 0 0 0 0 1", "line 2: the time does not increase"),
        ("", "1 poses"),
    ],
)
def test_bad_tum_rows_are_named(tmp_path: Path, second: str, message: str) -> None:
    path = tmp_path / "gt.txt"
    path.write_text(f"{ROW}\n{second}\n")
    with pytest.raises(InputError, match=message):
        read_tum(path)


def test_a_missing_trajectory_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere.txt: no such trajectory"):
        read_tum(tmp_path / "nowhere.txt")


def test_stamps_beyond_a_day_and_of_both_kinds(tmp_path: Path) -> None:
    path = tmp_path / "timestamps.txt"
    path.write_text("1970-01-01T00:06:06.660458140\n1970-01-02T01:00:00.000000001\n2011-09-26 13:02:44.335092332\n")
    first, second, third = (int(t) for t in read_timestamps(path))
    assert (first, second) == (366_660_458_140, 90_000_000_000_001)
    assert utc_from_nanoseconds(first) is None
    moment = utc_from_nanoseconds(third)
    assert moment is not None
    assert moment.isoformat() == "2011-09-26T13:02:44.335092+00:00"
    assert nanoseconds_from_seconds("366.660458140") == first


@pytest.mark.parametrize("line", ["NaT", "hello", "1317042164.33", "2011-09-26", ""])
def test_a_line_that_is_no_time_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "timestamps.txt"
    path.write_text(f"1970-01-01T00:06:06.66\n{line}\n1970-01-01T00:06:07.66\n")
    with pytest.raises(InputError, match=r"timestamps.txt, line 2: .* is not a date and time"):
        read_timestamps(path)


def test_an_empty_or_missing_timestamp_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "timestamps.txt").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        read_timestamps(tmp_path / "timestamps.txt")
    with pytest.raises(InputError, match="no such file"):
        read_timestamps(tmp_path / "other.txt")
