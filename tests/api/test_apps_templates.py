"""The template of an app's page: what is replaced where, and what is left alone (spec/03 §12.5)."""

from __future__ import annotations

import html
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.apps import matching, page_template, policy
from inglenook.apps.page_template import Markup, UnknownVariable

NASTY = "\"'<>&+ </script>`\u2028\0"


def render(page: str, **variables: str | bool) -> str:
    """A page filled in."""
    template = page_template.template(page)
    assert template is not None
    return template.render({"Warnings": Markup(""), **variables})


def test_text_and_attributes_are_escaped_as_clients_expect() -> None:
    assert render('<p x="{{.A}}">{{ .A }}</p>', A="\"'<>&+") == (
        '<p x="&#34;&#39;&lt;&gt;&amp;&#43;">&#34;&#39;&lt;&gt;&amp;&#43;</p>'
    )
    assert render("<p x={{.A}}>", A="a b=c`") == "<p x=a&#32;b&#61;c&#96;>"


def test_markup_goes_into_the_text_only() -> None:
    link = Markup("<link>")
    assert render("<head>{{.A}}</head>", A=link) == "<head><link></head>"
    assert render('<p x="{{.A}}">', A=link) == '<p x="&lt;link&gt;">'


def test_scripts_get_values_of_their_language() -> None:
    page = "<script>var a = {{.A}}, b = '{{.A}}', c = {{.B}}</script>"
    text = render(page, A=NASTY, B=True)
    assert "</script>" not in text.removesuffix("</script>")
    literal = text.partition("var a = ")[2].partition(", b")[0]
    assert json.loads(literal) == NASTY
    assert text.endswith(", c = true</script>")


def test_conditions_comments_and_trimming() -> None:
    page = "a {{- if .A -}} b {{- else -}} c {{- end }} d{{/* nothing */}}"
    assert render(page, A=True) == "ab d"
    assert render(page, A=False) == "ac d"
    assert render("{{if .A}}{{if .B}}x{{end}}y{{end}}", A=True, B=False) == "y"


@pytest.mark.parametrize(
    "page", ["{{", "{{ foo }}", "{{.A", "{{if .A}}x", "{{end}}", "{{else}}", "{{.A.}}",
             "{{if .A}}{{else}}{{else}}{{end}}", "style={{color: red}}", "{{if .A}}" * 10_000]
)  # fmt: skip
def test_what_is_no_template_is_left_alone(page: str) -> None:
    assert page_template.template(page) is None


def test_an_unknown_variable_is_named() -> None:
    with pytest.raises(UnknownVariable, match="Nothing"):
        render("{{.Nothing}}")


def test_warnings_come_at_the_end_of_the_head() -> None:
    def warned(page: str) -> str:
        template = page_template.template(page)
        assert template is not None
        return template.render({"Warnings": Markup("<meta>")})

    assert warned("<head><title></title></head><body>") == "<head><title></title><meta></head><body>"
    assert warned("<html><body x>") == "<html><head><meta></head><body x>"
    assert warned("plain") == "plain"


@given(st.text())
def test_no_value_breaks_out_of_its_place(value: str) -> None:
    page = render('<p x="{{.A}}">{{.A}}</p>', A=value)
    attribute, _, rest = page.removeprefix('<p x="').partition('">')
    assert html.unescape(attribute) == html.unescape(rest.removesuffix("</p>"))
    assert not set(attribute) & set("\"'<>")


@given(st.text(alphabet="{}.-/*iafelsnd AB\n<>\"'=script", max_size=60))
def test_any_page_is_read_or_left_alone(page: str) -> None:
    template = page_template.template(page)
    if template is not None:
        with suppress(UnknownVariable):
            template.render({"A": "x", "B": True, "Warnings": Markup("")})


ROUTES = {
    "/": {"folder": "/", "index": "index.html"},
    "/public": {"folder": "/open", "index": "index.html", "public": True},
    "/public/deep/": {"folder": "/deep/er", "index": "page.html", "public": True},
    "/assets": {"folder": "assets", "public": True},
}


@pytest.mark.parametrize(
    ("path", "file", "public", "is_index"),
    [
        ("/", "/index.html", False, True),
        ("/index.html", "/index.html", False, True),
        ("/publications", "/publications", False, False),
        ("/public", "/open/index.html", True, True),
        ("/public/x/y.js", "/open/x/y.js", True, False),
        ("/public/../x", "/x", False, False),
        ("/public/deep", "/deep/er/page.html", True, True),
        ("/public/deep/a", "/deep/er/a", True, False),
        ("/assets", "/assets/", True, False),
        ("/assets/../../../x", "/x", False, False),
        ("//assets//a", "/assets/a", True, False),
    ],
)
def test_the_longest_route_decides(path: str, file: str, public: bool, is_index: bool) -> None:
    assert matching.match(ROUTES, path) == matching.Target(file, public, is_index)


def test_without_a_route_for_the_root_some_paths_lead_nowhere() -> None:
    routes = {"/public": ROUTES["/public"]}
    assert matching.match(routes, "/") is None
    assert matching.match(routes, "/other") is None


@pytest.mark.parametrize(
    ("name", "fixed"),
    [("/app.0123456789abcdef.js", True), ("/x.immutable.css", True), ("/app.js", False), ("/app.012345678.js", False),
     ("/a.0123456789.b/app.js", False)],
)  # fmt: skip
def test_names_with_a_fingerprint(name: str, fixed: bool) -> None:
    assert matching.is_fixed(name) is fixed


@pytest.mark.parametrize(
    ("address", "origin"),
    [("https://a.example:8443/x?y#z", "https://a.example:8443"), ("javascript:x", ""), ("https://a b/", ""),
     ("https://*.example", ""), (5, ""), ("https://a.example;x", ""), ("http://[::1", "")],
)  # fmt: skip
def test_only_origins_get_into_a_policy(address: object, origin: str) -> None:
    assert policy.origin_of(address) == origin
