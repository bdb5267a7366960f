"""`inglenook serve`: the server itself (spec/10 §3)."""

from __future__ import annotations

from inglenook.cli import worker
from inglenook.cli.answering import answering_commands
from inglenook.cli.invocation import Called, CommandFailed
from inglenook.cli.standalone import refuse_for_another_user


async def serve(*, call: Called) -> None:
    """Run the server until SIGINT or SIGTERM.

    Every key of the configuration is a flag as well: --data FOLDER, --host H, --port P, --dev, --workers N,
    --role all|web|worker, --subdomains nested|flat, --tls-cert FILE, --tls-key FILE, --trusted-proxies A,B,
    --database-url URL, --blobs-url URL, --bus-url URL, --smtp-url URL, --metrics HOST:PORT, --log-level L,
    --log-format console|json, --extensions all|none. What each means: inglenook config show.
    """
    from inglenook.environment import Environment
    from inglenook.web import logs
    from inglenook.web.lock import DataFolderTaken
    from inglenook.web.serve import serve as run
    from inglenook.web.serve import serve_by_several
    from inglenook.web.supervisor import WorkerFailed

    config = call.settings.config
    refuse_for_another_user(config.data)
    refuse_what_is_missing(call)
    logs.configure(config)
    env = Environment(config)
    try:
        if config.workers > 1:
            settings = call.settings
            await serve_by_several(env, worker.COMMAND, lambda *place: worker.describe(settings, *place))
        else:
            await run(env, lambda runtime: answering_commands(runtime, call))
    except DataFolderTaken as taken:
        raise CommandFailed(f"{taken}. Stop it first, or choose another folder with --data") from None
    except WorkerFailed as failure:
        raise CommandFailed(str(failure)) from None


def refuse_what_is_missing(call: Called) -> None:
    """Raise CommandFailed for a configuration that asks for what is not installed, or cannot work."""
    from inglenook.web.backends import is_shared, missing

    config = call.settings.config
    if packages := missing(config):
        raise CommandFailed(f"Not installed: {', '.join(packages)}. Try: pip install 'inglenook[distributed]'")
    if config.role != "all" and not is_shared(config):
        raise CommandFailed(f"role: a process that is only {config.role} needs a database_url on PostgreSQL")
