"""The configuration: precedence, durations, files of secrets, unknown keys, what is shown (spec/10 §2)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inglenook.cli.main import take_flags
from inglenook.cli.settings import KEYS, SettingsError, load, masked, read_duration
from inglenook.cli.sizes import read_size, show_size

from .conftest import Operator


def config_file(folder: Path, text: str) -> dict[str, str]:
    """An environment whose configuration file has this text."""
    path = folder / "config.toml"
    path.write_text(text)
    return {"INGLENOOK_CONFIG": str(path), "HOME": str(folder)}


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    environ = config_file(tmp_path, 'port = 1001\nhost = "10.0.0.1"\ndev = true\n')
    environ |= {"INGLENOOK_PORT": "1002", "INGLENOOK_HOST": "10.0.0.2"}
    settings = load({"port": "1003"}, environ)
    assert (settings.config.port, settings.config.host, settings.config.dev) == (1003, "10.0.0.2", True)
    assert settings.config.workers == 1
    assert settings.values["port"].origin == "flag"
    assert settings.values["host"].origin == "environment"
    assert settings.values["dev"].origin == f"file {tmp_path / 'config.toml'}"
    assert settings.values["workers"].origin == "default"


def test_the_usual_places_are_looked_at(tmp_path: Path) -> None:
    place = tmp_path / "xdg" / "inglenook"
    place.mkdir(parents=True)
    (place / "config.toml").write_text("port = 1001\n")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "XDG_DATA_HOME": "/var/somewhere", "HOME": str(tmp_path)}
    settings = load({}, environ)
    assert settings.config.port == 1001
    assert settings.config.data == Path("/var/somewhere/inglenook")


def test_tables_of_the_file_are_read(tmp_path: Path) -> None:
    text = """
        [contexts.default]
        default_redirection = "home/"
        [contexts.default.sharing]
        trusted_domains = ["example.org"]
        [files.versioning]
        max_number_to_keep = 5
        min_delay_between_two_versions = "1h30m"
    """
    config = load({}, config_file(tmp_path, text)).config
    assert config.context("")["sharing"]["trusted_domains"] == ["example.org"]
    assert (config.versions_to_keep, config.seconds_between_versions) == (5, 5400.0)


@pytest.mark.parametrize(
    ("flags", "environ", "file", "named", "near"),
    [
        ({}, {"INGLENOOK_PROT": "1"}, "", "INGLENOOK_PROT", "INGLENOOK_PORT"),
        ({}, {}, "worker = 2", "worker", "workers"),
        ({}, {}, "[context.default]\na = 1", "context", "contexts"),
        ({}, {}, "[files.versionning]\na = 1", "files.versionning", "files.versioning"),
        (
            {},
            {},
            "[files.versioning]\nmax_number_to_kep = 1",
            "max_number_to_kep",
            "files.versioning.max_number_to_keep",
        ),
        ({"hots": "x"}, {}, "", "hots", "host"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(
    tmp_path: Path, flags: dict[str, str], environ: dict[str, str], file: str, named: str, near: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        load(flags, {**config_file(tmp_path, file), **environ})
    assert named in str(raised.value)
    assert f"did you mean {near}?" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "high"), ("PORT", "0"), ("DEV", "perhaps"), ("SUBDOMAINS", "sideways"), ("WORKERS", "0"),
        ("SMTP_URL", "http://mail.example"), ("LOG_LEVEL", "loud"), ("DATA", ""),
    ],
)  # fmt: skip
def test_an_impossible_value_is_an_error_that_names_its_key(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name.lower()):
        load({}, {"HOME": str(tmp_path), f"INGLENOOK_{name}": text})


def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"config\.toml"):
        load({}, config_file(tmp_path, "port = "))
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        load({}, {"INGLENOOK_CONFIG": str(tmp_path / "nowhere.toml")})


def test_a_secret_can_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "smtp"
    secret.write_text("smtp://bob:hunter2@mail.example:587\n")
    for environ in (
        {"HOME": str(tmp_path), "INGLENOOK_SMTP_URL_FILE": str(secret)},
        config_file(tmp_path, f'smtp_url_file = "{secret}"'),
    ):
        assert load({}, environ).config.smtp_url == "smtp://bob:hunter2@mail.example:587"
    with pytest.raises(SettingsError, match="smtp_url_file"):
        load({}, {"HOME": str(tmp_path), "INGLENOOK_SMTP_URL_FILE": str(tmp_path / "nothing")})


def test_credentials_of_a_url_are_not_shown() -> None:
    assert masked("smtp_url", "smtp://bob:hunter2@mail.example:587?starttls=1") == "smtp://***@mail.example:587?***"
    assert masked("smtp_url", "") == ""
    assert masked("dev", True) == "on"
    assert masked("trusted_proxies", ("10.0.0.1", "10.0.0.2")) == "10.0.0.1,10.0.0.2"


def test_flags_are_taken_out_of_a_command_line_wherever_they_stand() -> None:
    line = ["--data", "/d", "files", "ls", "-c=/f", "--json", "--", "--data", "x"]
    flags, rest = take_flags(line, frozenset({"config", "data"}))
    assert flags == {"data": "/d", "config": "/f"}
    assert rest == ["files", "ls", "--json", "--", "--data", "x"]
    flags, rest = take_flags(["serve", "--dev", "--log-level=debug", "--port", "1"], frozenset(KEYS))
    assert (flags, rest) == ({"dev": "on", "log_level": "debug", "port": "1"}, ["serve"])


@pytest.mark.parametrize(("text", "seconds"), [("15m", 900), ("1h30m", 5400), ("500ms", 0.5), ("2d", 172800), ("7", 7)])
def test_durations(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1x", "1h soon", "-1m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        read_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("10GB", 10**10), ("1.5 MiB", 1572864), ("500", 500), ("3k", 3000), ("-1", -1), ("0", 0)]
)
def test_sizes(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_550_000, "1.6 MB"), (10**10, "10 GB")]
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert show_size(size) == text


def test_config_show_tells_values_and_origins_without_secrets(operator: Operator) -> None:
    operator.environ["INGLENOOK_SMTP_URL"] = "smtp://bob:hunter2@mail.example:587"
    (operator.folder / "own.toml").write_text('[contexts.default.office]\ninbox_secret = "opensesame"\n')
    words = ("config", "show", "--port=1234", "--config", "own.toml")
    text = operator.ask(*words)
    shown = json.loads(operator.ask(*words, "--json"))
    assert shown["port"] == {"value": "1234", "origin": "flag"}
    assert shown["smtp_url"] == {"value": "smtp://***@mail.example:587", "origin": "environment"}
    assert shown["contexts"] == {"default": {"office": {"inbox_secret": "***"}}}
    for secret in ("hunter2", "opensesame"):
        assert secret not in text + json.dumps(shown)
    assert not operator.data.exists()


def test_config_check_fails_with_the_cause(operator: Operator) -> None:
    assert "data: " in operator.ask("config", "check")
    operator.environ["INGLENOOK_SMTP_URL"] = f"smtp://127.0.0.1:{operator.port}"
    done = operator.run("config", "check")
    assert done.returncode == 1
    assert "smtp_url: FAILED" in done.stdout.decode()


def test_a_bad_configuration_stops_every_command(operator: Operator) -> None:
    operator.environ["INGLENOOK_PROT"] = "1"
    for words in (("serve",), ("instances", "ls"), ("config", "show")):
        assert "INGLENOOK_PORT" in operator.refused(*words, code=2)


def test_a_database_out_of_reach_is_told_in_one_line(operator: Operator) -> None:
    operator.environ["INGLENOOK_DATABASE_URL"] = "postgresql://127.0.0.1:1/inglenook"
    assert "The storage is out of reach" in operator.refused("serve")
