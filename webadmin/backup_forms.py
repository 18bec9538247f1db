"""The form of a backup target: what was typed becomes a target, or a sentence at each wrong field."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flask_babel import gettext
from pydantic import TypeAdapter, ValidationError

from appliance.keeping import SftpTarget, Target, TargetKind

_TARGET: TypeAdapter[Target] = TypeAdapter(Target)
_FIELDS = {
    TargetKind.SMB: ("host", "share", "folder", "username", "domain"),
    TargetKind.NFS: ("host", "export", "folder"),
    TargetKind.SFTP: ("host", "port", "username", "folder"),
    TargetKind.S3: ("bucket", "folder", "region", "access_key_id", "ca_pem"),
}


@dataclass(frozen=True)
class TargetForm:
    """`target` is None when `errors` (field → sentence) says why. `typed` never holds a secret."""

    kind: TargetKind
    typed: dict[str, str]
    target: Target | None = None
    errors: dict[str, str] = field(default_factory=dict)


def read_kind(value: str | None) -> TargetKind | None:
    """The kind that a form or an address names."""
    return TargetKind(value) if value in set(TargetKind) else None


def form_of(target: Target) -> TargetForm:
    """The form filled with what is chosen."""
    typed = {name: str(value) for name, value in target.model_dump().items()}
    if target.kind is TargetKind.S3:
        scheme = "https" if target.tls else "http"
        typed["endpoint"] = f"{scheme}://{target.host}:{target.port}"
    return TargetForm(target.kind, typed, target)


def read_form(kind: TargetKind, form: Mapping[str, str], before: Target | None) -> TargetForm:
    """What was typed. A server whose key was confirmed keeps it as long as host and port stay."""
    typed = {name: form.get(name, "").strip() for name in (*_FIELDS[kind], "endpoint")}
    given: dict[str, object] = {name: typed[name] for name in _FIELDS[kind] if typed[name]}
    errors = {}
    if kind is TargetKind.S3:
        endpoint = _endpoint(typed["endpoint"])
        if endpoint is None:
            errors["endpoint"] = gettext("An address such as https://nas.example:9000 is needed.")
        given |= endpoint or {"host": "wrong"}
    try:
        target = _TARGET.validate_python({"kind": kind, **given})
    except ValidationError as error:
        wrong = {str(problem["loc"][-1]) for problem in error.errors() if problem["loc"]}
        wrong |= {name for problem in error.errors() for name in map(str, problem["loc"])} & set(typed)
        errors |= {name: _sentence(name, typed.get(name, "")) for name in wrong & set(typed)}
        return TargetForm(kind, typed, None, errors or {"host": _sentence("host", "")})
    if errors:
        return TargetForm(kind, typed, None, errors)
    if isinstance(target, SftpTarget) and isinstance(before, SftpTarget):
        same_server = (target.host, target.port) == (before.host, before.port)
        target = target.model_copy(update={"host_key": before.host_key if same_server else ""})
    return TargetForm(kind, typed, target)


def _endpoint(text: str) -> dict[str, object] | None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.username:
        return None
    tls = parts.scheme == "https"
    return {"host": parts.hostname, "port": port or (443 if tls else 80), "tls": tls}


def _sentence(name: str, typed: str) -> str:
    if not typed:
        return gettext("This is needed.")
    return {
        "host": gettext("A server's name or IPv4 address, such as nas.example or 192.168.1.5."),
        "share": gettext("The name of the share alone, without slashes."),
        "export": gettext("A path that begins with a slash, such as /volume1/backups."),
        "folder": gettext("Letters, digits and dashes, with slashes between folders."),
        "port": gettext("A number from 1 to 65535."),
        "bucket": gettext("3 to 63 small letters, digits, dots and dashes."),
    }.get(name, gettext("This has characters that can't be used here."))
