"""What was made, laid over what is declared."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.services.catalogue.overlay import Made, check_model, overlay
from gateway.settings import Model, Provider, Settings

TYPES = ("openai", "groq")
LAB = Provider(type="openai")


def model(name: str, *providers: str, **more: Any) -> Model:
    targets = [{"provider": provider, "model": "m"} for provider in providers or ("lab",)]
    return Model.model_validate({"name": name, "targets": targets, **more})


DECLARED = Settings.model_validate(
    {
        "providers": {"lab": {"type": "openai"}},
        "models": [{"name": "small", "aliases": ["tiny"], "targets": [{"provider": "lab", "model": "s"}]}],
    }
)


def test_with_nothing_made_the_settings_are_in_force() -> None:
    effective = overlay(DECLARED, Made(), TYPES)
    assert effective.settings == DECLARED
    assert (effective.made, effective.left_out) == (frozenset(), {})


def test_what_was_made_joins_what_is_declared() -> None:
    effective = overlay(DECLARED, Made({"own": LAB}, (model("large", "own", "lab"),)), TYPES)
    assert list(effective.settings.providers) == ["lab", "own"]
    assert [found.name for found in effective.settings.models] == ["small", "large"]
    assert effective.made == {"own"}
    assert effective.settings.source_files == DECLARED.source_files


def test_the_configuration_wins() -> None:
    other = Provider(type="groq")
    made = Made({"lab": other}, (model("small"), model("tiny"), model("auto"), model("big", aliases=["small", "huge"])))
    effective = overlay(DECLARED, made, TYPES)
    assert effective.settings.providers["lab"].type == "openai"
    assert [(found.name, found.aliases) for found in effective.settings.models] == [
        ("small", ("tiny",)),
        ("big", ("huge",)),
    ]
    assert effective.made == frozenset()
    assert effective.left_out == {
        ("provider", "lab"): "the configuration declares a provider of this name",
        **{("model", name): "the configuration declares this name" for name in ("small", "tiny", "auto")},
    }


def test_what_does_not_fit_is_left_out_with_its_reason() -> None:
    made = Made(
        {"new": Provider(type="martian")},
        (
            model("a", "new"),
            model("b", "gone", "lab", context_fallbacks=["a", "c", "small"]),
            model("c", policy_fallbacks=["tiny", "nobody"]),
        ),
        {"sealed": "its secrets cannot be opened"},
    )
    effective = overlay(DECLARED, made, TYPES)
    assert effective.left_out == {
        ("provider", "new"): "there is no provider type 'martian' in this version",
        ("provider", "sealed"): "its secrets cannot be opened",
        ("model", "a"): "none of its providers is in force",
    }
    _, b, c = effective.settings.models
    assert ([target.provider for target in b.targets], b.context_fallbacks) == (["lab"], ("c", "small"))
    assert c.policy_fallbacks == ("tiny",)


@pytest.mark.parametrize(
    ("candidate", "code", "param", "words"),
    [
        (model("small"), "conflict", "name", "already taken"),
        (model("tiny"), "conflict", "name", "already taken"),
        (model("other"), "conflict", "name", "already taken"),
        (model("auto"), "invalid_field", "name", "reserved"),
        (model("x", aliases=["a", "other"]), "invalid_field", "aliases.1", "already taken"),
        (model("x", "labb"), "invalid_field", "targets.0.provider", "did you mean lab?"),
        (model("x", "lab", "nobody"), "invalid_field", "targets.1.provider", "no provider 'nobody'"),
        (model("x", context_fallbacks=["smal"]), "invalid_field", "context_fallbacks.0", "did you mean small?"),
        (model("back", policy_fallbacks=["other"]), "invalid_field", "policy_fallbacks.0", "leads back"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(candidate: Model, code: str, param: str, words: str) -> None:
    others = [model("other", context_fallbacks=["back"])]
    with pytest.raises(GatewayError) as raised:
        check_model(DECLARED, {"own": LAB}, others, candidate, TYPES)
    assert (raised.value.code, raised.value.param) == (code, param)
    assert words in raised.value.message


def test_a_model_that_fits_is_not() -> None:
    check_model(DECLARED, {"own": LAB}, [model("other")], model("x", "own", context_fallbacks=["other", "tiny"]), TYPES)
