"""What the images and CI are made of: workflows, hashes, bill of materials."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from geocorrect import __version__

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CONSTRAINTS = {"constraints.txt": [], "constraints-gpu.txt": ["models", "ray"]}
"""Files of the images, and the extras that they install."""
MAY = {
    "ci.yml": {"bench": {"contents": "read", "actions": "read", "pull-requests": "write"}},
    "release.yml": {"publish": {"id-token": "write"}},
}
"""Jobs that may more than read the repository: a comment on a pull request; to say who it is to the package index."""


def tool(name: str) -> str:
    """A program beside this Python, or in the PATH."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; pip install -e '.[dev]'")
    return found


def test_the_workflows_pass_zizmor() -> None:
    judged = subprocess.run([tool("zizmor"), "--offline", *WORKFLOWS], capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


@pytest.mark.long
def test_the_workflows_are_workflows() -> None:
    """By the schema; `actionlint`, which needs a binary from elsewhere, judges them in CI."""
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *WORKFLOWS]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_little_and_their_actions_are_pinned(path: Path) -> None:
    text = path.read_text()
    content = yaml.safe_load(text)
    assert content["permissions"] == {"contents": "read"}
    assert {name: job["permissions"] for name, job in content["jobs"].items() if "permissions" in job} == MAY[path.name]
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    assert [line for line in uses if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line)] == []


def test_what_others_wrote_has_their_licence() -> None:
    """In the wheel and for `reuse lint`, which without an entry of its own takes a file for ours."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license-files"]
    annotations = tomllib.loads((ROOT / "REUSE.toml").read_text())["annotations"]
    theirs = [path for entry in annotations if entry["path"] != "**" for path in entry["path"]]
    foreign = [path.relative_to(ROOT).as_posix() for path in (ROOT / "geocorrect").rglob("*.LICENSE.txt")]
    assert len(foreign) == 2
    for licence in foreign:
        assert licence in named
        assert any(fnmatch(licence, path) for path in theirs), licence


def test_the_images_are_audited() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert re.search(r"pip-audit .*constraints\.txt", text)
    assert "constraints-gpu.txt" in text


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_every_package_of_an_image_has_its_version_and_hashes(name: str) -> None:
    text = (ROOT / "docker" / name).read_text()
    blocks = re.split(r"\n(?=[a-zA-Z0-9])", text.partition("\n")[2].partition("\n")[2])
    pinned = {}
    for block in blocks:
        package, version = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.+!]+)", block).groups()  # type: ignore[union-attr]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), package
        pinned.setdefault(package.lower(), []).append(version)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["build-system"]["requires"]
    for extra in CONSTRAINTS[name]:
        wanted += project["project"]["optional-dependencies"][extra]
    for requirement in map(Requirement, wanted):
        versions = pinned[requirement.name.lower().replace("_", "-")]
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_the_images_install_by_hash() -> None:
    for dockerfile, name in (("Dockerfile", "constraints.txt"), ("Dockerfile.gpu", "constraints-gpu.txt")):
        installs = re.findall(r"pip install (.*)", (ROOT / "docker" / dockerfile).read_text())
        assert len(installs) == 2
        assert installs[0].endswith(f"--require-hashes -r {name}")
        assert "--no-deps --no-build-isolation" in installs[1]


@pytest.mark.long
def test_the_bill_of_materials_is_sound(tmp_path: Path) -> None:
    """As `make sbom` writes it and judges it by the schema, of an environment with a few packages of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    libraries = next((tmp_path / "venv" / "lib").glob("python*")) / "site-packages"
    names = {"numpy", "httpx", "sqlalchemy"}
    for name in names:
        record = distribution(name)._path  # type: ignore[attr-defined]
        (libraries / record.name).symlink_to(record)
    line = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "cyclonedx-py environment" in line)
    options = shlex.split(line.removesuffix("\\"))[1:]
    assert "--validate" in options
    file = tmp_path / "sbom.json"
    command = [tool("cyclonedx-py"), *options, "--output-file", file, tmp_path / "venv" / "bin" / "python"]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    content = json.loads(file.read_text())
    assert content["bomFormat"] == "CycloneDX"
    assert content["metadata"]["component"]["name"] == "geocorrect"
    parts = {part["name"].lower(): part for part in content["components"]}
    assert parts.keys() == names
    assert all(part["licenses"] and part["version"] == distribution(name).version for name, part in parts.items())


def test_what_is_pushed_to_a_registry_is_what_the_cluster_runs() -> None:
    """The page's commands, as far as no docker is needed: names follow the OCI's grammar, and the manifest takes it."""
    page = (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")
    built = re.search(r"^docker build -f (\S+) -t (\S+/\S+) \.$", page, re.MULTILINE)
    rewritten = re.search(r"^sed -i ('.*') (\S+)$", page, re.MULTILINE)
    assert built is not None
    assert rewritten is not None
    dockerfile, name = built.groups()
    assert (ROOT / dockerfile).is_file()
    assert re.fullmatch(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9]+([._-][a-z0-9]+)*)+:\w[\w.-]{0,127}", name)
    assert name.endswith(f":{__version__}")
    assert f"\ndocker push {name} " in page
    command = ["sed", *shlex.split(rewritten[1]), str(ROOT / rewritten[2])]
    manifest = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"image: (\S+)", manifest)) == {name}
