"""Answers come out the same however the network cuts them, and bad ones come out as AnswerError only."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.answer import Answer, AnswerError, Headers

Outcome = tuple[str, int, Headers, bytes]

# (raw bytes, status, headers, body)
ANSWERS: dict[str, tuple[bytes, int, Headers, bytes]] = {
    "length": (
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"a": true}',
        200,
        [(b"content-type", b"application/json"), (b"content-length", b"11")],
        b'{"a": true}',
    ),
    "length zero": (b"HTTP/1.1 500 \r\ncontent-length: 0\r\n\r\n", 500, [(b"content-length", b"0")], b""),
    "no reason phrase": (b"HTTP/1.1 200\r\ncontent-length: 1\r\n\r\nx", 200, [(b"content-length", b"1")], b"x"),
    "body of line ends": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n\r\n\r\nab\r\n",
        200,
        [(b"content-length", b"8")],
        b"\r\n\r\nab\r\n",
    ),
    "chunked with extensions and trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Empty:\r\nX-Padded:   a b  \r\n\r\n"
        b'5;name=value;flag\r\nhello\r\n001\r\n \r\n5;quoted="x"\r\nworld\r\n0;last\r\n'
        b"Digest: sha-256=x\r\nServer-Timing: total\r\n\r\n",
        200,
        [(b"transfer-encoding", b"chunked"), (b"x-empty", b""), (b"x-padded", b"a b")],
        b"hello world",
    ),
    "chunked with chunks that look like ends": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0\r\n\r\n0\r\n\r\n\r\n2\r\n\r\n\r\n0\r\n\r\n",
        200,
        [(b"transfer-encoding", b"chunked")],
        b"0\r\n\r\n0\r\n\r\n\r\n",
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n", 204, [(b"x-a", b"b")], b""),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n", 304, [(b"etag", b"x")], b""),
    "interim answers first": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nok",
        201,
        [(b"content-length", b"2"), (b"set-cookie", b"a"), (b"set-cookie", b"b")],
        b"ok",
    ),
    "HTTP/1.0 kept alive": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi",
        200,
        [(b"connection", b"keep-alive"), (b"content-length", b"2")],
        b"hi",
    ),
}

BAD = {
    "garbage": b"\x16\x03\x01\x02\x00 this is not HTTP at all\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/2 preface in text": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "the same length twice": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nab",
    "a list of lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nab",
    "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nab",
    "length of 30 digits": b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000000000000000000000\r\n\r\nab",
    "length, then chunked": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then length": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip below chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.0 and chunked": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size of words": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfive\r\nhello\r\n0\r\n\r\n",
    "chunk longer than its size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
    "chunk size beyond 64 bits": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\nx",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nraw",
    "101 without upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
    "status above 599": b"HTTP/1.1 600 Odd\r\ncontent-length: 0\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nx: a\x00b\r\ncontent-length: 0\r\n\r\n",
    "space in a name": b"HTTP/1.1 200 OK\r\nx y: a\r\ncontent-length: 0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n",
    "folded header": b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
}


def read(
    pieces: Iterable[bytes], *, head: int = 65536, body: int = 1 << 20, after: bytes = b""
) -> tuple[Outcome, Answer]:
    """Feed pieces until the answer is complete or bad; `after` is an answer that the connection brought before."""
    answer = Answer()
    if after:
        answer.begin(65536, 1 << 20)
        answer.feed(after)
    answer.begin(head, body)
    got = b""
    try:
        for piece in pieces:
            got += answer.feed(piece)
            if answer.complete:
                return ("complete", answer.status, answer.headers, got), answer
    except AnswerError as error:
        return (error.code, 0, [], b""), answer
    state = "to eof" if answer.ends_at_eof() else "incomplete"
    return (state, answer.status if answer.head_done else 0, answer.headers if answer.head_done else [], got), answer


def cut(data: bytes, *places: int) -> list[bytes]:
    """`data` in pieces."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if end > start]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_in_one_read_is_complete_and_its_connection_reusable(name: str) -> None:
    raw, status, headers, body = ANSWERS[name]
    outcome, answer = read([raw])
    assert outcome == ("complete", status, headers, body)
    assert answer.reusable


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_cut_at_any_byte_is_the_same(name: str) -> None:
    raw, status, headers, body = ANSWERS[name]
    for place in range(1, len(raw)):
        outcome, answer = read(cut(raw, place))
        assert outcome == ("complete", status, headers, body), place
        # What is cut within the last few bytes cannot be told from surplus, and is not reused.
        assert answer.reusable or place > len(raw) - 5, place
    outcome, _ = read([raw[i : i + 1] for i in range(len(raw))])
    assert outcome == ("complete", status, headers, body)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_cut_off_at_any_byte_is_never_complete(name: str) -> None:
    raw = ANSWERS[name][0]
    for length in range(len(raw)):
        (state, *_), _ = read([raw[:length]] if length else [])
        assert state == "incomplete", length


@pytest.mark.parametrize("first", ANSWERS)
@pytest.mark.parametrize("surplus", [b"\n", b"\r\n", b"\r\n\r\n", b"x", b"HTTP", ANSWERS["length"][0], b"\x00" * 9])
def test_surplus_bytes_make_a_connection_unusable_and_leave_the_answer_alone(first: str, surplus: bytes) -> None:
    raw, status, headers, body = ANSWERS[first]
    outcome, answer = read([raw + surplus])
    assert outcome == ("complete", status, headers, body)
    assert not answer.reusable
    for place in range(1, len(raw)):
        outcome, answer = read(cut(raw + surplus, place))
        assert outcome == ("complete", status, headers, body)
        assert not answer.reusable, place


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_is_refused_however_it_is_cut(name: str) -> None:
    raw = BAD[name]
    assert read([raw])[0][0] == "upstream_bad_answer"
    for place in range(1, len(raw)):
        assert read(cut(raw, place))[0][0] == "upstream_bad_answer", place
    assert read([raw[i : i + 1] for i in range(len(raw))])[0][0] == "upstream_bad_answer"


def test_an_answer_that_closes_its_connection_is_not_reused() -> None:
    for line in (b"connection: close", b"Connection: keep-alive, Close"):
        outcome, answer = read([b"HTTP/1.1 200 OK\r\n" + line + b"\r\ncontent-length: 1\r\n\r\nx"])
        assert outcome[0] == "complete"
        assert not answer.reusable


def test_an_http_1_0_answer_is_not_reused_unless_it_says_so() -> None:
    _, answer = read([b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx"])
    assert answer.complete
    assert not answer.reusable


def test_an_answer_without_a_length_ends_when_the_peer_closes() -> None:
    outcome, answer = read([b"HTTP/1.1 200 OK\r\n\r\nabc", b"def"])
    assert outcome == ("to eof", 200, [], b"abcdef")
    assert not answer.complete


def test_several_answers_are_read_one_after_the_other() -> None:
    answer = Answer()
    for _ in range(3):
        for raw, status, headers, body in ANSWERS.values():
            answer.begin(65536, 65536)
            assert not answer.complete
            assert answer.feed(raw) == body
            assert (answer.status, answer.headers, answer.complete) == (status, headers, True)
            assert answer.reusable


def of_length(length: int, *, status: bytes = b"200 OK", line: bytes = b"Content-Length") -> bytes:
    """An answer like the last one of its server, but for its body."""
    return b"HTTP/1.1 %b\r\nServer: x\r\n%b: %d\r\nX-A: b\r\n\r\n%b" % (status, line, length, b"z" * length)


_FIRST = of_length(12)
LIKE_IT = {
    "the same": _FIRST,
    "a longer body": of_length(1234),
    "a shorter body": of_length(3),
    "no body": of_length(0),
    "another status": of_length(12, status=b"500 Oh"),
    "another name of the length": of_length(12, line=b"content-length"),
    "a length with a sign": _FIRST.replace(b": 12", b": +12"),
    "a length of no digits": _FIRST.replace(b": 12", b": "),
    "a length in other digits": _FIRST.replace(b": 12", b": \xb9\xb2"),
    "two lengths": _FIRST.replace(b"X-A", b"Content-Length: 12\r\nX-A"),
    "a second length in the first": _FIRST.replace(b": 12", b": 12\r\nContent-Length: 1"),
    "a head that closes": _FIRST.replace(b"X-A: b", b"Connection: close"),
    "surplus bytes": _FIRST + b"HTTP/1.1 200 OK\r\n",
    "two answers": _FIRST * 2,
    "a line end behind it": _FIRST + b"\r\n",
    "a line end before it": b"\r\n" + _FIRST,
    "an interim answer first": b"HTTP/1.1 100 Continue\r\n\r\n" + _FIRST,
    "a body too few": _FIRST[:-1],
}


@pytest.mark.parametrize("name", LIKE_IT)
def test_an_answer_means_the_same_whether_or_not_its_head_was_known(name: str) -> None:
    raw = LIKE_IT[name]
    for head, body in ((65536, 1 << 20), (len(_FIRST) - 13, 1 << 20), (65536, 11)):
        for place in range(len(raw)):
            known, one = read(cut(raw, place), head=head, body=body, after=_FIRST)
            fresh, other = read(cut(raw, place), head=head, body=body)
            assert known == fresh, place
            assert one.reusable == other.reusable, place


def test_what_a_receiver_does_to_its_headers_is_not_seen_by_the_next() -> None:
    answer = Answer()
    for length in (12, 5, 12):
        answer.begin(65536, 1 << 20)
        answer.feed(of_length(length))
        assert answer.headers == [(b"server", b"x"), (b"content-length", b"%d" % length), (b"x-a", b"b")]
        answer.headers.clear()


def test_a_head_that_is_like_the_last_one_is_not_parsed_again() -> None:
    answer = Answer()
    answer.begin(65536, 1 << 20)
    answer.feed(_FIRST)
    answer.close()  # there is no parser any more
    answer.begin(65536, 1 << 20)
    assert answer.feed(of_length(77)) == b"z" * 77
    assert answer.complete
    assert answer.reusable


def test_a_head_within_its_limit_is_read_and_a_longer_one_refused_however_it_is_cut() -> None:
    raw = b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200 + b"\r\ncontent-length: 300\r\n\r\n" + b"z" * 300
    head = len(raw) - 300
    for place in (1, 10, head - 1, head, head + 1, len(raw) - 1):
        assert read(cut(raw, place), head=head)[0][3] == b"z" * 300
        assert read(cut(raw, place), head=head - 1)[0][0] == "upstream_answer_too_large"


def test_interim_answers_count_against_the_limit_of_the_head() -> None:
    outcome, _ = read([b"HTTP/1.1 100 Continue\r\n\r\n"] * 100, head=1000)
    assert outcome[0] == "upstream_answer_too_large"


def test_an_unfinished_header_is_refused_at_the_limit() -> None:
    outcome, _ = read([b"HTTP/1.1 200 OK\r\nx: ", *[b"y" * 100] * 20], head=1000)
    assert outcome[0] == "upstream_answer_too_large"


@pytest.mark.parametrize("endless", [b"0\r\nname", b"0\r\nname: v", b"5;ext"])
def test_endless_trailers_and_chunk_extensions_are_refused(endless: bytes) -> None:
    start = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n" + endless
    outcome, _ = read([start, *[b"a" * 100] * 50], head=1000)
    assert outcome[0] == "upstream_answer_too_large"


def test_a_stream_of_many_small_chunks_meets_no_limit_of_the_head() -> None:
    pieces = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]
    for _ in range(300):
        pieces += [b"5;a=b\r\n", b"hello", b"\r\n"]
    (state, _, _, body), answer = read([*pieces, b"0\r\n\r\n"], head=100)
    assert (state, body) == ("complete", b"hello" * 300)
    assert answer.reusable


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n" + b"x" * 11,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 11,
    ],
)
def test_a_body_over_its_limit_is_refused(raw: bytes) -> None:
    assert read([raw], body=10)[0][0] == "upstream_answer_too_large"
    assert read([raw], body=11)[0][3] == b"x" * 11


def test_an_announced_length_over_the_limit_is_refused_with_the_head() -> None:
    outcome, _ = read([b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n"], body=10)
    assert outcome[0] == "upstream_answer_too_large"


@given(name=st.sampled_from(sorted(ANSWERS)), places=st.lists(st.integers(0, 1000), max_size=8))
def test_any_cuts_give_the_same_answer(name: str, places: list[int]) -> None:
    raw, status, headers, body = ANSWERS[name]
    assert read(cut(raw, *places))[0] == ("complete", status, headers, body)


@given(
    name=st.sampled_from(sorted([*ANSWERS, *BAD])),
    place=st.integers(0, 1000),
    replaced=st.integers(0, 3),
    inserted=st.binary(max_size=4),
    cuts=st.lists(st.integers(0, 1000), max_size=5),
)
def test_a_damaged_answer_means_the_same_however_it_is_cut(
    name: str, place: int, replaced: int, inserted: bytes, cuts: list[int]
) -> None:
    raw = ANSWERS[name][0] if name in ANSWERS else BAD[name]
    place %= len(raw)
    damaged = raw[:place] + inserted + raw[place + replaced :]
    whole, pieces = read([damaged])[0], read(cut(damaged, *cuts))[0]
    assert whole == pieces


@given(st.lists(st.binary(min_size=1, max_size=64), max_size=8))
def test_garbage_raises_nothing_but_an_answer_error(pieces: list[bytes]) -> None:
    (state, *_), _ = read(pieces)
    assert state in {"upstream_bad_answer", "upstream_answer_too_large", "incomplete"}
