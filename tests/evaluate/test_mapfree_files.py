"""Map-free files: what is written is read, and what is damaged is named; the whole evaluation on a small set."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.mapfree_world import REFERENCE_PLACE, depth_m, pose_of, query_place, write_set

from geocorrect.depth.base import DepthDeclaration
from geocorrect.errors import InputError, OutputError, Reason
from geocorrect.evaluate.mapfree.pair_estimators import LocalizedPairs, MickeyPairs, Photo
from geocorrect.evaluate.mapfree.run import evaluate_mapfree
from geocorrect.evaluate.mapfree.scene_files import read_scene, read_set
from geocorrect.evaluate.mapfree.submission import Estimate, read_submission, write_submission
from geocorrect.geometry.pose import Pose
from geocorrect.match.sift import SiftMatcher
from geocorrect.match.verify import PairVerifyOptions
from geocorrect.records import Anchor, DepthMap, ImageArray


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("mapfree") / "val")


# --- scenes --------------------------------------------------------------------------------------------


def test_poses_become_camera_to_world(small_set: Path) -> None:
    scenes = read_set(small_set)
    assert [scene.name for scene in scenes] == ["s00000", "s00001"]
    pose = scenes[1].world_from_cam["seq1/frame_00004.jpg"]
    assert pose is not None
    np.testing.assert_allclose(pose.translation_m, pose_of(query_place(1, 4)).translation_m, atol=1e-9)
    camera = scenes[0].camera("seq0/frame_00000.jpg")
    assert (camera.width, camera.height, camera.focal_x_px, camera.principal_y_px) == (320, 240, 280.0, 119.5)


def test_withheld_poses_are_unknown_and_intrinsics_list_the_frames(tmp_path: Path) -> None:
    scene = tmp_path / "s1"
    scene.mkdir()
    (scene / "intrinsics.txt").write_text("seq0/frame_00000.jpg 5 5 1 1 4 4\nseq1/frame_00003.jpg 5 5 1 1 4 4\n")
    assert read_scene(scene).queries() == ["seq1/frame_00003.jpg"]
    (scene / "poses.txt").write_text("# a comment\n\nseq1/frame_00003.jpg 0 0 0 0 0 0 0\n")
    assert read_scene(scene).world_from_cam == {"seq1/frame_00003.jpg": None}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("poses.txt", "a.jpg 1 0 0 0 1 2\n", r"poses.txt, line 1: expected a frame name and 7 finite numbers"),
        ("poses.txt", "# x\na.jpg 1 0 0 0 1 2 three\n", "poses.txt, line 2: expected a frame name and 7 numbers"),
        ("poses.txt", "a.jpg 1 0 0 0 1 2 nan\n", "poses.txt, line 1: .*finite"),
        ("poses.txt", "a.jpg 0.5 0 0 0 1 2 3\n", "poses.txt, line 1: expected a unit quaternion"),
        ("intrinsics.txt", "a.jpg -5 5 1 1 4 4\n", "intrinsics.txt, line 1: camera focal_x_px"),
        ("intrinsics.txt", "a.jpg 5 5 1 1 4\n", "intrinsics.txt, line 1: expected a frame name and 6"),
        ("intrinsics.txt", "# nothing\n", "intrinsics.txt: no frame is listed"),
        ("intrinsics.txt", "\xff\xfe", "intrinsics.txt: cannot be read"),
    ],
)
def test_damaged_lines_are_named(tmp_path: Path, file: str, text: str, message: str) -> None:
    (tmp_path / "intrinsics.txt").write_text("a.jpg 5 5 1 1 4 4\n")
    (tmp_path / file).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        read_scene(tmp_path)


def test_folders_that_are_no_sets_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: no such folder; name a Map-free set"):
        read_set(tmp_path / "none")
    with pytest.raises(InputError, match=r"no scene in it; a Map-free set holds folders such as"):
        read_set(tmp_path)


def test_a_frame_that_is_not_listed_is_named(small_set: Path) -> None:
    with pytest.raises(InputError, match=r"intrinsics.txt: no line for seq1/frame_00077.jpg"):
        read_set(small_set)[0].camera("seq1/frame_00077.jpg")


# --- submissions ---------------------------------------------------------------------------------------

POSE = Pose(Rotation.from_rotvec([0.3, -0.2, 0.1]), np.array([1.0, 2.0, -0.5]))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    submission = {"s00525": {"seq1/frame_00000.jpg": Estimate(POSE, 519.75)}, "s00526": {}}
    path = tmp_path / "submission.zip"
    write_submission(path, submission)
    first = path.read_bytes()
    write_submission(path, submission)
    assert path.read_bytes() == first
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["pose_s00525.txt"], "at the root, and no file for a scene without answers"
        line = archive.read("pose_s00525.txt").decode().split()
    assert line[0] == "seq1/frame_00000.jpg"
    numbers = np.array(line[1:], float)
    # World to camera: R(q) p + t with the camera at POSE.
    rotation = Rotation.from_quat(numbers[[1, 2, 3, 0]])
    np.testing.assert_allclose(rotation.apply(np.array(POSE.translation_m)) + numbers[4:7], 0.0, atol=1e-12)
    np.testing.assert_allclose(rotation.as_matrix(), POSE.rotation.as_matrix().T, atol=1e-12)
    read = read_submission(path)["s00525"]["seq1/frame_00000.jpg"]
    np.testing.assert_allclose(read.world_from_cam.matrix, POSE.matrix, atol=1e-12)
    assert read.confidence == 519.75


def test_lines_with_nan_are_no_answers_and_folders_are_read_too(tmp_path: Path) -> None:
    good = "seq1/frame_00005.jpg 1 0 0 0 1 2 3 100"
    (tmp_path / "pose_s1.txt").write_text(f"# comment\n{good}\nseq1/frame_00010.jpg nan nan nan nan 0 0 0 1\n")
    assert set(read_submission(tmp_path)["s1"]) == {"seq1/frame_00005.jpg"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg 1 0 0 0 1 2 3", "line 1: expected `frame qw qx qy qz tx ty tz confidence`"),
        ("a.jpg 1 0 0 0 1 2 3 x", "line 1: expected `frame"),
        ("a.jpg 1 0 0 0 1 2 3 -1", "line 1: confidence -1 is negative"),
        ("a.jpg 0 0 0 0 0 0 0 1", "line 1: not a pose"),
        ("a.jpg 1 0 0 0 1 2 3 inf", "line 1: not a pose"),
        ("a.jpg 2 0 0 0 1 2 3 1", "line 1: expected a unit quaternion"),
        ("a.jpg 1 0 0 0 1 2 3 1\na.jpg 1 0 0 0 1 2 3 1", "line 2: a.jpg is answered twice"),
    ],
)
def test_damaged_submissions_are_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "pose_s1.txt").write_text(line + "\n")
    with pytest.raises(InputError, match=rf"pose_s1.txt, {message}"):
        read_submission(tmp_path)


def test_files_that_are_no_submissions_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    for content in (b"", b"PK\x03\x04 half an archive"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x.zip: cannot be read as a submission"):
            read_submission(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no poses")
    with pytest.raises(InputError, match=r"holds no file pose_<scene>.txt"):
        read_submission(path)
    with pytest.raises(OutputError, match=r"cannot be written"):
        write_submission(path / "x.zip", {})
    with pytest.raises(ValueError, match="confidence must be finite"):
        Estimate(POSE, -0.5)


# --- the whole -----------------------------------------------------------------------------------------


class TrueDepth:
    """The depth of the reference, as it was rendered: exact, and it says so (a stated 1 % would move the poses by 3 cm,
    because errors of matches would be taken for errors of depth)."""

    fingerprint = "true"
    declaration = DepthDeclaration((), (0.1, 100.0), 0.001, 0.0, is_oracle=True)

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        return DepthMap("true", True, z_m=depth_m(REFERENCE_PLACE).astype(np.float32), log_sigma=0.001)


@pytest.mark.long
def test_an_estimator_over_a_set(small_set: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    estimator = LocalizedPairs(SiftMatcher(), TrueDepth())
    report = evaluate_mapfree(
        small_set, estimator, tmp_path / "out.zip", progress=lambda done, all_: told.append((done, all_))
    )
    assert told == [(1, 2), (2, 2)]
    assert (report["n_scenes"], report["n_queries"], report["n_answered"]) == (2, 4, 4)
    scores = report["scores"]
    assert scores["pose_precision"] == scores["pose_auc"] == 1.0
    assert scores["vcre_precision"] == 1.0
    assert scores["position_median_m"] < 0.01
    assert scores["rotation_median_deg"] < 0.1
    answers = read_submission(tmp_path / "out.zip")
    assert set(answers["s00001"]) == {"seq1/frame_00000.jpg", "seq1/frame_00005.jpg"}
    found = answers["s00001"]["seq1/frame_00005.jpg"].world_from_cam
    np.testing.assert_allclose(found.translation_m, pose_of(query_place(1, 5)).translation_m, atol=0.05)
    evaluate_mapfree(small_set, estimator, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "out.zip").read_bytes()


class Diverging:
    """Finds nothing, and says so in its own way."""

    fingerprint = "diverging"

    def solve(self, *_: object) -> Reason:
        return Reason.DIVERGED


@pytest.mark.long
def test_the_estimator_and_the_verification_that_are_asked_for_are_used(small_set: Path, tmp_path: Path) -> None:
    other = LocalizedPairs(SiftMatcher(), TrueDepth(), estimator=Diverging())
    report = evaluate_mapfree(small_set, other, tmp_path / "out.zip")
    assert report["reasons"] == {"diverged": 4}
    assert report["estimator"].startswith("diverging/")
    strict = LocalizedPairs(SiftMatcher(), TrueDepth(), verify=PairVerifyOptions("fundamental", min_inliers=10_000))
    assert evaluate_mapfree(small_set, strict, tmp_path / "out.zip")["reasons"] == {"too_few_matches": 4}
    assert "fundamental" in strict.fingerprint


class Silent:
    """Answers nothing."""

    fingerprint = "silent"

    def estimate(self, reference: Photo, query: Photo, seed: int) -> Estimate | Reason:
        return Reason.TOO_FEW_MATCHES


def test_reasons_are_counted_and_withheld_sets_get_no_scores(small_set: Path, tmp_path: Path) -> None:
    report = evaluate_mapfree(small_set, Silent(), tmp_path / "out.zip")
    assert report["reasons"] == {"too_few_matches": 4}
    assert report["scores"]["pose_precision"] == 0.0
    hidden = write_set(tmp_path / "test", n_scenes=1)
    poses = hidden / "s00000" / "poses.txt"
    poses.write_text("".join(f"{line.split()[0]} 0 0 0 0 0 0 0\n" for line in poses.read_text().splitlines()[1:]))
    assert evaluate_mapfree(hidden, Silent(), tmp_path / "out.zip")["scores"] is None


def test_missing_and_wrong_photos_are_named(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "val", n_scenes=1)
    photo = folder / "s00000" / "seq1" / "frame_00005.jpg"
    whole = photo.read_bytes()
    photo.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"frame_00005.jpg: truncated JPEG"):
        evaluate_mapfree(folder, Silent(), tmp_path / "out.zip")
    photo.unlink()
    with pytest.raises(InputError, match=r"frame_00005.jpg: no such file"):
        evaluate_mapfree(folder, Silent(), tmp_path / "out.zip")
    lines = (folder / "s00000" / "intrinsics.txt").read_text().replace("320 240", "640 480")
    (folder / "s00000" / "intrinsics.txt").write_text(lines)
    with pytest.raises(InputError, match=r"320×240 pixels, but intrinsics.txt says 640×480"):
        evaluate_mapfree(folder, Silent(), tmp_path / "out.zip")


def test_mickey_with_random_weights_runs_and_its_confidence_is_low(small_set: Path, tmp_path: Path) -> None:
    from support.mickey_world import seeded_engine

    from geocorrect.localize.estimators.metric_ransac import MetricRansacOptions
    from geocorrect.localize.estimators.options import MickeyPoseOptions
    from geocorrect.match.mickey import MickeyMatcher

    matcher = MickeyMatcher(seeded_engine(long_side_px=320))
    quick = MetricRansacOptions(draws=2, pairs_per_draw=256, hypotheses_per_draw=20)
    lenient = MickeyPoseOptions(ransac=quick, min_support=3, min_chance_ratio=0.0)
    report = evaluate_mapfree(small_set, MickeyPairs(matcher, lenient), tmp_path / "out.zip")
    assert report["n_answered"] + sum(report["reasons"].values()) == 4
    refused = evaluate_mapfree(small_set, MickeyPairs(matcher, MickeyPoseOptions(ransac=quick)), tmp_path / "b.zip")
    assert refused["n_answered"] == 0, "with the limits of the product random weights give no pose"


# --- training pairs ------------------------------------------------------------------------------------


def test_training_pairs_of_a_set(tmp_path: Path) -> None:
    from geocorrect.evaluate.mapfree.training_pairs import MapfreePairs, TrainingPairOptions

    folder = write_set(tmp_path / "train", n_scenes=2, training=True)
    options = TrainingPairOptions(size=(160, 120), pairs_per_scene=4)
    source = MapfreePairs(folder, options)
    first = source.epoch(0)
    assert len(first) == 8
    assert first == MapfreePairs(folder, options).epoch(0) != source.epoch(1)
    assert {pair.scene for pair in first} == {0, 1}
    assert all(pair.frame0.startswith("seq0/") and pair.frame1.startswith("seq1/") for pair in first)
    pair = source.load(first[0])
    assert pair.image0.shape == pair.image1.shape == (112, 154, 3)
    np.testing.assert_allclose(pair.intrinsics0[[0, 1, 0, 1], [0, 1, 2, 2]], [280.0, 280.0, 159.5, 119.5])
    np.testing.assert_allclose(pair.network_intrinsics0[[0, 1, 0, 1], [0, 1, 2, 2]], [140.0, 140.0, 79.5, 59.5])
    scene = source.scenes[first[0].scene]
    pose0, pose1 = scene.world_from_cam[first[0].frame0], scene.world_from_cam[first[0].frame1]
    assert pose0 is not None
    assert pose1 is not None
    np.testing.assert_allclose(pair.cam1_from_cam0[:3, 3], pose0.translation_m - pose1.translation_m, atol=1e-9)
    assert source.fingerprint != MapfreePairs(folder, TrainingPairOptions(size=(320, 240))).fingerprint


def test_training_pairs_by_overlap(tmp_path: Path) -> None:
    from geocorrect.evaluate.mapfree.training_pairs import MapfreePairs, TrainingPairOptions

    folder = write_set(tmp_path / "train", n_scenes=1, training=True)
    drawn = MapfreePairs(folder, TrainingPairOptions(pairs_per_scene=30, overlap=(0.4, 0.8))).epoch(0)
    assert {(pair.frame0, pair.frame1) for pair in drawn} == {
        ("seq0/frame_00001.jpg", "seq1/frame_00003.jpg"),
        ("seq0/frame_00002.jpg", "seq1/frame_00005.jpg"),
    }
    poses = folder / "s00000" / "poses.txt"
    published = poses.read_text()
    withheld = [
        "seq1/frame_00003.jpg 0 0 0 0 0 0 0" if line.startswith("seq1/frame_00003") else line
        for line in published.splitlines()
    ]
    poses.write_text("\n".join(withheld))
    drawn = MapfreePairs(folder, TrainingPairOptions(pairs_per_scene=30, overlap=(0.4, 0.8))).epoch(0)
    assert {pair.frame1 for pair in drawn} == {"seq1/frame_00005.jpg"}, "a pair without a true pose teaches nothing"
    poses.write_text(published)
    with pytest.raises(InputError, match=r"no posed pair overlaps by \(0.95, 1.0\)"):
        MapfreePairs(folder, TrainingPairOptions(overlap=(0.95, 1.0)))
    overlaps = folder / "s00000" / "overlaps.npz"
    np.savez(overlaps, idxs=np.array([{"hostile": 1}], dtype=object), overlaps=np.zeros(1))
    with pytest.raises(InputError, match=r"overlaps.npz: cannot be read"):
        MapfreePairs(folder, TrainingPairOptions(overlap=(0.4, 0.8)))
    np.savez(overlaps, idxs=np.zeros((3, 2)), overlaps=np.zeros(3))
    with pytest.raises(InputError, match=r"overlaps.npz: expected idxs \(N, 4\)"):
        MapfreePairs(folder, TrainingPairOptions(overlap=(0.4, 0.8)))
    with pytest.raises(InputError, match=r"needs posed frames of both recordings"):
        MapfreePairs(write_set(tmp_path / "empty", n_scenes=1, n_queries=0))
