"""The classes of errors, and the delays between attempts."""

import email.utils
import time
from unittest import TestCase

from bigtech_chat import errors
from bigtech_chat.backoff import Backoff
from bigtech_chat.errors import error_of, retry_after_seconds


class Errors(TestCase):
    def test_each_status_has_a_class(self) -> None:
        for status, kind in [
            (400, errors.InvalidRequestError),
            (401, errors.AuthenticationError),
            (403, errors.PermissionDeniedError),
            (404, errors.NotFoundError),
            (409, errors.ConflictError),
            (422, errors.ValidationError),
            (429, errors.RateLimitError),
            (500, errors.ServerError),
            (503, errors.UnavailableError),
        ]:
            self.assertIs(type(error_of(status, {}, None)), kind, status)
        self.assertIs(type(error_of(401, {}, {"error": "MFA_REQUIRED"})), errors.SecondFactorError)

    def test_an_error_has_the_fields_of_the_answer(self) -> None:
        field = {"field": "email", "message": "Not an e-mail address", "value": "x"}
        body = {"error": "validation_error", "message": "Invalid", "request_id": "r", "validation_errors": [field]}
        error = error_of(422, {"Retry-After": "3"}, body)
        self.assertEqual((error.code, error.message, error.request_id), ("validation_error", "Invalid", "r"))
        self.assertEqual((error.retry_after, error.fields), (3.0, [field]))

    def test_retry_after_is_a_number_or_a_date(self) -> None:
        in_a_minute = retry_after_seconds(email.utils.formatdate(time.time() + 60, usegmt=True))
        assert in_a_minute is not None
        self.assertAlmostEqual(in_a_minute, 60, delta=2)
        self.assertEqual(retry_after_seconds("7"), 7.0)
        self.assertEqual(retry_after_seconds("Thu, 01 Jan 1970 00:00:00 GMT"), 0.0)
        self.assertIsNone(retry_after_seconds("soon"))

    def test_a_long_retry_after_is_cut_to_an_hour(self) -> None:
        for value in (str(30 * 86_400), "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"):
            self.assertEqual(retry_after_seconds(value), 3600.0)


class Delays(TestCase):
    def test_delays_double_have_jitter_and_a_limit(self) -> None:
        backoff = Backoff(1.0, 4.0)
        for step in (1.0, 2.0, 4.0, 4.0):
            self.assertTrue(step / 2 <= backoff.next() <= step)
        backoff.reset()
        self.assertTrue(0.5 <= backoff.next() <= 1.0)

    def test_a_delay_is_not_shorter_than_the_server_asks(self) -> None:
        self.assertEqual(Backoff(1.0, 4.0).next(9.0), 9.0)
