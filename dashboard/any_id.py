"""`<id:…>` in an address: an id as a stranger may have made it up."""

from __future__ import annotations

from django.urls import register_converter
from django.urls.converters import StringConverter


class AnyId(StringConverter):
    """Slashes, spaces, even line breaks."""

    regex = r"[\s\S]+"


register_converter(AnyId, "id")
