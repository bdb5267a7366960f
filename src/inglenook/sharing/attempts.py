"""One attempt of a step, and what follows from it: done, refused, or waiting for the next try (DESIGN, idea 3).

Both the runner and the routes that do not want to wait for it come through here.
"""

from __future__ import annotations

import asyncio

import structlog

from inglenook.identity.instance import Instance
from inglenook.kernel.errors import DomainError, NotFound, Unavailable, UpstreamFailed
from inglenook.peers.errors import PeerBusy, PeerCircuitOpen, PeerForbiddenAddress, PeerRefusedTokens
from inglenook.sharing import steps
from inglenook.sharing.steps import Claim, Outcome, Step
from inglenook.storage.documents.contract import Writer

log = structlog.get_logger("inglenook.sharing")


async def attempt(instance: Instance, id: str, step: Step) -> Outcome:
    """Try a waiting step once and keep what came of it. A step that waits no more is done."""
    claim = await instance.store.read(lambda view: steps.find(view, id))
    return Outcome.DONE if claim is None else await attempt_claim(instance, claim, step)


async def attempt_claim(instance: Instance, claim: Claim, step: Step) -> Outcome:
    """Try a step once and keep what came of it."""
    outcome, error, patience = await _try(instance, claim, step)
    waiting = claim.waiting
    now = instance.env.clock.now().timestamp()
    if outcome is Outcome.AGAIN and now - (waiting.since or now) < step.give_up_after:
        next_try = now + max(patience, _delay(instance, step, waiting.attempts))
        log.info(
            "sharing step waits", instance=instance.domain, sharing=waiting.sharing, step=waiting.step,
            member=waiting.member, attempts=waiting.attempts + 1, cause=error, next_in=round(next_try - now, 1),
        )  # fmt: skip
        await instance.store.write(lambda tx: steps.postpone(tx, claim, now, next_try, error))
        return outcome
    if outcome is not Outcome.DONE:
        tell = log.info if outcome is Outcome.REFUSED else log.warning
        tell(
            "sharing step ended", instance=instance.domain, sharing=waiting.sharing, step=waiting.step,
            member=waiting.member, cause=error or "refused",
            effect=step.on_refused if outcome is Outcome.REFUSED else step.on_given_up,
        )  # fmt: skip

    def end(tx: Writer) -> None:
        steps.done(tx, claim)
        if step.ended is not None:
            step.ended(tx, claim, outcome)

    await instance.store.write(end)
    return outcome


async def _try(instance: Instance, claim: Claim, step: Step) -> tuple[Outcome, str, float]:
    try:
        async with asyncio.timeout(step.time_out):
            return await step.attempt(instance, claim), "", 0.0
    except TimeoutError:
        return Outcome.AGAIN, "no answer in time", 0.0
    except (PeerCircuitOpen, PeerBusy) as error:
        return Outcome.AGAIN, error.detail, error.retry_after
    except (PeerForbiddenAddress, PeerRefusedTokens) as error:
        return Outcome.REFUSED, error.detail, 0.0
    except (UpstreamFailed, Unavailable) as error:  # the other server is in trouble, or this one is
        return Outcome.AGAIN, error.detail, 0.0
    except NotFound:
        return Outcome.DONE, "", 0.0
    except DomainError as error:
        return Outcome.REFUSED, error.detail, 0.0


def judge(status: int) -> Outcome:
    """What an answer's status means for a notice: a server that is in trouble is asked again, any other answer than
    a success is final."""
    if 200 <= status < 300:
        return Outcome.DONE
    return Outcome.AGAIN if status >= 500 or status in (408, 425, 429) else Outcome.REFUSED


def _delay(instance: Instance, step: Step, attempts: int) -> float:
    doubled = step.first_retry * 2.0 ** min(attempts, 40)
    return min(doubled, step.slowest_retry) * (0.75 + 0.5 * instance.env.random.uniform())
