"""Fixtures that every room uses: where the real data lies, and no network but this machine."""

from __future__ import annotations

import gc
import socket
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from support.catalog_fixtures import (  # noqa: F401
    catalog,
    catalog_url,
    empty_geopackage,
    empty_postgis,
    postgis_catalogs,
    postgis_url,
)
from support.parity_fixture import mickey_official  # noqa: F401
from support.postgis_fixture import bare_postgis_url, postgis_cluster, postgis_server_url  # noqa: F401
from support.real_weights import real_weights  # noqa: F401
from support.site_fixture import site  # noqa: F401
from support.vbr_world import vbr  # noqa: F401
from support.warm_program import warm  # noqa: F401

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def _own_addresses() -> set[str]:
    """Loopback, and what others call this machine: the nodes of a Ray cluster speak to each other by that."""
    found = {"127.0.0.1", "::1", "localhost"}
    with suppress(OSError):
        found.update(str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None))
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.1", 9))  # a datagram socket sends nothing here, it only chooses a way out
        found.add(str(probe.getsockname()[0]))
    return found


OWN_ADDRESSES = _own_addresses()


hypothesis.settings.register_profile("tests", deadline=None)  # seconds depend on what else the machine does
hypothesis.settings.load_profile("tests")

LONG_FILES = {
    "test_accuracy_page.py", "test_chaos.py", "test_deploy.py", "test_disturbed_run.py", "test_kitti_protocol.py",
    "test_main_job.py", "test_networks_end_to_end.py", "test_observed_run.py", "test_ray.py", "test_ray_cluster.py",
    "test_ray_node.py", "test_stopped_run.py", "test_tutorial.py",
}  # fmt: skip
"""Ten seconds to a minute each: begun last, one would keep the other of two test processes waiting."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays: to look for garbage all the while takes a tenth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; `make test` gives whole files to its processes in this order (--no-loadscope-reorder)."""
    items.sort(key=lambda item: item.path.name not in LONG_FILES)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, read in place; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not found at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests talk to this machine only."""
    real_connect = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else address
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in OWN_ADDRESSES:
            raise RuntimeError(f"a test tried to reach {address}")
        real_connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
