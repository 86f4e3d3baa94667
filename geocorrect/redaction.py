"""Secrets in texts: the one parser of PostgreSQL addresses, and what is printed in place of passwords and tokens."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode

MASK = "***"
SECRET_PARAMETERS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)
"""Parameters of a connection (libpq's names) that are nobody else's business."""

_SCHEME = re.compile(r"postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
_PAIRS = re.compile(r"\s*(?:\w+\s*=\s*(?:'(?:\\.|[^'\\])*'|(?:\\.|[^\s'\\])*)(?:\s+|$))+")
_PAIR = re.compile(r"(\w+)\s*=\s*('(?:\\.|[^'\\])*'|(?:\\.|[^\s'\\])*)")
_CONNECTION_STRING = re.compile(r"(?:^|\s)(?:host|hostaddr|port|dbname|user|password|service)\s*=", re.IGNORECASE)
_QUERY = re.compile(r"\?(?=[\w%]+=|$)")
_OPEN_LOGIN = re.compile(r"[^/@\[]*:(?!\d+(?:[/,]|$)|/)")
"""A user and the beginning of a password, not a host with its port."""
_ADDRESS_IN_TEXT = re.compile(rf"{_SCHEME.pattern}[^\s\"'<>]+", re.IGNORECASE)
_SECRETS = re.compile(
    r"(MLY\|[0-9]+\|[0-9a-fA-F]+"  # Mapillary tokens
    r"|MLY%7C[0-9]+%7C[0-9a-fA-F]+"
    r"|hf_[A-Za-z0-9]{20,}"  # Hugging Face tokens
    r"|(?<=access_token=)[^&\s\"']+"
    r"|(?<=OAuth )\S+"
    r"|(?<=://)[^/@\s:]+:(?!\*\*\*@)[^/@\s]+(?=@))"  # user:password of other URLs
)
_NAMED_SECRET = re.compile(
    r"(\w*password\s*=\s*|[\"']\w*password[\"']\s*:\s*)('(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^\s&'\"]+)",
    re.IGNORECASE,
)


def is_server_address(text: str) -> bool:
    """Whether a catalog's address is that of a PostgreSQL server: a URL, or libpq's `host=… dbname=…`."""
    return bool(_SCHEME.match(text)) or ("://" not in text and bool(_CONNECTION_STRING.search(text)))


@dataclass(frozen=True)
class ServerAddress:
    """A PostgreSQL address, taken apart; all values are decoded."""

    user: str
    password: str | None = field(repr=False)
    location: str
    """host:port/database as written."""
    parameters: tuple[tuple[str, str], ...] = field(repr=False)
    """Everything else, by libpq's names; hosts may be named more than once."""

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """From a URL, whose password may hold @, / and ? unencoded, or from `key=value` pairs; ValueError for neither.

        The error does not repeat the text, which may be a password with a blank in it.
        """
        scheme = _SCHEME.match(text)
        if scheme:
            rest = text[scheme.end() :]
            head, *query = _QUERY.split(rest, maxsplit=1)
            # A host has no @, so the last one ends the password; in a query there may be one only encoded.
            login, _, location = head.rpartition("@")
            if query and "@" in query[0] and not login and _OPEN_LOGIN.match(head):
                login, _, tail = rest.rpartition("@")
                location, *query = _QUERY.split(tail, maxsplit=1)
            user, has_password, password = login.partition(":")
            parameters = tuple(parse_qsl(query[0], keep_blank_values=True)) if query else ()
            return cls(unquote(user), unquote(password) if has_password else None, location, parameters)
        if not _PAIRS.fullmatch(text):
            raise ValueError("`key=value` pairs are expected; put '…' around a value with blanks")
        pairs = {key: _unquoted(value) for key, value in _PAIR.findall(text)}
        database = pairs.pop("dbname", "")
        user, password = pairs.pop("user", ""), pairs.pop("password", None)
        return cls(user, password, f"/{database}", tuple(pairs.items()))

    def url(self) -> str:
        """As a URL with everything encoded."""
        return self._rendered(self.password, self.parameters)

    def masked(self) -> str:
        """As a URL with *** for every secret: for messages, logs and records."""
        shown = [(key, MASK if key.lower() in SECRET_PARAMETERS else value) for key, value in self.parameters]
        return self._rendered(None if self.password is None else MASK, shown)

    def without_secrets(self) -> str:
        """As a URL that leaves the secrets out: for files, which find them in PGPASSWORD or ~/.pgpass."""
        kept = [(key, value) for key, value in self.parameters if key.lower() not in SECRET_PARAMETERS]
        return self._rendered(None, kept)

    def _rendered(self, password: str | None, parameters: Sequence[tuple[str, str]]) -> str:
        login = quote(self.user, safe="") + ("" if password is None else f":{quote(password, safe='*')}")
        query = urlencode(parameters, safe="*/", quote_via=quote)
        return f"postgresql://{login}{'@' if login else ''}{self.location}{'?' if query else ''}{query}"


def masked(address: str) -> str:
    """A catalog's address without its secrets; other texts are redacted."""
    if not is_server_address(address):
        return redact(address)
    try:
        return ServerAddress.parse(address).masked()
    except ValueError:
        return "a connection string"


def without_secrets(address: str) -> str:
    """A catalog's address that may be written into a file; what is no address of a server is left as it is."""
    return ServerAddress.parse(address).without_secrets() if is_server_address(address) else address


def redact(text: str) -> str:
    """Replace tokens and passwords in any text by ***."""
    clean = _ADDRESS_IN_TEXT.sub(lambda found: ServerAddress.parse(found[0]).masked(), text)
    clean = _NAMED_SECRET.sub(rf"\1{MASK}", _SECRETS.sub(MASK, clean))
    token = os.environ.get("MAPILLARY_TOKEN", "")
    for form in (token, quote(token), quote(token, safe="")) if len(token) >= 8 else ():
        clean = clean.replace(form, MASK)
    return clean


def _unquoted(value: str) -> str:
    inner = value[1:-1] if value.startswith("'") else value
    return re.sub(r"\\(.)", r"\1", inner)
