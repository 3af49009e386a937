"""docs/providers.md: its tables say what the tests are marked to show, and its examples are good."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.providers.registry import PROVIDERS
from gateway.services.routing.build import Breakers, Surroundings, build_routes
from gateway.settings import Settings, load
from gateway.upstream.litellm_library import is_installed
from gateway.upstream.pool import Pool
from gateway.wire.lacking import CHAT_PARAMETERS
from tests.providers_page import ASKED, FEATURES, NOT_ASKED, shown_table, with_tables
from tests.shows import ROOT, Shown, checked, marked_in
from tests.unit.settings.conftest import STAGES
from tests.unit.upstream.fakes import Clock

PAGE = ROOT / "docs" / "providers.md"
TEXT = PAGE.read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def marked() -> Shown:
    return marked_in(ROOT / "tests")


def test_the_page_claims_what_tests_are_marked_to_show_and_nothing_else(marked: Shown) -> None:
    assert with_tables(TEXT, marked) == TEXT, "a test run with --write-providers has to be made"


def test_a_cell_too_many_and_a_cell_too_few_are_noticed(marked: Shown) -> None:
    assert ("openai", "chat") in marked
    assert ("palm", "tools") not in marked
    assert with_tables(TEXT, marked | {("palm", "tools")}) != TEXT
    assert with_tables(TEXT, marked - {("openai", "chat")}) != TEXT


def test_every_feature_is_shown_for_somebody(marked: Shown) -> None:
    assert {feature for _, feature in marked} == set(FEATURES)


@pytest.mark.parametrize(
    "named", [("openai",), ("nobody", "chat"), ("openai", "flying"), (7, "chat"), ("openai", "chat", "more")]
)
def test_a_mark_of_nothing_that_there_is_is_refused(named: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="shows"):
        checked(named)


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="marker"):
        with_tables("# Providers\n", ())


def test_every_parameter_of_a_chat_is_asked_for_in_the_table_of_what_providers_lack() -> None:
    assert ASKED.keys() | NOT_ASKED == CHAT_PARAMETERS


TESTS = """
import pytest

@pytest.mark.shows("openai", "chat")
@pytest.mark.shows("openai", "tools")
def test_that_passes(): pass

@pytest.mark.parametrize("p", [pytest.param("groq", marks=pytest.mark.shows("groq", "audio"))])
def test_of_many(p): pass

@pytest.mark.shows("openai", "n")
def test_that_fails(): assert False

@pytest.mark.shows("openai", "n")
def test_that_passes_in_vain(): pass

@pytest.mark.shows("openai", "files")
@pytest.mark.skip
def test_that_is_skipped(): pass
"""


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_run_writes_what_its_passed_tests_have_shown(tmp_path: Path, processes: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(TEXT)
    ran = _pytest(tmp_path, TESTS, "-n", processes, "--write-providers", str(page))
    assert "1 failed, 3 passed, 1 skipped" in ran
    shown = {("openai", "chat"), ("openai", "tools"), ("groq", "audio")}
    assert page.read_text() == with_tables(TEXT, shown)
    assert shown_table(shown).count("✓") == 3


def test_a_run_with_a_wrong_mark_ends_before_it_begins(tmp_path: Path) -> None:
    ran = _pytest(tmp_path, TESTS.replace('"groq", "audio"', '"groq", "flying"'), "-n", "0")
    assert "'flying' is none of" in ran
    assert "passed" not in ran


def _pytest(folder: Path, tests: str, *arguments: str) -> str:
    (folder / "test_sample.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = shows(provider, feature): a feature\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.shows", "-p", "no:cacheprovider", *arguments]
    command += ["--rootdir", str(folder), "-c", str(folder / "pytest.ini"), str(folder / "test_sample.py")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    return ran.stdout + ran.stderr


# --- the examples ---------------------------------------------------------------------------------


def test_every_provider_type_has_an_example() -> None:
    assert set(re.findall(r"type: ([a-z0-9_]+)", "".join(EXAMPLES))) == set(PROVIDERS)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_every_example_makes_routes(number: int, tmp_path: Path) -> None:
    example = EXAMPLES[number]
    if "credentials: file:" in example:
        (tmp_path / "service-account.json").write_bytes(_service_account())
    path = tmp_path / "gateway.yaml"
    path.write_text(example)
    settings = load(path, {}, PROVIDERS.keys(), STAGES)
    if not is_installed():
        settings = _without_litellm(settings)
    environ = dict.fromkeys(re.findall(r"env:([A-Z0-9_]+)", example), "s3cret")
    routes, accounts = build_routes(settings, Surroundings(PROVIDERS, environ, (), Pool(), Breakers(Clock())))
    assert settings.providers.keys() <= accounts.keys()
    for model in settings.models:
        route = routes.find(model.name)
        assert route is not None
        assert len(route.targets) == len(model.targets)


def _without_litellm(settings: Settings) -> Settings:
    """What can be built where litellm, which is no dependency of the tests, is not there."""
    left = {name: provider for name, provider in settings.providers.items() if provider.type != "litellm"}
    models = tuple(model for model in settings.models if all(target.provider in left for target in model.targets))
    return settings.model_copy(update={"providers": left, "models": models})


def _service_account() -> bytes:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return orjson.dumps(
        {
            "type": "service_account",
            "project_id": "my-project",
            "client_email": "gateway@my-project.iam.gserviceaccount.com",
            "private_key": pem.decode(),
            "token_uri": "https://oauth2.googleapis.com/token",
        }
    )
