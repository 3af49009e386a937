"""What the benchmark reads from tools and sockets."""

import pytest

from benchmarks.conditions import processor
from benchmarks.latency import answer_size
from benchmarks.load import parse, script
from benchmarks.memory import rollup
from benchmarks.processes import Failed
from benchmarks.profiling import shares, table
from benchmarks.traffic import request_bytes

_GOOD = (
    "Running 8s test @ http://127.0.0.1:1\n"
    "RESULT requests=120000 duration_us=8000000 connect=0 read=0 write=0 timeout=0 status=0 p50_us=1300 p99_us=4200\n"
)


def test_a_clean_run_of_wrk_gives_its_rate_and_latencies() -> None:
    load = parse(_GOOD)
    assert load.rate == 15_000
    assert (load.p50_ms, load.p99_ms) == (1.3, 4.2)


@pytest.mark.parametrize("trouble", ["status=1", "read=3", "timeout=2", "connect=64"])
def test_a_run_with_one_failed_request_is_an_error(trouble: str) -> None:
    name = trouble.partition("=")[0]
    with pytest.raises(Failed, match=name):
        parse(_GOOD.replace(f"{name}=0", trouble))


def test_a_run_without_a_result_or_without_requests_is_an_error() -> None:
    with pytest.raises(Failed, match="no result"):
        parse("unable to connect")
    with pytest.raises(Failed, match="not one request"):
        parse(_GOOD.replace("requests=120000", "requests=0"))


def test_the_script_sends_the_contestants_headers() -> None:
    assert 'wrk.headers["Authorization"] = "Bearer sk-1"' in script({"Authorization": "Bearer sk-1"})


def test_an_answers_size_is_known_as_soon_as_it_can_be() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\n"
    assert answer_size(head[:-1]) is None
    assert answer_size(head) == len(head) + 5
    assert answer_size(head + b"hello") == len(head) + 5


def test_a_chunked_answer_ends_with_its_last_chunk() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert answer_size(head + b"5\r\nhello\r\n") is None
    whole = head + b"5\r\nhello\r\n0\r\n\r\n"
    assert answer_size(whole) == len(whole)


def test_an_answer_without_a_length_is_an_error() -> None:
    with pytest.raises(Failed, match="unknown length"):
        answer_size(b"HTTP/1.1 200 OK\r\n\r\nhello")


def test_a_request_has_its_headers_and_its_length() -> None:
    raw = request_bytes(8080, {"Authorization": "Bearer x"}, b"{}")
    assert raw.endswith(b"Authorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}")


def test_memory_is_read_from_the_kernels_rollup() -> None:
    text = (
        "55d0-7fff ---p 00000000 00:00 0 [rollup]\nRss:           60000 kB\nPss:           50000 kB\nPss_Dirty: 1 kB\n"
    )
    assert rollup(text) == {"rss_mb": 61.44, "pss_mb": 51.2}


def test_the_processor_is_named_and_its_absence_is_no_error() -> None:
    assert processor("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n") == "Some CPU @ 3 GHz"
    assert processor("nothing of the kind")


def test_a_function_on_the_stack_twice_counts_once_in_its_total() -> None:
    rows = {name: (own, total) for name, own, total in shares("a;b;a 3\na;c 1\n")}
    assert rows == {"a": (75.0, 100.0), "b": (0.0, 75.0), "c": (25.0, 25.0)}
    assert table("a;b 1").splitlines()[1].split() == ["100.0%", "100.0%", "b"]
