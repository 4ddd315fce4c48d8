"""The parser of server-sent events."""

from unittest import TestCase

from bigtech_chat.sse import MAX_EVENT_LENGTH, EventParser, RawEvent


def parse(*chunks: bytes) -> list[RawEvent]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


class Parser(TestCase):
    def test_all_line_ends_and_all_cuts_give_the_same_events(self) -> None:
        lines = ["event: new_message", "retry: 3968", 'data: {"content":"안녕 👋"}', "id: 7.1", "", ": keep-alive", ""]
        expected = [RawEvent("new_message", '{"content":"안녕 👋"}', "7.1", 3968)]
        for end in ("\n", "\r\n", "\r"):
            # A last CR could be the first half of a CR LF, so the text goes on after it.
            text = (end.join([*lines, ": next", ""])).encode()
            for cut in range(len(text) + 1):
                self.assertEqual(parse(text[:cut], text[cut:]), expected, (end, cut))
            self.assertEqual(parse(*(bytes([byte]) for byte in text)), expected)

    def test_a_byte_order_mark_is_dropped_at_the_start_only(self) -> None:
        self.assertEqual(parse(b"\xef", b"\xbb\xbfdata: a\n\n"), [RawEvent("message", "a", "", None)])
        self.assertEqual(parse("data: a\n\n\ufeffdata: b\n\n".encode()), [RawEvent("message", "a", "", None)])

    def test_data_lines_are_joined_and_one_space_is_dropped(self) -> None:
        self.assertEqual(parse(b"data:a\ndata:  b\ndata\n\n")[0].data, "a\n b\n")

    def test_comments_unknown_fields_and_events_without_data_give_no_event(self) -> None:
        self.assertEqual(parse(b": hello\n\nevent: typing\n\nother: x\n\n"), [])

    def test_an_id_lasts_and_an_event_without_data_sets_it(self) -> None:
        events = parse(b"id: 5\n\ndata: a\n\ndata: b\nid\n\ndata: c\nid: x\0y\n\n")
        self.assertEqual([event.id for event in events], ["5", "", ""])

    def test_a_retry_that_is_no_number_is_ignored(self) -> None:
        self.assertIsNone(parse(b"retry: 1s\ndata: a\n\n")[0].retry)

    def test_line_separators_of_unicode_are_part_of_the_data(self) -> None:
        self.assertEqual(parse("data: a\u2028b\x85c\x0bd\n\n".encode())[0].data, "a\u2028b\x85c\x0bd")

    def test_an_event_has_a_greatest_length(self) -> None:
        for line in (b"data: ", b": "):
            with self.assertRaises(ValueError):
                parse(line + b"x" * MAX_EVENT_LENGTH, b"more")
