"""One question to the imagery service, before a long run asks thousands: token and clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from geocorrect.harvest.mapillary.client import MapillaryClient
from geocorrect.harvest.options import HarvestOptions


@dataclass(frozen=True)
class ServiceAnswer:
    """date: the service's clock by its Date header (whole seconds, UTC); None when it does not say."""

    date: datetime | None


def ask_service(options: HarvestOptions) -> ServiceAnswer:
    """One cheap request, tried twice. ConfigError without a token; RemoteError when it is refused or nobody answers."""
    with MapillaryClient(replace(options, max_tries=2, backoff_cap_s=2.0)) as client:
        client.check_token()
        return ServiceAnswer(_parsed(client.service_date))


def _parsed(header: str | None) -> datetime | None:
    try:
        return None if header is None else parsedate_to_datetime(header).astimezone(UTC)
    except ValueError:
        return None
