from __future__ import annotations

import zipfile
from importlib.resources import files
from pathlib import Path

import orjson
import pytest

from gateway.services.prices.service import FIGURES, FILE_NAME
from gateway.services.prices.update import compact, pico_usd, read_wheel, render


@pytest.mark.parametrize(
    ("usd", "pico"), [(1.5e-07, 150_000), (2.4997000000000006e-07, 249_970), (4.285999999999999e-06, 4_286_000), (0, 0)]
)
def test_float_noise_is_rounded_away(usd: float, pico: int) -> None:
    assert pico_usd(usd) == pico


def test_a_price_finer_than_a_pico_dollar_is_refused() -> None:
    with pytest.raises(ValueError, match="finer"):
        pico_usd(1.5e-12)


def test_a_model_without_a_price_per_token_is_left_out() -> None:
    assert compact({"litellm_provider": "openai", "mode": "image_generation", "output_cost_per_image": 0.04}) is None
    data = orjson.loads(render({"a": {"output_cost_per_second": 1.0}}, source="s", date="d"))
    assert data["models"] == {}


def test_a_models_own_names_become_ours() -> None:
    row = compact(
        {
            "litellm_provider": "openai",
            "mode": "chat",
            "max_input_tokens": 1000,
            "max_output_tokens": "unknown",
            "input_cost_per_token": 1e-06,
            "output_cost_per_token": 2e-06,
            "input_cost_per_token_cache_hit": 1e-07,
            "cache_creation_input_token_cost": 0.0,
            "input_cost_per_audio_token": 3e-06,
            "input_cost_per_token_above_100k_tokens": 5e-06,
            "input_cost_per_token_priority": 4e-06,
        }
    )
    assert row == {
        "provider": "openai",
        "mode": "chat",
        "max_input": 1000,
        "price": [1_000_000, 2_000_000, 100_000, None, None, None, 3_000_000],
        "tiers": {"100000": [5_000_000]},
        "services": {"priority": {"price": [4_000_000]}},
    }


def test_writing_for_an_hour_costs_what_the_map_says_or_what_claudes_maker_does() -> None:
    costs = {"input_cost_per_token": 1e-06, "cache_creation_input_token_cost": 1.25e-06}
    said = {"cache_creation_input_token_cost_above_1hr": 1.9e-06}
    for model, hour in (
        ({**costs, **said}, 1_900_000),
        (costs, 2_000_000),
        ({**costs, "cache_creation_input_token_cost": 1.5e-06}, None),
    ):
        row = compact(model)
        assert row is not None
        assert dict(zip(FIGURES, [*row["price"], None], strict=False))["cache_write_1h"] == hour
    dearer = {f"{name}_above_200k_tokens": 2 * value for name, value in {**costs, **said}.items()}
    row = compact({**costs, **said, **dearer})
    assert row is not None
    assert row["tiers"] == {"200000": [2_000_000, None, None, 2_500_000, 3_800_000]}


def test_ranges_of_prompt_size_become_tiers() -> None:
    ranges = [
        {"range": [0, 256_000.0], "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
        {"range": [256_000.0, 1e6], "input_cost_per_token": 3e-06, "output_cost_per_token": 4e-06},
    ]
    row = compact({"litellm_provider": "dashscope", "mode": "chat", "tiered_pricing": ranges})
    assert row is not None
    assert (row["price"], row["tiers"]) == ([1_000_000, 2_000_000], {"256000": [3_000_000, 4_000_000]})


def test_a_query_is_a_search_unit_of_rerank_and_of_nothing_else() -> None:
    query = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0, "input_cost_per_query": 0.002}
    rerank, embedding = compact({**query, "mode": "rerank"}), compact({**query, "mode": "embedding"})
    assert rerank is not None
    assert embedding is not None
    assert rerank["price"] == [0, 0, *[None] * 8, 2_000_000_000]
    assert FIGURES[10] == "search_unit"
    assert embedding["price"] == [0, 0]
    assert compact({"mode": "search", "input_cost_per_query": 0.003}) is None


def test_image_tokens_are_the_output_of_a_model_that_has_no_other() -> None:
    row = compact({"input_cost_per_token": 1e-06, "output_cost_per_image_token": 4e-05})
    assert row is not None
    assert row["price"][FIGURES.index("output")] == 40_000_000


def test_a_wheel_gives_the_same_bytes_each_time_one_model_a_line(tmp_path: Path) -> None:
    wheel = tmp_path / "litellm-9.9.9-py3-none-any.whl"
    info = zipfile.ZipInfo("litellm/model_prices_and_context_window_backup.json", (2026, 1, 2, 3, 4, 6))
    models = {"sample_spec": {"input_cost_per_token": 1.0}, "b": {"input_cost_per_token": 1e-6}, "a": {"mode": "chat"}}
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(info, orjson.dumps(models))
    data = read_wheel(wheel)
    assert data == read_wheel(wheel)
    assert orjson.loads(data)["source"] == "litellm 9.9.9"
    assert orjson.loads(data)["date"] == "2026-01-02"
    assert data.splitlines()[1:] == [b'"b":{"provider":"","mode":"chat","price":[1000000]}', b"}}"]


def test_the_packaged_file_is_json_with_plain_figures() -> None:
    data = orjson.loads(files("gateway.services.prices").joinpath(FILE_NAME).read_bytes())
    assert data["figures"] == list(FIGURES)
    assert len(data["models"]) > 3000
    for name, row in data["models"].items():
        assert row.keys() <= {"provider", "mode", "max_input", "max_output", "price", "tiers", "services"}, name
        assert all(figure is None or (type(figure) is int and figure >= 0) for figure in row["price"]), name
