from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.anchors.trajectory import Trajectory
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.georeference.command import Inputs, solve_gnss
from geocorrect.georeference.gnss import GnssDrive, GnssFixes, GnssOptions, GnssSolution, read_gnss
from geocorrect.georeference.gnss import align_gnss as align_drives

FRAME = Frame("Rome", 12.516, 41.903, 98.0)
WORLD_FROM_LOCAL = Similarity(
    1.001, Rotation.from_euler("ZYX", [35.0, 0.5, -0.3], degrees=True), np.array([20.0, 5.0, 1.0])
)


def drive(length_m: float = 600.0, n: int = 600) -> Trajectory:
    along = np.linspace(0, length_m, n)
    position = np.stack([along, 40 * np.sin(along / 80), np.zeros(n)], axis=1)
    heading = np.arctan2(0.5 * np.cos(along / 80), 1.0)
    turn = Rotation.from_rotvec(np.outer(heading, [0, 0, 1.0]))
    level = WORLD_FROM_LOCAL.rotation.inv() * Rotation.from_euler("z", 35.0, degrees=True)
    times = np.arange(n, dtype=np.int64) * 100_000_000
    return Trajectory("drive.txt", times, level.apply(position), level * turn)


def align_gnss(trajectory: Trajectory, fixes: GnssFixes, options: GnssOptions) -> GnssSolution:
    return align_drives([GnssDrive(trajectory, fixes)], options)


def write_fixes(path: Path, trajectory: Trajectory, seed: int, bad: int = 0) -> Path:
    """One fix a second with a slowly varying error of 0.4 m and a few blunders."""
    random = np.random.default_rng(seed)
    rows = np.arange(0, len(trajectory), 10)
    error = np.zeros((len(rows), 3))
    state = random.normal(0, 0.4, 3)
    keep = np.exp(-1.0 / 15.0)
    for k in range(len(rows)):
        state = keep * state + np.sqrt(1 - keep**2) * random.normal(0, 0.4, 3)
        error[k] = state
    error[random.choice(len(rows), bad, replace=False), :2] += 25.0
    world = WORLD_FROM_LOCAL.apply(trajectory.translation_m[rows]) + error
    lon, lat, height = FRAME.wgs84_from_enu(world)
    lines = ["time_s,lon_deg,lat_deg,height_m"]
    seconds = trajectory.time_ns[rows] / 1e9
    lines += [f"{t:.3f},{a:.10f},{b:.10f},{c:.4f}" for t, a, b, c in zip(seconds, lon, lat, height, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_drive_is_placed_and_blunders_are_flagged(tmp_path: Path) -> None:
    trajectory = drive()
    options = GnssOptions("ellipsoid", sigma_m=0.4)
    found = align_gnss(trajectory, read_gnss(write_fixes(tmp_path / "fix.csv", trajectory, 0, bad=6), options), options)
    assert found.outlier.sum() == 6
    alignment = found.alignment
    places = alignment.frame.wgs84_from_enu(alignment.world_from_local.apply(trajectory.translation_m))
    enu = FRAME.enu_from_wgs84(*places)
    assert (
        np.linalg.norm(enu - WORLD_FROM_LOCAL.apply(trajectory.translation_m), axis=1).max() < 1.5
    )  # two or three independent errors of 0.4 m, 25 m blunders


@pytest.mark.long
def test_the_promise_holds_although_gnss_errors_are_correlated(tmp_path: Path) -> None:
    trajectory = drive()
    options = GnssOptions("ellipsoid", sigma_m=0.4, correlation_s=15.0)
    covered = []
    for seed in range(40):
        found = align_gnss(trajectory, read_gnss(write_fixes(tmp_path / "fix.csv", trajectory, seed), options), options)
        alignment = found.alignment
        track = trajectory.translation_m[::60]
        there = alignment.world_from_local.apply(track)
        back = FRAME.enu_from_wgs84(*alignment.frame.wgs84_from_enu(there))
        off = (back - WORLD_FROM_LOCAL.apply(track))[:, :2]
        plan = alignment.position_covariance(track)[:, :2, :2]
        nees = np.einsum("ki,ki->k", off, np.linalg.solve(plan, off[:, :, None])[:, :, 0])
        covered.append((nees < 5.991).mean())
    assert np.mean(covered) > 0.85


def test_correlated_fixes_take_nothing_from_the_priors(tmp_path: Path) -> None:
    """That fixes err alike says nothing about scale and tilt: nothing may be known worse than the prior knows it."""
    trajectory = drive()
    options = GnssOptions("ellipsoid", sigma_m=0.4, correlation_s=1e6, scale_sigma=1e-4, tilt_sigma_deg=0.01)
    fixes = read_gnss(write_fixes(tmp_path / "fix.csv", trajectory, 1), options)
    sigma = np.sqrt(np.diag(align_gnss(trajectory, fixes, options).alignment.covariance))
    assert sigma[6] <= options.scale_sigma
    assert np.degrees(sigma[3:5]).max() <= 1.01 * options.tilt_sigma_deg


def test_the_whole_way_to_an_alignment(tmp_path: Path) -> None:
    trajectory = drive()
    quaternions = trajectory.rotation.as_quat()
    lines = [
        f"{t / 1e9:.3f} " + " ".join(f"{v:.9f}" for v in [*p, *q])
        for t, p, q in zip(trajectory.time_ns, trajectory.translation_m, quaternions, strict=True)
    ]
    path = tmp_path / "seq_gt.txt"
    path.write_text("\n".join(lines))
    result = solve_gnss(
        Inputs((path,), gnss=(write_fixes(tmp_path / "fix.csv", trajectory, 1),)), GnssOptions("ellipsoid")
    )
    data = result.as_json()
    assert data["method"] == "gnss"
    assert data["n_fixes"] == 60
    assert data["yaw_deg"] == pytest.approx(35.0, abs=0.3)
    assert result.alignment.id.startswith("gnss-")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("time_s,lon_deg,lat_deg,height_m\n0,12,41,50", GnssOptions(), "heights are measured from is not declared"),
        ("time_s,lon_deg,lat_deg,height_m\n0,41.9,112,50", GnssOptions("ellipsoid"), "line 2: .*swapped"),
        ("time_s,lon_deg,lat_deg,height_m\n0,0,0,50", GnssOptions("ellipsoid"), "line 2: .*no fix"),
        ("time_s,lon_deg,lat_deg,height_m\nnow,12,41,50", GnssOptions("ellipsoid"), "line 2: 'now' is not a number"),
        ("time_s,lon_deg,lat_deg\n0,12,41", GnssOptions("ellipsoid"), "line 2: column 'height_m' is missing"),
    ],
)
def test_bad_fixes_are_named(tmp_path: Path, text: str, options: GnssOptions, message: str) -> None:
    (tmp_path / "fix.csv").write_text(text + "\n")
    with pytest.raises(InputError, match=message):
        read_gnss(tmp_path / "fix.csv", options)


def test_fixes_of_another_clock_and_a_drive_that_stands_are_refused(tmp_path: Path) -> None:
    options = GnssOptions("ellipsoid")
    trajectory = drive()
    fixes = read_gnss(write_fixes(tmp_path / "fix.csv", trajectory, 0), options)
    late = Trajectory("late.txt", trajectory.time_ns + 10**15, trajectory.translation_m, trajectory.rotation)
    with pytest.raises(InputError, match=r"late.txt: 0 GNSS fixes lie on it; are the clocks the same"):
        align_gnss(late, fixes, options)
    standing = drive(length_m=1.0)
    fixes = read_gnss(write_fixes(tmp_path / "fix.csv", standing, 0), options)
    with pytest.raises(InputError, match="too little against the GNSS error"):
        align_gnss(standing, fixes, options)


def test_several_drives_at_once(tmp_path: Path) -> None:
    """Two short drives, one in a frame of its own, tell more together: the heading from their whole extent."""
    whole, options = drive(), GnssOptions("ellipsoid", sigma_m=0.4)
    link = Pose(Rotation.from_euler("z", 70.0, degrees=True), np.array([5.0, -3.0, 1.0]))
    own = link.inverse()
    parts = [slice(0, 150), slice(450, 600)]
    drives = []
    for k, rows in enumerate(parts):
        part = Trajectory(f"{k}.txt", whole.time_ns[rows], whole.translation_m[rows], whole.rotation[rows])
        fixes = read_gnss(write_fixes(tmp_path / f"{k}.csv", part, k), options)
        if k == 0:
            drives.append(GnssDrive(part, fixes))
        else:
            moved = Trajectory(part.name, part.time_ns, own.apply(part.translation_m), own.rotation * part.rotation)
            drives.append(GnssDrive(moved, fixes, link))
    together, alone = align_drives(drives, options), align_drives(drives[:1], options)
    assert len(together.residual_m) == 30
    yaw_sigma = [float(np.sqrt(found.alignment.covariance[5, 5])) for found in (together, alone)]
    assert yaw_sigma[0] < yaw_sigma[1] / 2
    alignment = together.alignment
    back = alignment.frame.wgs84_from_enu(alignment.world_from_local.apply(whole.translation_m))
    off = FRAME.enu_from_wgs84(*back) - WORLD_FROM_LOCAL.apply(whole.translation_m)
    assert np.linalg.norm(off[:, :2], axis=1).max() < 1.5


def test_a_fix_file_for_each_drive() -> None:
    with pytest.raises(UsageError, match="1 --gnss for 2 --trajectory"):
        solve_gnss(Inputs((Path("a"), Path("b")), gnss=(Path("c"),)), GnssOptions("ellipsoid"))
