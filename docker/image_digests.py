"""Pin the base images: `make image-digests`, or `python docker/image_digests.py [--registry URL] FILE…`.

Every image of a `FROM` or `image:` line that names a tag is written with the digest that its registry serves for that
tag now. Dependabot proposes newer digests afterwards. API: https://distribution.github.io/distribution/spec/api/.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from pathlib import Path

import httpx

DOCKER_HUB = "https://registry-1.docker.io"
IMAGE = re.compile(r"^(?P<before>(?:FROM| +image:) +)(?P<name>[a-z0-9][\w./-]*):(?P<tag>[\w.-]+)(?:@sha256:\w+)?", re.M)
"""Own images and stages have no tag."""
MANIFESTS = ", ".join((
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
))  # fmt: skip
"""An index comes first: one digest for every architecture."""


class DigestError(Exception):
    """What the registry did not say, and of which image."""


def digest_of(client: httpx.Client, registry: str, name: str, tag: str) -> str:
    """The digest of the manifest that a tag names, computed from its bytes; DigestError where they cannot be had."""
    repository = name if "/" in name else f"library/{name}"
    url, headers = f"{registry}/v2/{repository}/manifests/{tag}", {"Accept": MANIFESTS}
    try:
        answer = client.get(url, headers=headers)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            headers["Authorization"] = f"Bearer {_token(client, answer.headers.get('WWW-Authenticate', ''))}"
            answer = client.get(url, headers=headers)
        answer.raise_for_status()
    except (httpx.HTTPError, ValueError) as error:
        raise DigestError(f"{name}:{tag}: {error}; nothing was written") from None
    digest = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
    claimed = answer.headers.get("Docker-Content-Digest", digest)
    if claimed != digest:
        raise DigestError(f"{name}:{tag}: the registry says {claimed}, its bytes are {digest}; nothing was written")
    return digest


def pinned(text: str, digests: dict[tuple[str, str], str]) -> str:
    """A file with the digest behind every tag."""
    return IMAGE.sub(lambda m: f"{m['before']}{m['name']}:{m['tag']}@{digests[m['name'], m['tag']]}", text)


def main(arguments: list[str]) -> int:
    """Read all files, ask for all digests, then write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--registry", default=DOCKER_HUB)
    given = parser.parse_args(arguments)
    texts = {path: path.read_text(encoding="utf-8") for path in given.files}
    images = sorted({(m["name"], m["tag"]) for text in texts.values() for m in IMAGE.finditer(text)})
    try:
        with httpx.Client(timeout=30.0) as client:
            digests = {image: digest_of(client, given.registry, *image) for image in images}
    except DigestError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for path, text in texts.items():
        path.write_text(pinned(text, digests), encoding="utf-8")
    for (name, tag), digest in digests.items():
        sys.stdout.write(f"{name}:{tag}@{digest}\n")
    return 0


def _token(client: httpx.Client, challenge: str) -> str:
    """An anonymous token, from where the registry says that there are some."""
    values = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if "realm" not in values:
        raise ValueError(f"the registry asks for a login ({challenge[:100]!r})")
    answer = client.get(values.pop("realm"), params=values)
    answer.raise_for_status()
    token = answer.json().get("token")
    if not isinstance(token, str):
        raise ValueError("the registry gave no token")
    return token


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
