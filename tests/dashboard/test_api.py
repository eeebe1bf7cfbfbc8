"""The API: each address answers what its description says, errors point at the word, and no text breaks it."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.event import Cause
from bus.journal import Failure, Step
from bus.publisher import Publisher
from bus.subscription import Retry, Subscription
from dashboard.api import export
from dashboard.api.export import harmless
from dashboard.api.urls import urlpatterns
from dashboard.api.views import DESCRIPTION
from dashboard.record.rows import MAX_PAYLOAD
from tests.conftest import RunWorker, WaitUntil
from tests.dashboard.conftest import Record
from tests.dashboard.hostile import TEXTS
from tests.dashboard.recorded import Recorded
from tests.dashboard.schema import faults

OPENAPI = json.loads(DESCRIPTION.read_text())


@pytest.fixture
def reader(db: None, client: Client) -> Client:
    client.force_login(User.objects.create_user("ann"))
    return client


@pytest.fixture
def shop(db: None, config: object) -> Recorded:
    """An order that email gave up, the payment that it led to, and data that was not kept whole."""
    recorded = Recorded()
    recorded.subscribe("email")
    recorded.subscribe("payment", types=["order_placed"])
    order = recorded.publish(id="order", key="o-1", source="web", headers={"tenant": "acme"})
    recorded.settle(order, Step.SUCCEEDED, group="payment", log=["INFO paid"])
    recorded.publish(id="paid", type="payment_successful", key="o-1", cause=Cause("order", "payment", 1))
    recorded.publish(id="orphan", cause=Cause("gone", "payment", 1), raw=b'{"long": "' + b"x" * MAX_PAYLOAD + b'"}')
    failure = Failure("ValueError", "no such mailbox", "Traceback …", "shop/email.py:41 in send", "f1")
    recorded.settle(order, Step.DEAD_LETTERED, failure=failure, log=["WARNING careful"])
    return recorded


ADDRESSES = {  # as the description names them → as they are asked here
    "/openapi.json": "/api/openapi.json",
    "/events": "/api/events?q=since:1970-01-01&limit=2",
    "/events/{event_id}": "/api/events/order",
    "/traces/{correlation_id}": "/api/traces/trace",
    "/history": "/api/history?key=o-1",
    "/topics": "/api/topics",
    "/actions": "/api/actions",
    "/groups": "/api/groups",
    "/groups/{topic}/{group}/series": "/api/groups/orders/email/series?range=1h",
    "/pending": "/api/pending?topic=orders&group=email",
    "/dead-letters": "/api/dead-letters",
    "/workers": "/api/workers",
    "/suggest": "/api/suggest?q=type:&cursor=5",
    "/export": "/api/export?q=&format=json",
}
ACTING = {
    path for path in OPENAPI["paths"] if path.startswith(("/replays", "/alerts"))
}  # in test_api_replays.py, test_alerts_pages.py


def assert_described(path: str, status: int, answer: Any) -> None:
    content = OPENAPI["paths"][path]["get"]["responses"][str(status)]["content"]["application/json"]
    assert list(faults(answer, content["schema"], OPENAPI)) == []


ELSEWHERE = {
    "/actions/{pk}", "/actions/{deed}",  # asked in test_activity.py
    "/holds", "/holds/{topic}/{group}",  # and these in test_holds.py
}  # fmt: skip


def test_every_address_is_described_and_no_other() -> None:
    served = {"/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern)) for pattern in urlpatterns}
    assert served == OPENAPI["paths"].keys() == ADDRESSES.keys() | ACTING | ELSEWHERE


def test_every_name_of_the_description_leads_somewhere() -> None:
    named = set(re.findall(r'"#/components/schemas/(\w+)"', DESCRIPTION.read_text()))
    assert named == OPENAPI["components"]["schemas"].keys()


@pytest.mark.parametrize("path", [path for path in ADDRESSES if path != "/export"])
def test_every_answer_is_as_described(reader: Client, shop: Recorded, path: str) -> None:
    response = reader.get(ADDRESSES[path])
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert "no-store" in response["Cache-Control"]
    assert_described(path, 200, response.json())


def test_the_answers_about_the_bus_itself_are_as_described(
    reader: Client, publisher: Publisher, run_worker: RunWorker, record: Record, wait_until: WaitUntil
) -> None:
    def stuck(event: object) -> None:
        raise ValueError("not today")

    slow = Retry(attempts=5, base_seconds=600, cap_seconds=600)
    with run_worker(
        Subscription("orders", "fraud", stuck, retry=slow),
        Subscription("orders", "stock", stuck, retry=Retry(attempts=1)),
    ):
        publisher.publish_many([publisher.draft("orders", "order_placed", n, key=f"o-{n}") for n in range(7)])
        wait_until(
            lambda: (
                record()
                and {g["group"]: g["pending"] for g in _get(reader, "/groups")["groups"]} == {"fraud": 7, "stock": 0}
            )
        )
        entries = _get(reader, "/pending", "topic=orders&group=fraud&limit=3")["entries"]
        groups = {group["group"]: group for group in _get(reader, "/groups", "topic=orders")["groups"]}
        workers = _get(reader, "/workers")["workers"]
    assert [entry["event"]["key"] for entry in entries] == ["o-0", "o-1", "o-2"]
    assert {entry["attempt"] for entry in entries} == {1}
    assert groups["fraud"]["cause"] == "All 7 pending events failed and wait to be attempted again."
    assert (groups["fraud"]["lag"], groups["stock"]["lag"], groups["stock"]["dead"]) == (7, 0, 7)
    assert groups["stock"]["cause"] == "7 dead letters wait for you."
    assert [(sorted(worker["groups"]), worker["alive"]) for worker in workers] == [(["fraud", "stock"], True)]
    (kind,) = _get(reader, "/dead-letters")["kinds"]
    assert (kind["count"], kind["groups"], kind["error"]) == (
        7,
        [{"group": "stock", "count": 7}],
        "ValueError: not today",
    )


def _get(reader: Client, path: str, parameters: str = "") -> Any:
    response = reader.get(f"/api{path}?{parameters}")
    assert response.status_code == 200, response.content
    assert_described(path, 200, response.json())
    return response.json()


def test_dead_letters_are_grouped_by_what_went_wrong(reader: Client, shop: Recorded) -> None:
    again = Failure("ValueError", "no such mailbox", "…", "shop/email.py:41 in send", "f1")
    other = Failure("KeyError", "'x'", "", "", "f2")
    shop.settle(shop.publish(3, id="more"), Step.DEAD_LETTERED, failure=again, group="payment")
    shop.settle(shop.publish(1, id="one"), Step.DEAD_LETTERED, failure=other)
    found = _get(reader, "/dead-letters")
    assert [(kind["fingerprint"], kind["count"]) for kind in found["kinds"]] == [("f1", 4), ("f2", 1)]
    first = found["kinds"][0]
    assert first["groups"] == [{"group": "email", "count": 1}, {"group": "payment", "count": 3}]
    assert (first["error"], first["frame"]) == ("ValueError: no such mailbox", "shop/email.py:41 in send")
    assert (first["example"]["id"], first["example"]["group"], first["first_ms"] < first["last_ms"]) == (
        "more",
        "payment",
        True,
    )
    assert (found["searched"], found["is_complete"], found["of_kinds"]) == (5, True, 2)
    assert [kind["count"] for kind in _get(reader, "/dead-letters", "group=email")["kinds"]] == [1, 1]
    assert _get(reader, "/dead-letters", f"since_ms={first['last_ms'] + 1}")["kinds"][0]["fingerprint"] == "f2"
    assert _get(reader, "/dead-letters", "topic=nowhere")["kinds"] == []
    assert len(_get(reader, "/dead-letters", "limit=1")["kinds"]) == 1


def test_a_search_is_paged(reader: Client, shop: Recorded) -> None:
    first = reader.get("/api/events?limit=2").json()
    second = reader.get("/api/events", {"limit": 2, "page": first["next"]}).json()
    assert [event["id"] for event in first["events"] + second["events"]] == ["orphan", "paid", "order"]
    assert second["next"] is None
    oldest = reader.get("/api/events?limit=1&order=oldest").json()
    assert [event["id"] for event in oldest["events"]] == ["order"]
    assert reader.get("/api/events?q=payload.long:1").json()["unreadable"] == 1


@pytest.mark.parametrize("path", ["/events", "/export"])
def test_a_wrong_query_is_pointed_at(reader: Client, shop: Recorded, path: str) -> None:
    response = reader.get(f"/api{path}", {"q": "type:a tpye:b"})
    assert response.status_code == 400
    assert_described(path, 400, response.json())
    error = response.json()["error"]
    assert (error["start"], error["end"], error["word"], error["nearest"]) == (7, 11, "tpye", "type")


@pytest.mark.parametrize(
    ("path", "address", "status"),
    [
        ("/events/{event_id}", "/api/events/nothing", 404),
        ("/traces/{correlation_id}", "/api/traces/nothing", 404),
        ("/history", "/api/history", 400),
        ("/pending", "/api/pending?topic=orders", 400),
        ("/events", "/api/events?limit=many", 400),
        ("/events", "/api/events?limit=-1", 400),
        ("/events", "/api/events?limit=²", 400),
        ("/events", "/api/events?order=random", 400),
        ("/export", "/api/export?format=xml", 400),
    ],
)
def test_what_can_not_be_answered_says_why(
    reader: Client, shop: Recorded, path: str, address: str, status: int
) -> None:
    response = reader.get(address)
    assert response.status_code == status
    assert_described(path, status, response.json())


@pytest.mark.parametrize("address", ADDRESSES.values())
def test_strangers_get_nothing_but_a_reason(client: Client, db: None, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 401
    assert response.json().keys() == {"error"}


@pytest.mark.parametrize("path", ADDRESSES)
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_the_api_only_reads(reader: Client, path: str, method: str) -> None:
    response = getattr(reader, method)(ADDRESSES[path])
    assert response.status_code == 405
    assert_described(path, 405, response.json())


@pytest.mark.parametrize("limit", ["0", "1000000000", "9" * 400])
def test_limits_are_clamped(reader: Client, shop: Recorded, limit: str) -> None:
    for path in ("/events", "/dead-letters"):
        assert reader.get(f"/api{path}", {"limit": limit}).status_code == 200


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_no_text_breaks_a_search_or_a_page(reader: Client, shop: Recorded, text: str) -> None:
    text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")  # as it arrives from a browser
    for path in ("/events", "/suggest"):
        response = reader.get(f"/api{path}", {"q": text, "page": text, "topic": ""})
        assert response.status_code in (200, 400)
        assert_described(path, response.status_code, response.json())
        if response.status_code == 400:
            error = response.json()["error"]
            assert 0 <= error["start"] <= error["end"] <= len(error["query"])
    for address in ("/search/", "/topics/orders/"):
        page = reader.get(address, {"q": text, "before": text})
        assert page.status_code == 200
        assert not re.search(r"<script>|<img|<svg/onload|7\*7=49", page.content.decode())
    assert reader.get("/api/history", {"key": text, "topic": text}).status_code == 200
    assert reader.get("/api/pending", {"topic": text, "group": text}).status_code == 200
    assert reader.get("/api/dead-letters", {"topic": text, "group": text}).status_code == 200


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(q=st.text(max_size=120), page=st.text(max_size=20), cursor=st.integers(0, 200))
def test_any_request_gets_an_answer(reader: Client, shop: Recorded, q: str, page: str, cursor: int) -> None:
    assert reader.get("/api/events", {"q": q, "page": page}).status_code in (200, 400)
    assert reader.get("/api/suggest", {"q": q, "cursor": str(cursor)}).status_code == 200


def exported(reader: Client, **parameters: str | int) -> str:
    response: Any = reader.get("/api/export", parameters)
    assert response.streaming
    assert "attachment" in response["Content-Disposition"]

    async def gathered() -> list[bytes]:
        return [chunk async for chunk in response]

    return b"".join(async_to_sync(gathered)()).decode()


def test_a_search_is_exported_as_json_lines(reader: Client, shop: Recorded) -> None:
    lines = [json.loads(line) for line in exported(reader, format="json", q="key:o-1").splitlines()]
    assert [line["id"] for line in lines] == ["paid", "order"]
    assert lines[1]["data_text"] == '{"total": 120}'
    assert lines[1]["at"].startswith("2025-11-13T")


def test_a_search_is_exported_as_csv_page_by_page(
    reader: Client, shop: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_PER_PAGE", 2)
    rows = list(csv.DictReader(io.StringIO(exported(reader))))
    assert [row["id"] for row in rows] == ["orphan", "paid", "order"]
    assert (rows[2]["lanes"], rows[2]["data"]) == ("email: Dead; payment: Succeeded", '{"total": 120}')


def test_an_export_that_ends_early_says_so(reader: Client, shop: Recorded) -> None:
    assert exported(reader, limit=2).splitlines()[-1] == "(stopped after 2 events; there may be more)"
    assert json.loads(exported(reader, limit=2, format="json").splitlines()[-1]).keys() == {"stopped"}
    assert "stopped" not in exported(reader, limit=3)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_cell_is_a_formula(reader: Client, shop: Recorded, text: str) -> None:
    assert harmless(text) == f"'{text}"
    shop.publish(id=text, type=text, key=text, source=text, correlation_id=text, raw=text.encode())
    (row,) = csv.reader(io.StringIO(exported(reader, q=f'id:"{text}"').partition("\n")[2], newline=""))
    assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
