"""Names of files, folders and domains (spec/02 §3, §15.1; spec/03 §1.1; spec/05 §5.7)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.kernel import names
from inglenook.kernel.errors import BadRequest, Conflict, InvalidParameter


class Dice:
    def bytes(self, count: int) -> bytes:
        return random.randbytes(count)


def free(_: str) -> bool:
    return False


def test_plain_names_are_kept_as_they_are() -> None:
    for name in ("a", " a ", "a\\b", "…", "con", "é", "e\u0301", "x" * 300, "...", "a\tb"):
        names.check_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0", "a\nb", "a\r"])
def test_impossible_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        names.check_name(name)
    assert caught.value.parameter == "name"
    assert caught.value.detail == "Invalid filename: empty or contains an illegal character"


@pytest.mark.parametrize(
    ("name", "is_file", "expected"),
    [
        ("name.ext", True, "name (2).ext"),
        ("a.tar.gz", True, "a.tar (2).gz"),
        ("a.tar.gz", False, "a.tar.gz (2)"),
        ("foo (2).txt", True, "foo (3).txt"),
        ("foo (41)", False, "foo (42)"),
        ("foo(2).txt", True, "foo(2) (2).txt"),
        ("foo (copy).txt", True, "foo (copy) (2).txt"),
        (".env", True, " (2).env"),
        ("x", True, "x (2)"),
        ("foo (٣)", False, "foo (٣) (2)"),
    ],
)
def test_conflict_names(name: str, is_file: bool, expected: str) -> None:
    assert names.conflict_name(name, is_file=is_file, taken=free) == expected


def test_a_conflict_name_skips_what_is_taken() -> None:
    used = {"a (2).txt", "a (3).txt"}
    assert names.conflict_name("a.txt", is_file=True, taken=used.__contains__) == "a (4).txt"


def test_finding_a_name_ends() -> None:
    with pytest.raises(Conflict):
        names.conflict_name("a", is_file=True, taken=lambda _: True)
    with pytest.raises(Conflict):
        names.numbered_name("a", taken=lambda _: True, last=18)


def test_numbers_behind_the_whole_name() -> None:
    assert names.numbered_name("Plans", taken=free) == "Plans"
    assert names.numbered_name("a.url", taken={"a.url", "a.url (2)"}.__contains__) == "a.url (3)"


def test_names_of_the_trash_have_nine_digits_at_their_end() -> None:
    name = names.trash_name("a.txt", Dice())
    assert name.startswith("a.txt (")
    assert len(name) == len("a.txt (048151623)")
    assert name[7:16].isdigit()


@pytest.mark.parametrize(
    ("name", "restored"),
    [
        ("holiday (2)", "holiday"),
        ("a.txt (048151623)", "a.txt"),
        ("report (2).pdf", "report (2).pdf"),
        ("photo(1)", "photo(1)"),
        ("x(1)", "x(1)"),
        (" (1)", " (1)"),
        (".. (1)", ".. (1)"),
        ("a (1) (2)", "a (1)"),
        ("draft ()", "draft ()"),
    ],
)
def test_a_conflict_mark_is_cut_when_a_name_remains(name: str, restored: str) -> None:
    assert names.strip_conflict_mark(name) == restored


def test_copies_are_named_in_the_language_of_the_instance() -> None:
    assert names.copy_name("a.tar.gz", "en") == "a.tar (copy).gz"
    assert names.copy_name(".env", "fr") == " (copie).env"
    assert names.copy_name("a", "xx") == "a (copy)"


def test_a_folder_says_that_its_sharing_has_ended() -> None:
    assert names.cancelled_name("Plans", "fr", taken=free) == "Plans (partage annulé)"
    taken = {"Plans (cancelled sharing)"}
    assert names.cancelled_name("Plans", "xx", taken=taken.__contains__) == "Plans (cancelled sharing) (2)"


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/", "/"), ("//", "/"), ("//a", "/a"), ("/a//b/./c/", "/a/b/c"), ("/a/../b", "/b"), ("/../..", "/")],
)
def test_paths_are_cleaned(path: str, clean: str) -> None:
    assert names.clean_path(path) == clean


@pytest.mark.parametrize("path", ["", "a", "./a"])
def test_paths_are_absolute(path: str) -> None:
    with pytest.raises(BadRequest, match="Path should be absolute"):
        names.clean_path(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plain.txt", 'inline; filename="plain.txt"'),
        ("foo bar.jpg", "inline; filename=\"foobar.jpg\"; filename*=UTF-8''foo%20bar.jpg"),
        ("héçà", "inline; filename=\"h\"; filename*=UTF-8''h%C3%A9%C3%A7%C3%A0"),
        ('a"b\\c', "inline; filename=\"abc\"; filename*=UTF-8''a%22b%5Cc"),
        ("日本", "inline; filename=\"download\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
    ],
)
def test_a_name_in_any_script_is_offered_for_download(name: str, value: str) -> None:
    assert names.download_disposition(name, False) == value
    assert names.download_disposition(name, True) == value.replace("inline", "attachment", 1)


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        (" Alice.Example.COM ", "alice.example.com"),
        ("alice.test.localhost:8081", "alice.test.localhost:8081"),
        ("xn--caf-dma.example", "café.example"),
        ("alice", "alice"),
    ],
)
def test_domains_have_a_normal_form(value: str, domain: str) -> None:
    assert names.domain_name(value) == domain
    assert names.domain_name(domain) == domain


@pytest.mark.parametrize(
    "value",
    ["", " ", ".", "..", ".a", "a b", "a/b", "a,b", "a;b", "a&b", "a?b", "a#b", "a@b", "a|b", "a=b", "a'b", 'a"b',
     "a\tb", "a\nb", "a\0b", "a:", "a:x", "a:0", "a:70000", ":80", "a..b"],
)  # fmt: skip
def test_impossible_domains_are_refused(value: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        names.domain_name(value)
    assert caught.value.parameter == "domain"


good = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=8).filter(names.is_name)


@given(good, st.booleans(), st.sets(good, max_size=5))
def test_a_conflict_name_is_free_valid_stable_and_keeps_the_extension(name: str, is_file: bool, used: set[str]) -> None:
    used = used | {name} | {names.conflict_name(name, is_file=is_file, taken=free)}
    found = names.conflict_name(name, is_file=is_file, taken=used.__contains__)
    assert found not in used
    assert names.is_name(found)
    assert found == names.conflict_name(name, is_file=is_file, taken=used.__contains__)
    if is_file:
        assert names.split_extension(found)[1] == names.split_extension(name)[1]


@given(good)
def test_trashing_and_restoring_gives_the_name_back(name: str) -> None:
    assert names.strip_conflict_mark(names.trash_name(name, Dice())) == name


@given(st.text("ab./", max_size=12))
def test_cleaning_a_path_twice_is_cleaning_it_once(path: str) -> None:
    clean = names.clean_path("/" + path)
    assert names.clean_path(clean) == clean
    assert not {"", ".", ".."} & set(clean.split("/")[1:]) or clean == "/"
