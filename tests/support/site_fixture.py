"""The `site` fixture: a running fake server with a town to harvest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from geocorrect.demo.mapillary_server.server import FakeMapillaryServer
from support.harvest_support import Script, Site, SiteFactory, jpeg, town


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SiteFactory]:
    """site(images, rule=…, files=…): a running service with a town."""
    with ExitStack() as stack:

        def start(images: list[dict[str, Any]] | None = None, rule: Any = None, **service: Any) -> Site:
            images = town() if images is None else images
            script = Script(rule)
            files = service.pop("files", None)
            if files is None:
                plain = jpeg(640, 480)
                files = {str(image["id"]): plain for image in images}
            running = stack.enter_context(FakeMapillaryServer(images, files, fault=script, **service))
            return Site(running, script, tmp_path / "images")

        yield start
