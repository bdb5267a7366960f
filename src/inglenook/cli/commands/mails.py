"""`inglenook mails`: the mails that are kept because no mail server is configured (spec/10 §2, §3)."""

from __future__ import annotations

import asyncio

from inglenook.cli.invocation import Called, Flag


async def mails(*, domain: str = "", limit: int = 20, json: Flag = False, call: Called) -> None:
    """Show the mails that were kept because no mail server is configured, newest first.

    Parameters
    ----------
    domain
        Only those of one instance.
    limit
        At most so many.
    json
        One object per line.
    """
    from inglenook.environment import rfc3339
    from inglenook.mail.delivery import kept_mails

    kept = await asyncio.to_thread(kept_mails, call.settings.config, domain=domain, limit=limit)
    for mail in kept:
        shown = {"at": rfc3339(mail.at), "domain": mail.domain, "to": mail.to, "subject": mail.subject}
        if json:
            call.put_json_line({**shown, "text": mail.text, "path": str(mail.path)})
        else:
            for name, value in shown.items():
                call.put(f"{name.capitalize()}: {value}")
            call.put(f"\n{mail.text.strip()}\n\n{'-' * 72}")
    if not kept:
        call.say("No mail was kept")
