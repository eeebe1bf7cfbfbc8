"""Groups and workers, as every server tells of them."""

from tests.bus.test_inspect import (  # noqa: F401
    test_a_groups_place_is_told,
    test_a_worker_is_alive_while_its_lease_holds,
)
