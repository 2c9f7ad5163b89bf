"""Values arrive in a worker, and come back, as what they are; or their event has an EncodeError."""

import zoneinfo
from datetime import UTC, datetime, timedelta, timezone

EAST = timezone(timedelta(hours=5, minutes=30))
NAMED = zoneinfo.ZoneInfo("UTC") if "Asia/Kolkata" not in zoneinfo.available_timezones() else None


class Season(tzinfo := type(UTC).__mro__[1]):  # type: ignore[misc,valid-type]  # datetime.tzinfo
    """A zone whose offset depends on the time of the year, without a database of zones."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return None if when is None else timedelta(hours=2 if 3 < when.month < 11 else 1)

    def dst(self, _when: datetime | None) -> timedelta | None:
        return None

    def tzname(self, _when: datetime | None) -> str:
        return "season"
