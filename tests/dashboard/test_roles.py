"""Who may do what: each role has what the one below has, a pattern's topics only, and a superuser has all."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User

from dashboard.actions import roles
from dashboard.actions.roles import Deed, Role, may

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(settings: Any) -> User:
    settings.DEFAULT_ROLE = "viewer"
    return User.objects.create_user("ann")


def again(user: User) -> User:
    """The user as the next request finds them: Django keeps permissions with the object."""
    return User.objects.get(pk=user.pk)


def test_a_user_without_a_role_sees_no_payload_and_changes_nothing(ann: User) -> None:
    assert [deed for deed in Deed if may(ann, deed).allowed] == []


@pytest.mark.parametrize("role", list(Role))
def test_a_role_may_what_it_needs_and_what_the_roles_below_may(ann: User, role: Role) -> None:
    ann.groups.add(Group.objects.get(name=role.word))
    assert {deed for deed in Deed if may(again(ann), deed, "orders").allowed} == {d for d in Deed if d.needs <= role}


def test_a_superuser_may_all(ann: User) -> None:
    ann.is_superuser = True
    assert all(may(ann, deed, "orders").allowed for deed in Deed)


def test_nobody_may_anything_before_they_log_in() -> None:
    assert not any(may(AnonymousUser(), deed).allowed for deed in Deed)


def test_a_user_who_was_shut_out_may_nothing_not_even_a_superuser(ann: User) -> None:
    ann.is_superuser, ann.is_active = True, False
    assert not any(may(ann, deed).allowed for deed in Deed)


def test_a_pattern_gives_a_role_on_its_topics_and_on_no_other(ann: User) -> None:
    roles.give(ann, Role.OPERATOR, ["orders*"])
    assert may(ann, Deed.PAUSE, "orders").allowed
    assert may(ann, Deed.PAUSE, "orders.eu").allowed
    assert not may(ann, Deed.PAUSE, "payments").allowed
    assert not may(ann, Deed.PAUSE).allowed, "without a topic all are meant"


def test_what_is_refused_says_what_it_needs_and_what_one_is(ann: User) -> None:
    assert may(ann, Deed.PAUSE, "orders").reason == "needs the role operator on orders; you are viewer"


def test_one_permission_alone_lets_reveal(ann: User) -> None:
    from django.contrib.auth.models import Permission

    ann.user_permissions.add(Permission.objects.get(codename="reveal"))
    assert may(again(ann), Deed.REVEAL, "orders").allowed
    assert not may(again(ann), Deed.PAUSE, "orders").allowed
