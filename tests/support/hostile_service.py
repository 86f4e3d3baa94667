"""A service that is hostile now and then: every attack, odd answers in every role, and records that are always odd."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from geocorrect.demo.mapillary_server.hostile import ATTACKS, ODD_BODIES, hostile_records
from geocorrect.demo.mapillary_server.server import FakeMapillaryServer, FakeReply, FakeRequest

EVERY = {"graph": 5, "tiles": 3, "cdn": 25}
"""Requests of a role from one bad answer to the next: the next try gets the true one."""


def answer_with_odd_records(
    service: FakeMapillaryServer, request: FakeRequest, odd: Mapping[str, bytes]
) -> FakeReply | None:
    """The answer about images with these records, by image id, in it as they are; None to other requests."""
    if request.role != "graph" or not request.query.get("fields", "").startswith("id,sequence,captured_at"):
        return None
    if request.path in odd:
        return FakeReply(200, odd[request.path])
    asked = request.query.get("image_ids", "").split(",")
    if not asked[0]:
        return None
    fields = request.query["fields"].split(",")
    entries = [
        odd.get(i) or json.dumps(service._with_urls(service.data.entity(i, fields), fields)).encode() for i in asked
    ]
    return FakeReply(200, b'{"data": [' + b",".join(entries) + b"]}")


class HostileService:
    """The fault of a fake server (`fault=`); `served` counts what was sent, by role and name."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self.served: Counter[tuple[str, str]] = Counter()
        self.service: FakeMapillaryServer | None = None
        every_tenth = records[:: max(1, len(records) // len(hostile_records({})))]
        self._odd = {record["id"]: record for record in every_tenth}
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: FakeRequest) -> FakeReply | None:
        """What is sent instead of the true answer."""
        with self._lock:
            number = self._seen[request.role]
            self._seen[request.role] += 1
            if number % EVERY[request.role] == 1:
                name = self._rarest(request.role)
                self.served[request.role, name] += 1
                body = ODD_BODIES[request.role].get(name)
                return FakeReply(attack=ATTACKS[name]) if body is None else FakeReply(200, body)
        assert self.service is not None
        return answer_with_odd_records(self.service, request, self._odd_now())

    def missing(self) -> list[str]:
        """What has not been sent yet in any role."""
        sent = {name for _, name in self.served}
        every = [*ATTACKS, *(name for bodies in ODD_BODIES.values() for name in bodies)]
        return [name for name in every if name not in sent]

    def _rarest(self, role: str) -> str:
        """Of what a role can send that which was sent least, anywhere: a short campaign meets every kind, too."""
        count: Counter[str] = Counter()
        for (_, name), times in self.served.items():
            count[name] += times
        return min((*ATTACKS, *ODD_BODIES[role]), key=lambda name: count[name])

    def _odd_now(self) -> dict[str, bytes]:
        """Each odd record on another image, with an address of its picture that works now."""
        assert self.service is not None
        found = {}
        for number, (image_id, record) in enumerate(self._odd.items()):
            whole = self.service._with_urls(dict(record), ["thumb_original_url"])
            found[image_id] = [*hostile_records(whole).values()][number % len(hostile_records(whole))]
        return found
