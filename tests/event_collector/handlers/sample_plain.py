"""Plain handlers and decorated ones for the tests: at the top level of a module, where worker processes find them."""

from event_collector import Collector, Context, Error, Ok, Payload, Result, collector
from tests.event_collector.sample_types import Order, Receipt


def bill(order: Order) -> Receipt:
    """Give twice the number, or fail."""
    if order.number < 0:
        raise ValueError("sold out")
    return Receipt(order.number * 2)


async def bill_async(order: Order) -> Receipt:
    return bill(order)


class Till:
    """Plain handlers that are a method and an object, with state."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def bill(self, order: Order) -> Receipt:
        return Receipt(order.number * self.factor)

    def __call__(self, order: Order) -> Receipt:
        return self.bill(order)


def scale(factor: int, order: Order) -> Receipt:
    return Receipt(order.number * factor)


@collector("decorated", mode="process", ctx=Context({"factor": 2}))
def decorated(payload: Payload[Order], ctx: Context) -> Result[Receipt]:
    if payload.value.number < 0:
        return Error("sold out")
    return Ok(scale(ctx.factor, payload.value))


@collector("plain", mode="process")
def decorated_plain(order: Order) -> Receipt:
    return bill(order)


@collector("decorated coroutine")
async def decorated_coroutine(order: Order) -> Receipt:
    return bill(order)


class Shop:
    """A collector that stands in a class."""

    @staticmethod
    @collector("in a class", mode="process")
    def in_a_class(order: Order) -> Receipt:
        return bill(order)


DECORATED: list[Collector] = [decorated, decorated_plain, decorated_coroutine, Shop.in_a_class]
