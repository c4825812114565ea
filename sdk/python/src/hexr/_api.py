"""The requests of the HTTP API and what their answers mean (docs/api.md), without any I/O."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from ._secret import Secret
from .errors import (
    AccessDeniedError,
    BatchDeniedError,
    BatchError,
    BatchNotFoundError,
    HexrError,
    IdentityError,
    InvalidRequestError,
    NotFoundError,
    RotatingError,
    ThrottledError,
    UnavailableError,
    VersionConflictError,
)

T = TypeVar("T")

Duration = str | float | timedelta  # seconds, or as "90d", "1h30m"

BATCH = 100  # paths in one batch
NOT_A_NODE = "NOT_A_NODE"  # our own reason: the server is none of ours
NOT_REACHED = "NOT_REACHED"  # our own: nothing was sent
UNKNOWN = "OUTCOME_UNKNOWN"

_CERTAIN = (NOT_REACHED, "NO_LEADER", "OVERLOADED", "STOPPING", "STALE")  # unavailable, and nothing was applied
_LASTING = ("DENIED", "WRONG_CLASS", "QUOTA", "TOO_MANY_KEYS")  # decided, or the same for each try
_PATH = re.compile(r"[A-Za-z0-9._/-]{1,512}")


@dataclass(frozen=True)
class Request(Generic[T]):
    """One call. The body may hold a value, and is in no repr."""

    method: str
    target: str = field(repr=False)
    parse: Callable[[Any], T] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    request_id: str = ""
    path: str = field(default="", repr=False)

    def answer(self, status: int, body: bytes) -> T | HexrError:
        """The result or the error of an answer. Errors are returned: the frames of what
        is raised here would hold values."""
        try:
            data = json.loads(body)
            if 200 <= status < 300 or (status == 503 and self.target == "/health"):
                return self.parse(data)
            return error(data["error"], self.path)
        except HexrError as err:
            return err.with_traceback(None)
        except (ValueError, LookupError, TypeError, AttributeError):
            if status >= 500:
                return UnavailableError("the node or something before it failed", path=self.path)
            return HexrError("the answer is not one that this SDK knows: do SDK and server fit together?", path=self.path)


_KINDS: dict[str, type[HexrError]] = {
    "INVALID_ARGUMENT": InvalidRequestError,
    "UNAUTHENTICATED": IdentityError,
    "PERMISSION_DENIED": AccessDeniedError,
    "NOT_FOUND": NotFoundError,
    "FAILED_PRECONDITION": VersionConflictError,
    "RESOURCE_EXHAUSTED": ThrottledError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": UnavailableError,
    "CANCELED": UnavailableError,
}
_TEXT = re.compile(r"[\x20-\x7e]{1,300}")
_WORD = re.compile(r"[A-Z_]{0,40}")
_HEX = re.compile(r"[0-9a-f]{0,32}")


def error(data: Mapping[str, str], path: str) -> HexrError:
    """Takes the four fields that an error has, and nothing else of an answer."""
    code, reason, request_id, message = (data[k] for k in ("code", "reason", "request_id", "message"))
    for pattern, text in ((_WORD, code), (_WORD, reason), (_HEX, request_id), (_TEXT, message)):
        if not pattern.fullmatch(text):
            raise ValueError
    kind = RotatingError if reason in ("ROTATION_UNDER_WAY", "ROTATION_LOST") else _KINDS.get(code, HexrError)
    text = f"{message} ({reason}, request {request_id})" if request_id else f"{message} ({reason})"
    return kind(text, code=code, reason=reason, request_id=request_id, path=path)


def transient(err: HexrError) -> bool:
    """Whether another try, at another node or later, may go better and does no harm."""
    if isinstance(err, ThrottledError):
        return err.reason in ("RATE_LIMITED", "TOO_MANY_IN_FLIGHT")
    return isinstance(err, UnavailableError) or err.reason in ("SVID_EXPIRED", NOT_A_NODE)


def leaves_open(err: HexrError) -> bool:
    """Whether what a try that ended so asked for may be applied, or may be yet."""
    return isinstance(err, UnavailableError) and not isinstance(err, ThrottledError) and err.reason not in _CERTAIN


def unless_decided(err: HexrError) -> HexrError:
    """How a call ends whose tries before left it open. A refusal that was not decided, in the
    log, and would not be the same for each try, says that the last one was not applied, and
    nothing of those."""
    refused = isinstance(err, (UnavailableError, AccessDeniedError, IdentityError)) and not leaves_open(err)
    if not refused or err.reason in _LASTING:
        return err
    text = f"a try before may or may not have been applied; the last one was not: {err}"
    return UnavailableError(text, code="UNAVAILABLE", reason=UNKNOWN, request_id=err.request_id, path=err.path)


def check_path(path: str) -> str:
    if not _PATH.fullmatch(path) or any(part in ("", ".", "..") for part in path.split("/")):
        raise InvalidRequestError(
            "a path is 1 to 512 of A-Z a-z 0-9 . _ - and /, without empty, . or .. segments", path=path
        )
    return path


def target(path: str, verb: str = "", **query: object) -> str:
    given = {name: value for name, value in query.items() if value not in ("", None)}
    return f"/v1/secrets/{check_path(path)}{verb}" + (f"?{urlencode(given)}" if given else "")


def new_id() -> str:
    """Made once for a mutation and kept over its retries: it is applied once."""
    return uuid.uuid4().hex


def encode(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            pass
    elif isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise InvalidRequestError("a value is bytes, or a str that UTF-8 can hold; for others there is put_json")


def duration(given: Duration) -> str:
    """As the API reads it."""
    if isinstance(given, str):
        return given
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    return f"{round(seconds * 1000)}ms"


# What can be asked for.


def get(path: str, scope: str | None, version: int | None) -> Request[Secret]:
    return Request("GET", target(path, scope=scope, version=version), _secret, path=path)


def put(
    path: str,
    value: str | bytes,
    scope: str | None,
    metadata: Mapping[str, str] | None,
    expected_version: int | None,
    rotation: Duration | None = None,
) -> Request[int] | HexrError:
    """An error is returned, for who drops the value before raising it."""
    try:
        body: dict[str, object] = {"data": base64.b64encode(encode(value)).decode()}
        if scope:
            body["scope"] = scope
        if metadata:
            body["metadata"] = dict(metadata)
        if expected_version is not None:
            body["expected_version"] = expected_version
        if rotation is not None:
            body["rotation"] = duration(rotation)
        return Request("PUT", target(path), _version, json.dumps(body).encode(), new_id(), path)
    except HexrError as err:
        return err.with_traceback(None)
    except (TypeError, ValueError, AttributeError):
        return InvalidRequestError("metadata is a dict of strings, expected_version a number, rotation a time", path=path)


def put_json(
    path: str,
    value: object,
    scope: str | None,
    metadata: Mapping[str, str] | None,
    expected_version: int | None,
    rotation: Duration | None = None,
) -> Request[int] | HexrError:
    """As put."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return InvalidRequestError("the value can't be written as JSON", path=path)
    return put(path, text, scope, metadata, expected_version, rotation)


def from_json(secret: Secret) -> Any | HexrError:
    """The value as JSON; the decoder's own error would hold it."""
    try:
        return json.loads(secret.reveal_bytes())
    except (ValueError, RecursionError):
        return InvalidRequestError("the value is not JSON", path=secret.path)


def delete(path: str, scope: str | None) -> Request[None]:
    return Request("DELETE", target(path, scope=scope), _nothing, request_id=new_id(), path=path)


def undelete(path: str, scope: str | None) -> Request[int]:
    return Request("POST", target(path, ":undelete", scope=scope), _version, request_id=new_id(), path=path)


def describe(path: str, scope: str | None) -> Request[bool]:
    """Whether a get would be answered: metadata alone."""
    return Request("GET", target(path, ":describe", scope=scope), lambda data: not data.get("deleted_at"), path=path)


def versions(path: str, scope: str | None) -> Request[list[Version]]:
    return Request("GET", target(path, ":versions", scope=scope), _versions, path=path)


def page(prefix: str, scope: str | None, token: str, overdue: bool = False) -> Request[tuple[list[str], str]]:
    parts = {"prefix": prefix, "scope": scope, "page_token": token, "overdue": "true" if overdue else ""}
    query = {name: value for name, value in parts.items() if value}
    where = "/v1/secrets" + (f"?{urlencode(query)}" if query else "")
    return Request("GET", where, lambda data: (list(data["paths"]), str(data["next_page_token"])))


def batch(paths: Sequence[str], scope: str | None) -> Request[dict[str, Secret | HexrError]]:
    body: dict[str, object] = {"paths": [check_path(path) for path in paths]}
    if scope:
        body["scope"] = scope
    return Request("POST", "/v1/secrets:batchGet", _results, json.dumps(body).encode())


def health() -> Request[dict[str, str]]:
    return Request("GET", "/health", lambda data: {str(k): str(v) for k, v in data.items()})


# What comes back.


@dataclass(frozen=True)
class Version:
    """A version of a secret that is kept: never its value."""

    version: int
    created_at: datetime | None
    size: int
    deleted: bool
    destroyed: bool
    current: bool = False  # what a get without a version reads
    pending: bool = False  # of a rotation that is under way
    expires_at: datetime | None = None  # the end of a rotation's grace: destroyed then


def _secret(data: Mapping[str, Any]) -> Secret:
    value = data["value"] if "value" in data else base64.b64decode(data["data"])
    return Secret(
        data["path"],
        value,
        version=int(data["version"]),
        scope=data["scope"],
        metadata=data["metadata"],
        created_at=time(data.get("created_at")),
    )


_FRACTION = re.compile(r"\.(\d+)")


def time(text: str | None) -> datetime | None:
    """RFC 3339 with up to nine digits of a second; Python 3.10 reads exactly six."""
    if not text:
        return None
    text = _FRACTION.sub(lambda digits: "." + digits[1][:6].ljust(6, "0"), text)
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _version(data: Mapping[str, Any]) -> int:
    return int(data["version"])


def _nothing(data: Mapping[str, Any]) -> None:
    data["path"]


def _versions(data: Mapping[str, Any]) -> list[Version]:
    return [
        Version(
            int(v["version"]),
            time(v.get("created_at")),
            int(v["size"]),
            v["deleted"],
            v["destroyed"],
            bool(v.get("current")),
            bool(v.get("pending")),
            time(v.get("expires_at")),
        )
        for v in data["versions"]
    ]


def _results(data: Mapping[str, Any]) -> dict[str, Secret | HexrError]:
    results: dict[str, Secret | HexrError] = {}
    for one in data["results"]:
        path = one["path"]
        result = _secret(one["secret"]) if "secret" in one else error(one["error"], path)
        if isinstance(result, HexrError) and transient(result):
            raise result  # the batch is tried again as a whole
        results[path] = result
    return results


def batches(paths: Sequence[str]) -> list[list[str]]:
    """The distinct paths, in parts that the API takes."""
    distinct = list(dict.fromkeys(paths))
    return [distinct[i : i + BATCH] for i in range(0, len(distinct), BATCH)]


def is_missing(result: Secret | HexrError) -> bool:
    return isinstance(result, NotFoundError)


def all_or_error(results: Mapping[str, Secret | HexrError]) -> dict[str, Secret] | BatchError:
    """Every secret, or one error that names all that are missing or denied."""
    errors = {path: r for path, r in results.items() if isinstance(r, HexrError)}
    if not errors:
        return {path: r for path, r in results.items() if isinstance(r, Secret)}
    missing = [path for path, err in errors.items() if isinstance(err, NotFoundError)]
    denied = [path for path, err in errors.items() if isinstance(err, AccessDeniedError)]
    failed = [path for path in errors if path not in missing and path not in denied]
    kind = BatchDeniedError if denied else BatchError if failed else BatchNotFoundError
    first = next(iter(errors.values()))
    said = [
        f"{word}: {', '.join(sorted(names))}"
        for word, names in (("not found", missing), ("access denied", denied), ("failed", failed))
        if names
    ]
    return kind(
        "secrets can't be had; " + "; ".join(said),
        code=first.code,
        reason=first.reason,
        request_id=first.request_id,
        missing=sorted(missing),
        denied=sorted(denied),
        failed=sorted(failed),
    )
