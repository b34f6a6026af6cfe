"""One branch of a git repository, anywhere: commits on top of it, pushed; blocking, for a thread of its own.

A repository on this machine is used as it is. Of others, history is fetched once into a mirror, and then what is new. A
push moves the branch only from the commit that ours is made on; where somebody else was faster, our commit is made
again on theirs.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from app.core.recent import Recent
from app.sinks._git_errors import RACED, refused
from app.sinks._git_transport import Place, Transport
from app.sinks.base import PermanentError, TemporaryError

if TYPE_CHECKING:
    from dulwich.objects import Commit, ObjectID
    from dulwich.repo import Repo

TRIES: Final = 5
REMEMBERED: Final = 1000
"""Commits in which a delivery is looked for before it is committed."""

TRAILER: Final = "Delivery: "

_PACKED_AFTER: Final = 500
# What git calls the place of a branch that is not there.
_NOWHERE: Final[Any] = b"0" * 40


class Change(NamedTuple):
    """What to commit. `rewrite` turns the file's content into a new one and the whole commit message."""

    delivery_id: str
    path: str
    author: str
    at: int
    rewrite: Callable[[bytes | None], tuple[bytes | None, str]]


class _Noting:
    """A store that notes what is added to it: just that is pushed, without a look at the history."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.added: list[Any] = []

    def __getitem__(self, identifier: Any) -> Any:
        return self._store[identifier]

    def add_object(self, added: Any) -> None:
        """Add and note."""
        self._store.add_object(added)
        self.added.append(added)


class _RacedError(Exception):
    """The branch is not where our commit begins."""


class Remote:
    """Keeps a mirror of the branch in a folder of its own; not safe for several threads."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._ref: Any = f"refs/heads/{place.branch}".encode()
        self._clean: Callable[[], object] = lambda: None
        self._repository: Repo | None = None
        self._transport = Transport(place)
        self._tip: ObjectID | None = None
        self._is_current = False
        self._read: ObjectID | None = None
        self._delivered: Recent[str, bool] = Recent(REMEMBERED * 2)
        self._commits = 0

    def record(self, change: Change, now: int) -> None:
        """Commit and push, unless the branch has this delivery already; raises what dulwich raises, or SinkError."""
        for _ in range(TRIES):
            self._fetch()
            if self._delivered.get(change.delivery_id):
                return
            store = _Noting(self._mirror().object_store)
            commit = self._commit(store, change, now)
            if self._push(commit, store.added):
                self._delivered.put(change.delivery_id, True)
                return
        raise TemporaryError(f"{self._place.shown}: others push to {self._place.branch} all the time")

    def close(self) -> None:
        """Free the mirror and the connections; may be called more than once."""
        self._transport.close()
        if self._repository is not None:
            self._repository.close()
        self._repository = None
        self._clean()

    def abort(self) -> None:
        """Give up what is under way, from another thread."""
        self._transport.abort()

    def _mirror(self) -> Repo:
        from dulwich.repo import Repo  # noqa: PLC0415  heavy

        if self._repository is None and self._place.local is not None:
            self._repository = Repo(self._place.local)
        if self._repository is None:
            folder = self._place.directory or self._temporary()
            exists = (folder / "HEAD").exists()
            for lock in folder.glob("refs/heads/**/*.lock"):
                # Left by a process that was killed: the folder is ours alone.
                lock.unlink(missing_ok=True)
            self._repository = Repo(str(folder)) if exists else Repo.init_bare(str(folder), mkdir=not folder.exists())
        return self._repository

    def _temporary(self) -> Path:
        """Make a folder that goes when we are closed, or are no more."""
        folder = tempfile.mkdtemp(prefix="kubewitness-git-")
        self._clean = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def _fetch(self) -> None:
        """Bring the mirror up to date, unless nobody but us has pushed as far as we know."""
        if self._is_current:
            return None
        mirror = self._mirror()
        if self._place.local is not None:
            self._tip = mirror.get_refs().get(self._ref)
            return self._learn(mirror)
        offered: list[ObjectID | None] = [None]

        def wants(refs: Any, depth: int | None = None) -> list[ObjectID]:
            tip = offered[0] = refs.get(self._ref)
            return [] if tip is None or tip in mirror.object_store else [tip]

        # Not what fetch returns: by then the branch may have moved to a commit that was not fetched.
        with self._transport.connected() as (client, path):
            client.fetch(path, mirror, determine_wants=wants)
        self._moved(mirror, offered[0])
        return self._learn(mirror)

    def _moved(self, mirror: Repo, tip: ObjectID | None) -> None:
        self._tip, self._is_current = tip, True
        if tip is not None:
            mirror.refs[self._ref] = tip

    def _learn(self, mirror: Repo) -> None:
        """Note which deliveries the branch has, from what is new of it."""
        if self._tip is None or self._tip == self._read:
            return
        exclude = [self._read] if self._read is not None and self._read in mirror.object_store else []
        walker = mirror.get_walker(include=[self._tip], exclude=exclude, max_entries=REMEMBERED)
        for entry in reversed(list(walker)):
            for delivery_id in _deliveries(entry.commit):
                self._delivered.put(delivery_id, True)
        self._read = self._tip

    def _commit(self, store: _Noting, change: Change, now: int) -> ObjectID:
        """Store the commit on top of the tip in the mirror."""
        from dulwich.objects import Commit  # noqa: PLC0415  heavy

        tree = self._tree(store)
        current = self._content(store, tree, change.path)
        content, message = change.rewrite(current)
        commit = Commit()
        commit.tree = _kept(store, tree) if content == current else _changed(store, tree, change.path, content)
        commit.parents = [self._tip] if self._tip is not None else []
        commit.author, commit.committer = change.author.encode(), self._place.committer.encode()
        commit.author_time, commit.commit_time = change.at, now
        commit.author_timezone = commit.commit_timezone = 0
        commit.encoding, commit.message = b"UTF-8", message.encode(errors="replace")
        store.add_object(commit)
        return commit.id

    def _tree(self, store: Any) -> Any:
        """Return the files of the tip; of an empty repository none."""
        from dulwich.objects import Tree  # noqa: PLC0415  heavy

        if self._tip is not None:
            return store[store[self._tip].tree]
        return Tree()

    def _content(self, store: Any, tree: Any, path: str) -> bytes | None:
        from dulwich.objects import Blob, Tree  # noqa: PLC0415  heavy

        found = tree
        for each in path.encode().split(b"/"):
            if not isinstance(found, Tree):
                raise PermanentError(f"{self._place.shown}: in the repository a file stands in the way of {path}")
            if each not in found:
                return None
            found = store[found[each][1]]
        if not isinstance(found, Blob):
            raise PermanentError(f"{self._place.shown}: in the repository a folder stands in the way of {path}")
        return found.data

    def _push(self, commit: ObjectID, added: list[Any]) -> bool:
        """Move the branch to the commit; False if it is no longer where the commit begins."""
        from dulwich.pack import pack_objects_to_data  # noqa: PLC0415  heavy

        mirror = self._mirror()
        if self._place.local is not None:
            return self._moves_here(mirror, commit)

        def pack(*_: Any, **__: Any) -> Any:
            return pack_objects_to_data([(each, None) for each in added])

        def update(refs: Any) -> Any:
            if refs.get(self._ref) != self._tip:
                raise _RacedError
            return {self._ref: commit}

        # Whatever ends a push without an answer, we do not know where the branch is.
        self._is_current = False
        try:
            with self._transport.connected() as (client, path):
                result = client.send_pack(path, update, pack)
        except _RacedError:
            return False
        said = (result.ref_status or {}).get(self._ref)
        if said is not None and not RACED.search(said):
            raise refused(said, self._place.shown, self._place.branch)
        if said is None:
            self._moved(mirror, commit)
            self._read = commit
            self._tidy(mirror)
        return said is None

    def _moves_here(self, mirror: Repo, commit: ObjectID) -> bool:
        """Move the branch of a repository on this machine, in which the commit is already."""
        if not mirror.refs.set_if_equals(self._ref, self._tip or _NOWHERE, commit):
            return False
        self._read = commit
        self._tidy(mirror)
        return True

    def _tidy(self, mirror: Repo) -> None:
        """Put what are thousands of little files in time into one."""
        self._commits += 1
        if self._commits % _PACKED_AFTER == 0:
            mirror.object_store.pack_loose_objects()


def _kept(store: _Noting, tree: Any) -> Any:
    """Return the id of the files as they are; those of an empty repository, none, are not there yet."""
    if len(tree) == 0:
        store.add_object(tree)
    return tree.id


def _changed(store: Any, tree: Any, path: str, content: bytes | None) -> Any:
    """Store the files with this one changed, or without it; return the id of their tree."""
    from dulwich.object_store import commit_tree_changes  # noqa: PLC0415  heavy
    from dulwich.objects import Blob  # noqa: PLC0415

    if content is None:
        return commit_tree_changes(store, tree, [(path.encode(), None, None)])
    blob = Blob.from_string(content)
    store.add_object(blob)
    return commit_tree_changes(store, tree, [(path.encode(), stat.S_IFREG | 0o644, blob.id)])


def _deliveries(commit: Commit) -> Iterator[str]:
    """Yield what the last line says: whatever stands before it, strangers may have written."""
    last = commit.message.decode(errors="replace").rstrip("\n").rpartition("\n")[2]
    if last.startswith(TRAILER):
        yield last.removeprefix(TRAILER)
