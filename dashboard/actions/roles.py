"""Who may do what: four roles, each with all that the one before may, on all topics or on those that match a pattern.

A role is a Django group of that name, which has the permissions of the roles below it too; on some topics only it is a
`Grant`. Whoever has neither has the role of the setting DEFAULT_ROLE. A superuser may do all.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.contrib.auth.models import User

from dashboard.actions.models import Grant

Someone = Any  # a User, an AnonymousUser, or what stands for a token (`tokens.Bearer`)


class Role(IntEnum):
    """The roles, least first."""

    VIEWER = 1
    PAYLOAD_VIEWER = 2
    OPERATOR = 3
    ADMIN = 4

    @property
    def word(self) -> str:
        """Its name: of the Django group, on the screen, on the command line."""
        return self.name.lower().replace("_", " ")

    @property
    def permission(self) -> str:
        """The permission that makes one."""
        return f"dashboard.{_PERMISSIONS[self]}"


_PERMISSIONS: Final = {
    Role.VIEWER: "view_bus",
    Role.PAYLOAD_VIEWER: "view_payloads",
    Role.OPERATOR: "operate",
    Role.ADMIN: "administer",
}


class Deed(StrEnum):
    """What can be done; the value is the word in addresses, the record and the API."""

    SEE_PAYLOADS = "see-payloads"
    EXPORT = "export"
    PAUSE = "pause"
    RESUME = "resume"
    REWIND = "rewind"
    RELEASE = "release"
    SKIP = "skip"
    DEAD_LETTER = "dead-letter"
    DISCARD = "discard"
    RESTORE = "restore"
    PUBLISH = "publish"
    REPUBLISH = "republish"
    REPLAY = "replay"
    EDIT_REPLAY = "edit-replay"
    CANCEL_REPLAY = "cancel-replay"
    RESUME_REPLAY = "resume-replay"
    HOLD = "hold"
    UNHOLD = "unhold"
    ALERT = "alert"
    REVEAL = "reveal"
    TOKEN_CREATE = "token-create"  # noqa: S105  a deed's name
    TOKEN_REVOKE = "token-revoke"  # noqa: S105  a deed's name
    GRANT = "grant"

    @property
    def needs(self) -> Role:
        """The least role that may."""
        if self in (Deed.SEE_PAYLOADS, Deed.EXPORT):
            return Role.PAYLOAD_VIEWER
        return Role.ADMIN if self in (Deed.REVEAL, Deed.TOKEN_CREATE, Deed.TOKEN_REVOKE, Deed.GRANT) else Role.OPERATOR


REVEAL_PERMISSION: Final = "dashboard.reveal"  # for whoever is no admin and yet may see what is masked


class Verdict(NamedTuple):
    """Whether it is allowed, and if not, why: a sentence for the screen."""

    allowed: bool
    reason: str = ""


def may(user: Someone, deed: Deed, topic: str = "") -> Verdict:
    """Whether the user may do it on the topic; without a topic: on all topics."""
    if not (user.is_authenticated and user.is_active):
        return Verdict(False, "log in first")  # noqa: FBT003  reads as what it is
    has = role_on(user, topic)
    if has >= deed.needs or (deed is Deed.REVEAL and user.has_perm(REVEAL_PERMISSION)):
        return Verdict(True)  # noqa: FBT003
    where = f" on {topic}" if topic else ""
    return Verdict(False, f"needs the role {deed.needs.word}{where}; you are {has.word}")  # noqa: FBT003


def may_somewhere(user: Someone, deed: Deed) -> Verdict:
    """Whether the user may do it on any topic at all: what is asked before a request is read."""
    if not (user.is_authenticated and user.is_active):
        return Verdict(False, "log in first")  # noqa: FBT003  reads as what it is
    has = max([everywhere(user), *(Role(role) for role, _ in grants(user))])
    if has >= deed.needs or (deed is Deed.REVEAL and user.has_perm(REVEAL_PERMISSION)):
        return Verdict(True)  # noqa: FBT003
    return Verdict(False, f"needs the role {deed.needs.word}; you are {has.word}")  # noqa: FBT003


def role_on(user: Someone, topic: str = "") -> Role:
    """The highest role that the user has on a topic; without one: on all topics."""
    return max([everywhere(user), *(Role(role) for role, pattern in grants(user) if matches(topic, pattern))])


def everywhere(user: Someone) -> Role:
    """The role that the user has on every topic by being who they are, grants for topics left out."""
    if not user.is_authenticated or not user.is_active:
        return Role.VIEWER
    if user.is_superuser:
        return Role.ADMIN
    least = Role.VIEWER if getattr(user, "has_own_roles_only", False) or grants(user) else default()
    return max([least, *(role for role in Role if user.has_perm(role.permission))])


def topics_of(user: Someone, least: Role = Role.VIEWER) -> list[str] | None:
    """Patterns of the topics on which the user has at least this role; None: every topic.

    Whoever was given a role on some topics, and none on all, sees those topics and no other.
    """
    patterns = [pattern for role, pattern in grants(user) if role >= least]
    is_given_all = user.is_superuser or any(user.has_perm(role.permission) for role in Role if role >= least)
    if is_given_all or "*" in patterns or (not grants(user) and default() >= least):
        return None
    return patterns


def default() -> Role:
    """The role of whoever was given none."""
    return named(settings.DEFAULT_ROLE)


def named(word: str) -> Role:
    """The role of this name; raises ValueError."""
    for role in Role:
        if role.word == word.replace("-", " ").replace("_", " "):
            return role
    raise ValueError(f"expected a role ({', '.join(role.word for role in Role)}), got {word!r}")


def matches(topic: str, pattern: str) -> bool:
    """Whether a topic is one of a pattern's: `orders*`, `*`. Without a topic, all are meant: only `*` has those."""
    return pattern == "*" if not topic else fnmatchcase(topic, pattern)


def give(user: User, role: Role, patterns: Iterable[str] = ("*",)) -> None:
    """Give a user a role, on topics that match one of the patterns."""
    for pattern in patterns:
        Grant.objects.get_or_create(user=user, role=int(role), pattern=pattern[:120])
    _forget(user)


def make(**_sent: Any) -> None:
    """Make the Django groups of the roles, with their permissions; after each `migrate`, so that none is missing."""
    from django.contrib.auth.models import Group, Permission  # loaded when signals come, not when apps are named

    codes = {
        f"dashboard.{found.codename}": found for found in Permission.objects.filter(content_type__app_label="dashboard")
    }
    for role in Role:
        group, _ = Group.objects.get_or_create(name=role.word)
        group.permissions.add(
            *(codes[below.permission] for below in Role if below <= role and below.permission in codes)
        )


def grants(user: Someone) -> list[tuple[int, str]]:
    """Roles with the patterns of the topics that they hold on."""
    found: list[tuple[int, str]] | None = getattr(user, "_fanlight_grants", None)
    if found is None:  # once a request: a page asks for each of its rows
        rows = Grant.objects.filter(user_id=user.pk).values_list("role", "pattern")
        found = user._fanlight_grants = [] if user.is_anonymous else list(rows)
    return found


def _forget(user: Any) -> None:
    user.__dict__.pop("_fanlight_grants", None)
