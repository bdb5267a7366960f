"""The mails that the server writes by itself: their texts in the language of the user (spec/07 §4.2).

A template has a subject, a text part and an HTML part that say the same and carry the same link. The words are in
`locales/`, the two layouts in `templates/`; the table below says which values a mail has and what part they play.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2

from inglenook.identity import translations
from inglenook.identity.translations import translate
from inglenook.kernel.errors import BadRequest

translations.extend("inglenook.mail")

LAYOUTS = ("layout", "layout-cozycloud")
LONGEST_VALUE = 10_000
"""Characters of one value that find their way into a mail."""

LAYOUT = jinja2.Environment(
    loader=jinja2.PackageLoader("inglenook.mail", "templates"),
    autoescape=jinja2.select_autoescape(("html",)),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
)


@dataclass(frozen=True, slots=True)
class Template:
    """What the values of a mail are for.

    `words` take their place in the texts. `link` is the button, `code` is shown large, `quote` are lines set apart.
    `alternative` names a value that decides between two texts (`text.yes` when it is there and true, `text.no`).
    `more` are values that bring a paragraph of their own when they are there and true.
    """

    words: tuple[str, ...] = ()
    link: str = ""
    code: str = ""
    quote: tuple[str, ...] = ()
    alternative: str = ""
    more: tuple[str, ...] = ()


TEMPLATES: Mapping[str, Template] = {
    # sharing (spec/04 §23.1)
    "sharing_request": Template(
        words=("SharerPublicName", "SharerEmail", "Action", "Description", "TitleType", "DocType"),
        link="SharingLink",
        alternative="SharerEmail",
    ),
    "notifications_sharing": Template(
        words=("SharerPublicName", "Action", "TitleType", "TargetType", "TargetName"), link="SharingLink"
    ),
    "sharing_to_confirm": Template(words=("PublicName", "MemberName"), link="Link"),
    "sharing_file_changed": Template(words=("SharingDescription", "FileName"), link="FileURL", alternative="IsFolder"),
    "sharing_access_request": Template(words=("MemberName", "Description"), quote=("Message",), link="Link"),
    "sharing_member_lost": Template(words=("MemberName", "Description"), link="Link"),
    # the account (spec/03)
    "passphrase_hint": Template(quote=("Hint",)),
    "passphrase_reset": Template(link="PassphraseResetLink"),
    "two_factor": Template(code="TwoFactorPasscode"),
    "two_factor_mail_confirmation": Template(code="TwoFactorActivationPasscode"),
    "magic_link": Template(link="MagicLink"),
    "confirm_flagship": Template(code="Code"),
    "update_email": Template(link="EmailUpdateLink"),
    "onboarding": Template(words=("Domain",), link="OnboardingLink"),
    "new_connection": Template(quote=("City", "Country", "IPAddress", "Browser", "OS"), link="ChangePassphraseLink"),
    "new_registration": Template(quote=("DeviceName", "City", "Country"), link="DevicesLink"),
    # export, import, move (spec/12)
    "archiver": Template(link="ArchiveLink"),
    "import_success": Template(
        words=("AppsNotInstalled", "Remarks"), link="CozyLink", alternative="AppsNotInstalled", more=("Remarks",)
    ),
    "import_error": Template(),
    "export_error": Template(),
    "move_confirm": Template(words=("Source", "Target"), link="ConfirmLink", alternative="Target"),
    "move_success": Template(
        words=("AppsNotInstalled", "Remarks"), link="CozyLink", alternative="AppsNotInstalled", more=("Remarks",)
    ),
    "move_error": Template(),
    # services
    "alert_account": Template(link="InstanceURL"),
    "support_request": Template(quote=("Body",)),
    "notifications_diskquota": Template(link="CozyDriveLink"),
    "notifications_oauthclients": Template(link="DevicesLink"),
    "notifications_antivirus": Template(words=("FileName",)),
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A mail in words."""

    subject: str
    text: str
    html: str


def render(name: str, values: Mapping[str, Any], *, locale: str, recipient: str = "", domain: str = "") -> Rendered:
    """Write a mail. `recipient` is the name to greet, `domain` who sends it.

    Values of another kind than text, number or truth value count as absent. Raises BadRequest for an unknown name.
    """
    template = TEMPLATES.get(name)
    if template is None:
        raise BadRequest(f'Could not find email named "{name}"')
    words = {word: text_of(values, word) for word in template.words}
    part = f"mail.{name}"
    key = f"{part}.text"
    if template.alternative:
        key += ".yes" if text_of(values, template.alternative) else ".no"
    more = [_say(locale, f"{part}.more.{name}", words) for name in template.more if words[name] not in ("", "0")]
    link = link_of(template, values)
    button = _say(locale, f"{part}.button", words) or translate(locale, "mail.default_button")
    subject = " ".join(_say(locale, f"{part}.subject", words).split())
    context = {
        "locale": locale.partition("-")[0].partition("_")[0] or "en",
        "subject": subject,
        "greeting": _greeting(locale, recipient),
        "paragraphs": [one.strip() for one in (*_say(locale, key, words).split("\n\n"), *more)],
        "quote": "\n".join(filter(None, (text_of(values, word) for word in template.quote))),
        "code": code_of(template, values),
        "link": link,
        "button": button,
        "link_line": translate(locale, "mail.link_line", button=button),
        "link_hint": translate(locale, "mail.link_hint"),
        "notes": [note for note in (_say(locale, f"{part}.note", words),) if note],
        "signature": translate(locale, "mail.signature", domain=domain),
    }
    text = LAYOUT.get_template("letter.txt").render(context)
    return Rendered(subject, text, LAYOUT.get_template("letter.html").render(context))


def text_of(values: Mapping[str, Any], name: str) -> str:
    """A value as text; empty when it is absent, false, or of a kind that is no text."""
    value = values.get(name)
    if value is True:
        return name
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    printable = (character if character.isprintable() or character == "\n" else " " for character in str(value))
    return "".join(printable)[:LONGEST_VALUE].strip()


def link_of(template: Template, values: Mapping[str, Any]) -> str:
    """The address of the button: the template's own value, else any value that is named like a link."""
    names = [template.link, *(name for name in values if name.endswith("Link"))]
    return next((link for link in (text_of(values, name) for name in names) if is_web_address(link)), "")


def code_of(template: Template, values: Mapping[str, Any]) -> str:
    """The code to be shown large."""
    names = [template.code, *(name for name in values if name.endswith(("Passcode", "Code")))] if template.code else []
    return next(filter(None, (text_of(values, name) for name in names)), "")


def is_web_address(text: str) -> bool:
    """Whether a text can be followed as a link: http(s), without spaces."""
    return text.startswith(("http://", "https://")) and not any(character.isspace() for character in text)


def _greeting(locale: str, recipient: str) -> str:
    name = " ".join(recipient.split())
    return translate(locale, "mail.greeting", name=name) if name else translate(locale, "mail.greeting.nobody")


def _say(locale: str, key: str, words: Mapping[str, str]) -> str:
    return translate(locale, key, **words) if key in translations.keys("en") else ""
