"""The tokens of a session, as they are stored."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

from . import models

#: An access token that expires sooner than this, in seconds, is renewed before a request.
RENEW_BEFORE = 60.0


@dataclass(frozen=True, slots=True)
class Tokens:
    """`expires_at` and `renew_at` are Unix times in seconds."""

    access_token: str
    refresh_token: str
    user_id: int
    expires_at: float
    renew_at: float

    @classmethod
    def of(cls, answer: models.Tokens) -> Tokens:
        """The tokens of an answer that has just arrived."""
        lifetime, now = float(answer["expires_in"]), time.time()
        return cls(
            access_token=answer["access_token"],
            refresh_token=answer["refresh_token"],
            user_id=answer["user_id"],
            expires_at=now + lifetime,
            # A lifetime of seconds, as in a test, leaves most of it between two renewals.
            renew_at=now + lifetime - min(RENEW_BEFORE, lifetime / 4),
        )

    @classmethod
    def from_text(cls, text: str | None) -> Tokens | None:
        """The stored tokens. None if there are none, or if another version of this package stored them."""
        try:
            return cls(**json.loads(text)) if text else None
        except (TypeError, ValueError):
            return None

    def to_text(self) -> str:
        return json.dumps(asdict(self))
