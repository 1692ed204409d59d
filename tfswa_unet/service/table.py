"""The table of jobs in SQLite or Postgres: who made them, how far they are, and who works on them until when.

A job is separated anew where the process that worked on it is gone. A worker holds it by a lease, which it renews; a
lease that ran out, or whose holder is known to be dead, frees the job for any worker. Every change is one statement, or
begins with the one that takes the lock, so that it holds with several processes and machines.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

State = Literal["queued", "running", "done", "failed"]
ACTIVE = ("queued", "running")
# What lets one process at a time make the tables; the number is any that no other program takes.
ALONE = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(7481925502)"}
TOTALS = ("done", "failed", "cancelled", "audio_seconds", "work_seconds")

METADATA = sql.MetaData()
JOBS = sql.Table(
    "jobs",
    METADATA,
    sql.Column("id", sql.String(32), primary_key=True),
    sql.Column("owner", sql.String(64), nullable=False, index=True),
    sql.Column("batch", sql.String(32), index=True),
    sql.Column("name", sql.Text, nullable=False),
    sql.Column("options", sql.JSON, nullable=False),
    sql.Column("state", sql.String(16), nullable=False, index=True),
    sql.Column("progress", sql.Float, nullable=False),
    sql.Column("created", sql.Double, nullable=False, index=True),
    sql.Column("started", sql.Double),
    sql.Column("finished", sql.Double),
    sql.Column("expires", sql.Double),
    sql.Column("worker", sql.String(128)),
    sql.Column("lease", sql.Double),
    sql.Column("attempts", sql.Integer, nullable=False),
    sql.Column("error", sql.Text),
    sql.Column("facts", sql.JSON, nullable=False),
)
COUNTS = sql.Table(
    "totals",
    METADATA,
    sql.Column("name", sql.String(32), primary_key=True),
    sql.Column("value", sql.Double, nullable=False),
)
TOKENS = sql.Table(
    "tokens",
    METADATA,
    sql.Column("name", sql.String(64), primary_key=True),
    sql.Column("digest", sql.String(64), nullable=False, unique=True),
)


@dataclass(frozen=True)
class Job:
    """One song to separate; times in s since 1970. `facts` are those of `FileResult.plain` and the stems' files."""

    id: str
    owner: str
    batch: str | None
    name: str  # as the client wrote it; never part of a path
    options: Mapping[str, Any]
    created: float
    state: State = "queued"
    progress: float = 0.0
    started: float | None = None
    finished: float | None = None
    expires: float | None = None
    worker: str | None = None
    lease: float | None = None
    attempts: int = 0
    error: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def new_id() -> str:
    """An id that nobody guesses."""
    return secrets.token_hex(16)


class JobTable:
    """The jobs of a service, of all its processes.

    Args:
        url: the database, as SQLAlchemy names it.
    """

    def __init__(self, url: str) -> None:
        sqlite = url.startswith("sqlite")
        pool = {"connect_args": {"timeout": 30}} if sqlite else {"pool_pre_ping": True}
        self._engine = sql.create_engine(url, pool_size=16, max_overflow=32, **pool)
        if sqlite:
            sql.event.listen(self._engine, "connect", _write_ahead)
        with self._engine.begin() as connection:
            if first := ALONE.get(self._engine.dialect.name):
                connection.exec_driver_sql(first)
            METADATA.create_all(connection)
            there = set(connection.execute(sql.select(COUNTS.c.name)).scalars())
            for name in TOTALS:
                if name not in there:
                    connection.execute(COUNTS.insert().values(name=name, value=0.0))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def submit(self, jobs: Sequence[Job], queued: int, of_owner: int) -> bool:
        """Add jobs of one owner, all or none; give whether there was room.

        Args:
            jobs: with state queued.
            queued: the most that may wait, of all owners.
            of_owner: the most that may wait or run, of this owner.
        """
        columns = [column.name for column in JOBS.columns]
        with self._engine.begin() as connection:
            for place, job in enumerate(jobs):
                values = [sql.literal(getattr(job, name), JOBS.c[name].type).label(name) for name in columns]
                # Those of this call that are there already are counted with the others.
                room = sql.and_(
                    _count(JOBS.c.state == "queued") + (len(jobs) - place) <= queued,
                    _count(JOBS.c.owner == job.owner, JOBS.c.state.in_(ACTIVE)) + (len(jobs) - place) <= of_owner,
                )
                added = JOBS.insert().from_select(columns, sql.select(*values).where(room)).returning(JOBS.c.id)
                if connection.execute(added).first() is None:
                    connection.rollback()
                    return False
        return True

    def room(self, count: int, owner: str, queued: int, of_owner: int) -> bool:
        """Whether `submit` would take so many jobs now."""
        with self._engine.connect() as connection:
            waiting, own = connection.execute(
                sql.select(_count(JOBS.c.state == "queued"), _count(JOBS.c.owner == owner, JOBS.c.state.in_(ACTIVE)))
            ).one()
        return waiting + count <= queued and own + count <= of_owner

    def get(self, id: str, owner: str | None = None) -> Job | None:
        """A job by its id, where it is the owner's; of any owner for None."""
        found = self.listed(JOBS.c.id == id, *([] if owner is None else [JOBS.c.owner == owner]))
        return found[0] if found else None

    def of(self, owner: str, batch: str | None = None, limit: int = 500) -> list[Job]:
        """An owner's jobs, of one batch or all, the newest first."""
        only = [] if batch is None else [JOBS.c.batch == batch]
        return self.listed(JOBS.c.owner == owner, *only, limit=limit)

    def listed(self, *conditions: Any, limit: int | None = None) -> list[Job]:
        """The jobs for which conditions on `JOBS` hold, the newest first."""
        query = sql.select(JOBS).where(*conditions).order_by(JOBS.c.created.desc(), JOBS.c.id).limit(limit)
        with self._engine.connect() as connection:
            return [_job(row) for row in connection.execute(query)]

    def before(self, job: Job) -> int:
        """How many jobs wait before a queued one."""
        with self._engine.connect() as connection:
            return int(
                connection.execute(
                    sql.select(_count(JOBS.c.state == "queued", JOBS.c.created < job.created))
                ).scalar_one()
            )

    def claim(self, worker: str, lease_seconds: float) -> Job | None:
        """Take the oldest job that waits, or whose worker's lease ran out; None where there is none."""
        now = time.time()
        free = sql.or_(JOBS.c.state == "queued", sql.and_(JOBS.c.state == "running", JOBS.c.lease < now))
        oldest = (
            sql.select(JOBS.c.id)
            .where(free)
            .order_by(JOBS.c.created, JOBS.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)  # SQLite, which has one writer at a time, leaves it out
            .scalar_subquery()
        )
        values = {
            "state": "running",
            "worker": worker,
            "lease": now + lease_seconds,
            "started": now,
            "progress": 0.0,
            "attempts": JOBS.c.attempts + 1,
        }
        with self._engine.begin() as connection:
            row = connection.execute(JOBS.update().where(JOBS.c.id == oldest).values(values).returning(JOBS)).first()
        return None if row is None else _job(row)

    def renew(self, job: Job, progress: float, lease_seconds: float) -> bool:
        """Hold a job for longer and say how far it is, from 0 to 1; False where it is the worker's no more."""
        return self._change(job, progress=progress, lease=time.time() + lease_seconds)

    def park(self, job: Job) -> bool:
        """Give a job back unharmed: it waits again, and the attempt is not counted."""
        return self._change(job, state="queued", worker=None, lease=None, progress=0.0, attempts=JOBS.c.attempts - 1)

    def free(self, worker: str) -> int:
        """Let the jobs of a dead worker wait again; give how many there were."""
        held = sql.and_(JOBS.c.worker == worker, JOBS.c.state == "running")
        with self._engine.begin() as connection:
            values = {"state": "queued", "worker": None, "lease": None, "progress": 0.0}
            return connection.execute(JOBS.update().where(held).values(values)).rowcount

    def finish(self, job: Job, state: State, keep_seconds: float, error: str | None, facts: Mapping[str, Any]) -> bool:
        """End a job as done or failed and count it; False where it is the worker's no more."""
        now = time.time()
        with self._engine.begin() as connection:
            ended = connection.execute(
                JOBS.update()
                .where(_held(job))
                .values(
                    state=state,
                    finished=now,
                    expires=now + keep_seconds,
                    lease=None,
                    error=error,
                    facts=dict(facts),
                    progress=1.0 if state == "done" else JOBS.c.progress,
                )
            )
            if ended.rowcount:
                _add(connection, state, 1)
                _add(connection, "audio_seconds", facts.get("seconds", 0.0))
                _add(connection, "work_seconds", facts.get("elapsed", 0.0))
        return bool(ended.rowcount)

    def delete(self, id: str, owner: str) -> bool:
        """Forget an owner's job, whatever its state, so that its worker stops; False where there is none."""
        with self._engine.begin() as connection:
            row = connection.execute(
                JOBS.delete().where(JOBS.c.id == id, JOBS.c.owner == owner).returning(JOBS.c.state)
            ).first()
            if row is not None and row.state in ACTIVE:
                _add(connection, "cancelled", 1)
        return row is not None

    def expire(self) -> list[str]:
        """Forget the jobs whose time is over; give their ids."""
        with self._engine.begin() as connection:
            return list(
                connection.execute(JOBS.delete().where(JOBS.c.expires < time.time()).returning(JOBS.c.id)).scalars()
            )

    def ids(self) -> set[str]:
        """The ids of all jobs."""
        with self._engine.connect() as connection:
            return set(connection.execute(sql.select(JOBS.c.id)).scalars())

    def states(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        with self._engine.connect() as connection:
            query = sql.select(JOBS.c.state, sql.func.count()).group_by(JOBS.c.state)
            return {state: count for state, count in connection.execute(query)}

    def totals(self) -> dict[str, float]:
        """What was done since the table was made: jobs by their end, seconds of audio and of work."""
        with self._engine.connect() as connection:
            return {name: value for name, value in connection.execute(sql.select(COUNTS.c.name, COUNTS.c.value))}

    def add_token(self, name: str, digest: str) -> bool:
        """Keep a token's hash under a name; False where the name is taken."""
        try:
            with self._engine.begin() as connection:
                connection.execute(TOKENS.insert().values(name=name, digest=digest))
        except IntegrityError:
            return False
        return True

    def remove_token(self, name: str) -> bool:
        """Forget a token; False where there is none of that name."""
        with self._engine.begin() as connection:
            return bool(connection.execute(TOKENS.delete().where(TOKENS.c.name == name)).rowcount)

    def tokens(self) -> dict[str, str]:
        """The names of tokens by their hashes."""
        with self._engine.connect() as connection:
            return {digest: name for name, digest in connection.execute(sql.select(TOKENS.c.name, TOKENS.c.digest))}

    def _change(self, job: Job, **values: Any) -> bool:
        with self._engine.begin() as connection:
            return bool(connection.execute(JOBS.update().where(_held(job)).values(**values)).rowcount)


def _held(job: Job) -> Any:
    return sql.and_(
        JOBS.c.id == job.id,
        JOBS.c.worker == job.worker,
        JOBS.c.attempts == job.attempts,
        JOBS.c.state == "running",
    )


def _count(*conditions: Any) -> Any:
    return sql.select(sql.func.count()).select_from(JOBS).where(*conditions).scalar_subquery()


def _add(connection: sql.Connection, name: str, amount: float) -> None:
    connection.execute(COUNTS.update().where(COUNTS.c.name == name).values(value=COUNTS.c.value + amount))


def _job(row: Any) -> Job:
    return Job(**{each.name: getattr(row, each.name) for each in fields(Job)})


def _write_ahead(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")  # readers and the writer do not wait for each other
    connection.execute("PRAGMA synchronous=FULL")  # what was accepted outlasts a power cut
