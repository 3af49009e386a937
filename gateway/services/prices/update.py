"""Write `prices.json` from the price map in litellm's wheel: `python -m gateway.services.prices.update`.

litellm is not imported or installed: its wheel is downloaded by pip and read. The version is pinned, since
some releases were compromised (1.82.7 and 1.82.8); raise it here, run `make update-prices`, read the diff.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Final

import orjson

from gateway.services.prices.service import FIGURES, FILE_NAME

LITELLM_VERSION: Final = "1.106.2"
_MAP: Final = "litellm/model_prices_and_context_window_backup.json"
_SAMPLE: Final = "sample_spec"
_PICO: Final = Decimal(10) ** 12
_NOISE: Final = Decimal("1e-12")  # of the price; a float's own error is below 3e-16
# What the map calls each of `FIGURES`; where there are two names, the first that is given counts.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "input": ("input_cost_per_token",),
    "output": ("output_cost_per_token",),
    "cached": ("cache_read_input_token_cost", "input_cost_per_token_cache_hit"),
    "cache_write": ("cache_creation_input_token_cost",),
    "cache_write_1h": ("cache_creation_input_token_cost_above_1hr",),
    "reasoning": ("output_cost_per_reasoning_token",),
    "audio_in": ("input_cost_per_audio_token",),
    "audio_out": ("output_cost_per_audio_token",),
    "image_in": ("input_cost_per_image_token",),
    "image_out": ("output_cost_per_image_token",),
    "search_unit": ("input_cost_per_query",),
}
# Others than these are asked queries of another kind, at prices that nothing here can meter.
_SEARCHES: Final = "rerank"
_ONE_MODEL: Final = b'"provider"'
_SERVICES: Final = {"batch": "_batches", "flex": "_flex", "priority": "_priority"}
_TIERS: Final = (100_000, 128_000, 200_000, 256_000, 272_000, 512_000)


def pico_usd(usd: float) -> int:
    """Dollars per token or search unit as written in the map, in whole pico-dollars; float noise is rounded away.

    Raises ValueError for a price that is finer in earnest.
    """
    exact = Decimal(repr(usd)) * _PICO
    pico = exact.quantize(Decimal(1), ROUND_HALF_UP)
    if abs(exact - pico) > _NOISE * pico:
        raise ValueError(f"{usd} USD is finer than a pico-dollar")
    return int(pico)


def compact(model: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is kept of a model in the map; None where it has no price that can be metered."""
    model = _without_ranges(model)
    if model.get("mode") != _SEARCHES:
        model = {key: value for key, value in model.items() if key != "input_cost_per_query"}
    price = _figures(model, "")
    if price is None:
        return None
    row: dict[str, Any] = {"provider": model.get("litellm_provider") or "", "mode": model.get("mode") or "chat"}
    for name, theirs in (("max_input", "max_input_tokens"), ("max_output", "max_output_tokens")):
        if isinstance(limit := model.get(theirs), int | float) and limit > 0:
            row[name] = int(limit)
    row["price"] = price
    if tiers := _tiers(model, ""):
        row["tiers"] = tiers
    services = {}
    for name, suffix in _SERVICES.items():
        if (figures := _figures(model, suffix)) is not None:
            tiers = _tiers(model, suffix)
            services[name] = {"price": figures, **({"tiers": tiers} if tiers else {})}
    if services:
        row["services"] = services
    return row


def _without_ranges(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """`tiered_pricing` (a list of ranges of prompt size) said in the way that all other models say it."""
    ranges = model.get("tiered_pricing")
    if not isinstance(ranges, list):
        return model
    plain = dict(model)
    for each in ranges:
        begin = int(each.get("range", [0])[0])
        suffix = f"_above_{begin // 1000}k_tokens" if begin else ""
        plain |= {key + suffix: value for key, value in each.items() if key != "range"}
    return plain


def _figures(model: Mapping[str, Any], suffix: str) -> list[int | None] | None:
    """The figures whose names in the map end in `suffix`, in the order of `FIGURES`; None where there are none."""
    figures: list[int | None] = []
    for name in FIGURES:
        values = (model.get(theirs + suffix) for theirs in _NAMES[name])
        value = next((value for value in values if isinstance(value, int | float)), None)
        figures.append(None if value is None else pico_usd(value))
    given = dict(zip(FIGURES, figures, strict=True))
    if given["output"] is None and given["image_out"] is not None:
        # Image models answer in image tokens, and not every answer says so.
        given["output"] = given["image_out"]
    if given["cache_write"] == 0 and given["input"]:
        # "Nothing on top", where others give the whole price.
        given["cache_write"] = None
    if given["cache_write_1h"] is None and _is_claudes(given["input"], given["cache_write"]):
        given["cache_write_1h"] = 2 * (given["input"] or 0)
    if all(value is None for value in given.values()):
        return None
    figures = list(given.values())
    while figures and figures[-1] is None:
        figures.pop()
    return figures


def _is_claudes(plain: int | None, write: int | None) -> bool:
    """Does writing to the cache cost 1.25 times the plain price? For an hour it then costs twice that, which the map
    leaves out for some regions and resellers.

    https://platform.claude.com/docs/en/build-with-claude/prompt-caching (read 2026-11)
    """
    return bool(plain) and write is not None and plain is not None and 4 * write == 5 * plain


def _tiers(model: Mapping[str, Any], suffix: str) -> dict[str, list[int | None]]:
    found = ((above, _figures(model, f"_above_{above // 1000}k_tokens{suffix}")) for above in _tier_sizes(model))
    return {str(above): figures for above, figures in found if figures is not None}


def _tier_sizes(model: Mapping[str, Any]) -> Iterator[int]:
    sizes = set(_TIERS)
    for key in model:
        size = key.partition("_above_")[2].partition("k_tokens")[0]
        if size.isdigit():
            sizes.add(int(size) * 1000)
    yield from sorted(sizes)


def render(models: Mapping[str, Mapping[str, Any]], *, source: str, date: str) -> bytes:
    """The file's bytes: a line that says where the figures are from, then one line a model, sorted."""
    header = orjson.dumps({"source": source, "date": date, "figures": FIGURES})[:-1] + b',"models":{'
    lines = [
        orjson.dumps(name) + b":" + orjson.dumps(row)
        for name in sorted(models)
        if name != _SAMPLE and (row := compact(models[name])) is not None
    ]
    return header + b"\n" + b",\n".join(lines) + b"\n}}\n"


def read_wheel(wheel: Path) -> bytes:
    """`prices.json` from a litellm wheel. Raises OSError, KeyError or zipfile.BadZipFile for a file that is none."""
    with zipfile.ZipFile(wheel) as archive:
        year, month, day = archive.getinfo(_MAP).date_time[:3]
        models = orjson.loads(archive.read(_MAP))
    version = wheel.name.split("-")[1]
    return render(models, source=f"litellm {version}", date=f"{year:04d}-{month:02d}-{day:02d}")


def main() -> None:
    """Download the pinned wheel and write the file beside this one."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*pip, "--dest", folder, f"litellm=={LITELLM_VERSION}"], check=True)
        data = read_wheel(next(Path(folder).glob("litellm-*.whl")))
    path = Path(__file__).with_name(FILE_NAME)
    path.write_bytes(data)
    print(f"{path.name}: {data.count(_ONE_MODEL)} models, {len(data)} bytes")


if __name__ == "__main__":
    main()
