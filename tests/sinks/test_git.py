from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import stat
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import msgspec
import pytest
from dulwich.errors import HangupException
from dulwich.objects import Blob, Tree
from dulwich.repo import Repo
from pydantic import ValidationError
from typing_extensions import override

from app.core.change import Entry, FieldChange, Resource, User
from app.core.finding import DiffBlock, Finding, Notification
from app.sinks._git_errors import outcome
from app.sinks._manifest import part, path
from app.sinks.base import PermanentError, Sink, TemporaryError
from app.sinks.git import GitConfig, GitSink, author, commit_message
from tests import builders
from tests.sinks import samples
from tests.sinks.stands import Behaviour, Stand

TOKEN = "gitTokenSecret"
SECRETS = (TOKEN, "urlTokenSecret")
WEB = "prod/shop/deployment.apps/web.yaml"

Commit = dict[str, str]


def options(folder: Path) -> dict[str, Any]:
    return {"url": "https://me:urlTokenSecret@git.example.com/audit.git", "username": "git", "password": TOKEN}


class GitStand:
    """A bare repository; busy is a lock that another program holds, refused a repository that is gone."""

    def __init__(self, folder: Path, sink: Sink[Any]) -> None:
        self.sink = sink
        self._repository = folder

    @property
    def arrived(self) -> list[str]:
        return [f"{each['message']}{each['path']}" for each in log(self._repository)]

    @arrived.setter
    def arrived(self, value: list[str]) -> None:
        raise AttributeError

    def behave(self, how: Behaviour) -> None:
        lock, gone = self._repository / "refs/heads/main.lock", self._repository.with_suffix(".gone")
        lock.unlink(missing_ok=True)
        if how == "busy":
            lock.parent.mkdir(parents=True, exist_ok=True)
            lock.touch()
        if how == "refuse":
            self._repository.rename(gone)


@contextlib.asynccontextmanager
async def stand(folder: Path) -> AsyncIterator[Stand]:
    repository = bare(folder)
    async with sending(repository) as sink:
        yield GitStand(repository, sink)


def bare(folder: Path) -> Path:
    repository = folder / "audit.git"
    Repo.init_bare(str(repository), mkdir=True).close()
    return repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return bare(tmp_path)


@contextlib.asynccontextmanager
async def sending(repository: Path, **more: Any) -> AsyncIterator[GitSink]:
    config = GitConfig.model_validate({"name": "git", "url": str(repository), **more})
    sink = GitSink(config, clock=lambda: 1_767_400_000.0)
    try:
        yield sink
    finally:
        await sink.aclose()


async def sent(repository: Path, *notifications: Notification) -> None:
    async with sending(repository) as sink:
        for notification in notifications:
            await sink.send(notification)


def log(repository: Path, branch: str = "main") -> list[Commit]:
    """Return the commits, oldest first, with what they say and touch, as dulwich reads them."""
    with contextlib.closing(Repo(str(repository))) as repo:
        ref: Any = f"refs/heads/{branch}".encode()
        if ref not in repo.refs:
            return []
        walked = list(repo.get_walker(include=[repo.refs[ref]]))
        return [_commit(entry) for entry in reversed(walked)]


def _commit(entry: Any) -> Commit:
    paths = [(change.new or change.old).path or change.old.path for change in entry.changes()]
    return {
        "author": entry.commit.author.decode(),
        "committer": entry.commit.committer.decode(),
        "at": str(entry.commit.author_time),
        "message": entry.commit.message.decode(),
        "path": " ".join(path.decode() for path in paths),
    }


def content(repository: Path, file: str = WEB) -> str | None:
    with contextlib.closing(Repo(str(repository))) as repo:
        tree: Any = repo[repo[repo.refs[b"refs/heads/main"]].tree]  # type: ignore[index, attr-defined]
        try:
            _, found = tree.lookup_path(repo.object_store.__getitem__, file.encode())
        except KeyError:
            return None
        return bytes(repo[found].data).decode()  # type: ignore[attr-defined]


def told(entry: Entry, number: int = 1) -> Notification:
    finding = Finding(playbook="all", title=f"{entry.resource} {entry.operation.lower()}d")
    return Notification(delivery_id=f"{entry.id}/{number}", finding=finding, entry=entry)


async def reviewed(operation: str, old: Any = None, new: Any = None, **more: Any) -> Entry:
    """Return the entry that the recorder makes of a review: redacted, with its patch."""
    documents = {"oldObject": old, "object": new}
    review = builders.make_review(operation=operation, **documents, **more)
    journal = builders.KeptRecords()
    await builders.sent(builders.make_recorder(journal, builders.make_rules(status=True)), review)
    return journal.entries[0]


def deployment(image: str = "nginx:1.27", replicas: int = 1, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": "u-1",
            "resourceVersion": "17",
            "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"manager": "kubectl"}],
            **metadata,
        },
        "spec": {
            "replicas": replicas,
            "template": {"spec": {"containers": [{"name": "nginx", "image": image}, {"name": "log", "image": "l:1"}]}},
        },
        "status": {"readyReplicas": 1},
    }


WRITTEN = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  replicas: 1
  template:
    spec:
      containers:
      - image: nginx:1.28
        name: nginx
      - image: l:1
        name: log
"""


def where(repository: Path) -> str:
    """Return the only file's path."""
    (commit, *_) = log(repository)
    return commit["path"]


async def test_the_life_of_an_object_is_the_history_of_its_clean_manifest(repository: Path) -> None:
    await sent(
        repository,
        told(await reviewed("CREATE", None, deployment())),
        told(await reviewed("UPDATE", deployment(), deployment("nginx:1.28")), 2),
    )
    file = where(repository)

    assert content(repository, file) == WRITTEN

    await sent(repository, told(await reviewed("DELETE", deployment("nginx:1.28")), 3))

    assert content(repository, file) is None
    assert [commit["path"] for commit in log(repository)] == [file] * 3


async def test_the_actor_is_the_author_and_the_time_is_that_of_the_change(repository: Path) -> None:
    await sent(repository, samples.image())

    [commit] = log(repository)
    assert (commit["author"], commit["committer"]) == ("alice <alice@prod>", "kubewitness <kubewitness@localhost>")
    assert commit["at"] == "1767323045"
    assert commit["path"] == WEB
    assert commit["message"].startswith("Deployment/shop/web updated\n\n")
    assert samples.LINK in commit["message"]
    assert commit["message"].endswith(f"\n\nEntry: {samples.entry().id}\nDelivery: d-1\n")


async def test_gits_own_program_reads_what_was_written_and_finds_nothing_wrong(repository: Path) -> None:
    await sent(repository, samples.image(), msgspec.structs.replace(samples.hostile_names(), delivery_id="d-2"))

    def git(*arguments: str) -> str:
        command = ["git", f"--git-dir={repository}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert git("log", "--format=%an %s", "--reverse", "main").splitlines()[0] == "alice Deployment/shop/web updated"
    assert git("fsck", "--strict", "--full") == ""
    assert git("log", "--format=%(trailers:key=Delivery,valueonly)", "main").split() == ["d-2", "d-1"]


async def test_a_retry_makes_no_second_commit_even_in_another_process(repository: Path) -> None:
    told_once = samples.image()
    await sent(repository, told_once, msgspec.structs.replace(told_once, attempt=2))
    await sent(repository, msgspec.structs.replace(told_once, attempt=3))

    assert len(log(repository)) == 1


async def test_a_stranger_cannot_have_a_delivery_taken_for_done(repository: Path) -> None:
    forged = samples.notification(description="x\n\nDelivery: d-9", title="y\n\nDelivery: d-9")
    await sent(repository, forged, msgspec.structs.replace(samples.image(), delivery_id="d-9"))

    assert len(log(repository)) == 2


async def test_an_object_that_was_never_seen_whole_has_a_file_that_says_what_is_known(repository: Path) -> None:
    more = samples.notification(changes=(FieldChange("spec.replicas", "replace", 3, 5),))
    await sent(repository, samples.notification(), samples.image(), msgspec.structs.replace(more, delivery_id="d-3"))
    image = msgspec.structs.replace(samples.image(), delivery_id="d-4")
    await sent(repository, image)

    file = content(repository) or ""
    assert file.startswith("# Incomplete: ")
    assert file.splitlines()[2:] == [
        "#   spec.replicas: 5",
        "#   spec.template.spec.containers[nginx].image: nginx:1.28",
    ]
    assert "The file holds only what is known" in log(repository)[-1]["message"]


async def test_a_missed_change_is_said_and_the_manifest_is_not_made_wrong(repository: Path) -> None:
    missed = deployment("nginx:1.26")
    await sent(
        repository,
        told(await reviewed("CREATE", None, deployment("nginx:1.25"))),
        told(await reviewed("UPDATE", missed, deployment("nginx:1.28")), 2),
    )
    file = content(repository, where(repository)) or ""

    assert "#   spec.template.spec.containers[nginx].image: nginx:1.28\n" in file
    assert "- image: nginx:1.25\n" in file


async def test_after_a_missed_change_the_next_whole_object_is_complete_again(repository: Path) -> None:
    await sent(repository, samples.image(), told(await reviewed("CREATE", None, deployment("nginx:1.28")), 2))

    assert (content(repository, log(repository)[-1]["path"]) or "").startswith("apiVersion: apps/v1\n")


async def test_scaling_changes_the_manifest_and_status_does_not(repository: Path) -> None:
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web", "namespace": "shop"}}
    fields = {"subResource": "scale", "kind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}}
    later = deployment()
    later["status"] = {"readyReplicas": 0}
    await sent(
        repository,
        told(await reviewed("CREATE", None, deployment())),
        told(
            await reviewed("UPDATE", {**scale, "spec": {"replicas": 1}}, {**scale, "spec": {"replicas": 4}}, **fields),
            2,
        ),
        told(await reviewed("UPDATE", deployment(), later, subResource="status"), 3),
    )

    assert "replicas: 4\n" in (content(repository, where(repository)) or "")
    assert [bool(commit["path"]) for commit in log(repository)] == [True, True, False]


async def test_a_secret_is_there_without_its_values_and_its_changes_fit(repository: Path) -> None:
    def secret(value: str) -> dict[str, Any]:
        metadata = {"name": "token", "namespace": "shop"}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"a": value, "b": "c2FtZQ=="}}

    about = builders.about("Secret", "secrets", name="token")
    await sent(
        repository,
        told(await reviewed("CREATE", None, secret("aHVudGVyMg=="), **about)),
        told(await reviewed("UPDATE", secret("aHVudGVyMg=="), secret("aHVudGVyMw=="), **about), 2),
    )
    file = content(repository, where(repository)) or ""

    assert "Incomplete" not in file
    assert "aHVudGVy" not in file
    assert log(repository)[1]["path"] == where(repository)


async def test_a_failed_job_is_a_commit_that_changes_no_file(repository: Path) -> None:
    await sent(repository, samples.failed_job())

    [commit] = log(repository)
    assert (commit["author"], commit["path"]) == ("kubewitness <kubewitness@prod>", "")
    assert "FATAL: cannot connect" in commit["message"]


@pytest.mark.parametrize("way", ["path", "ssh"])
async def test_two_sinks_that_race_lose_nothing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    pretend_ssh(tmp_path, monkeypatch, 'exec sh -c "$command"')
    url = str(repository) if way == "path" else f"ssh://git@host{repository}"
    notifications = [msgspec.structs.replace(samples.image(), delivery_id=f"d-{number}") for number in range(12)]
    async with sending(repository, url=url) as one, sending(repository, url=url) as other:

        async def push(sink: GitSink, mine: list[Notification]) -> None:
            for notification in mine:
                for _ in range(20):
                    with contextlib.suppress(TemporaryError):
                        await sink.send(notification)
                        break

        await asyncio.gather(push(one, notifications[::2]), push(other, notifications[1::2]))

    said = [commit["message"].rstrip().rpartition("Delivery: ")[2] for commit in log(repository)]
    assert sorted(said) == sorted(notification.delivery_id for notification in notifications)


async def test_what_others_pushed_is_built_upon(repository: Path) -> None:
    async with sending(repository) as one, sending(repository, url=f"file://{repository}") as other:
        await one.send(samples.image())
        await other.send(msgspec.structs.replace(samples.created(), delivery_id="d-2"))
        await one.send(msgspec.structs.replace(samples.image(), delivery_id="d-3"))

    assert len(log(repository)) == 3


async def test_a_history_is_kept_where_it_is_to_be_kept(repository: Path, tmp_path: Path) -> None:
    options = {"username": "git", "password": TOKEN, "directory": tmp_path / "mirror", "branch": "audit"}
    with http_server(repository) as url:
        for delivery in ("d-1", "d-2"):
            async with sending(repository, **options, url=url) as sink:
                await sink.send(msgspec.structs.replace(samples.image(), delivery_id=delivery))

    assert (tmp_path / "mirror" / "HEAD").exists()
    assert len(log(repository, "audit")) == 2


async def test_a_lock_that_a_killed_process_left_in_the_copy_is_no_hindrance(repository: Path, tmp_path: Path) -> None:
    options = {"username": "git", "password": TOKEN, "directory": tmp_path / "mirror"}
    with http_server(repository) as url:
        async with sending(repository, **options, url=url) as sink:
            await sink.send(samples.image())
        (tmp_path / "mirror/refs/heads/main.lock").touch()

        async with sending(repository, **options, url=url) as sink:
            await sink.send(msgspec.structs.replace(samples.image(), delivery_id="d-2"))

    assert len(log(repository)) == 2


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("git@host: Permission denied (publickey).", PermanentError),
        ("Host key verification failed.", PermanentError),
        ("ERROR: Repository not found.", PermanentError),
        ("kex_exchange_identification: Connection closed by remote host", TemporaryError),
    ],
)
def test_what_ssh_says_before_it_hangs_up_is_understood(said: str, kind: type[Exception]) -> None:
    error = HangupException([said.encode(), b"fatal: Could not read from remote repository."])

    assert type(outcome(error, "host", set())) is kind


def pretend_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch, last: str) -> Path:
    """Put a program `ssh` into the path, which notes its arguments and does `last`: $command is what git asks for."""
    programs, noted = folder / "bin", folder / "arguments"
    programs.mkdir()
    script = programs / "ssh"
    script.write_text(f'#!/bin/sh\necho "$@" >> {noted}\nfor command; do :; done\n{last}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    return noted


async def test_a_key_opens_a_repository_over_ssh(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = pretend_ssh(tmp_path, monkeypatch, 'exec sh -c "$command"')
    options = {"ssh_key_file": tmp_path / "key", "known_hosts_file": tmp_path / "hosts"}
    config = GitConfig.model_validate({"name": "git", "url": f"ssh://git@host:2222{repository}", **options})
    sink = GitSink(config)

    await sink.send(samples.image())
    await sink.aclose()

    assert len(log(repository)) == 1
    for option in (
        "BatchMode=yes",
        f"-i {tmp_path}/key",
        f"UserKnownHostsFile={tmp_path}/hosts",
        "-p 2222",
        "git@host",
    ):
        assert option in noted.read_text().splitlines()[0]


# What dulwich does not close where it could not begin, it complains about itself.
unclosed = pytest.mark.filterwarnings("ignore:unclosed Protocol:ResourceWarning")


@unclosed
async def test_a_server_that_says_nothing_is_left_when_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = pretend_ssh(tmp_path, monkeypatch, "exec sleep 60")
    os.mkfifo(noted)
    sink = GitSink(GitConfig.model_validate({"name": "git", "url": "git@host:x.git"}))
    attempt = asyncio.create_task(sink.send(samples.image()))
    await asyncio.to_thread(noted.read_text)  # the program has begun

    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt

    await asyncio.wait_for(sink._thread.run(lambda: None), timeout=10)
    await sink.aclose()
    gc.collect()


@unclosed
async def test_ssh_that_cannot_connect_is_tried_again() -> None:
    sink = GitSink(GitConfig.model_validate({"name": "git", "url": "ssh://git@127.0.0.1:9/x.git"}))

    with pytest.raises((TemporaryError, PermanentError), match=r"127\.0\.0\.1: "):
        await sink.send(samples.image())

    await sink.aclose()
    gc.collect()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web", "web"),
        ("..", "%2E%2E"),
        (".git", "%2Egit"),
        ("git~1", "git%7E1"),
        ("a/../b", "a%2F..%2Fb"),
        ("Admin", "%41dmin"),
        ("system:node", "system%3Anode"),
        ("con", "%63on"),
        ("aux.x", "%61ux.x"),
        ("_cluster", "%5Fcluster"),
        ("dot.", "dot%2E"),
        ("g\u200cit", "g%E2%80%8Cit"),
        ("\ud800", "%ED%A0%80"),
        ("", "%00"),
    ],
)
def test_parts_of_paths_are_harmless_everywhere(name: str, expected: str) -> None:
    assert part(name) == expected


def test_long_names_are_cut_and_stay_apart() -> None:
    one, other = part("a" * 253), part("a" * 252 + "b")

    assert one != other
    assert max(len(one), len(other)) <= 200


def test_an_object_without_a_namespace_has_its_own_folder() -> None:
    entry = samples.entry(resource=Resource(version="v1", kind="Node", name="n1"))

    assert path(entry) == "prod/_cluster/node/n1.yaml"


@pytest.mark.parametrize(
    ("username", "expected"),
    [
        ("alice", "alice <alice@prod>"),
        ("alice@example.com", "alice@example.com <alice@example.com>"),
        ("system:serviceaccount:shop:bot", "system:serviceaccount:shop:bot <system-serviceaccount-shop-bot@prod>"),
        ("x> <root@evil.example>\nauthor y", "x root@evil.example author y <x-root-evil.example-author-y@prod>"),
        ("", "kubewitness <kubewitness@prod>"),
        ("<>", "kubewitness <kubewitness@prod>"),
        ("日本", "日本 <unknown@prod>"),
    ],
)
def test_an_author_is_one_name_and_one_address(username: str, expected: str) -> None:
    assert author(samples.entry(user=User(username=username))) == expected


def test_a_message_mentions_nobody_and_closes_no_issue() -> None:
    evil = "Fixes #12, closes GH-7, resolves https://github.com/a/b/issues/1 thanks @team/all"
    changed = FieldChange(f"data[{evil}]", "replace", evil, evil)
    said = commit_message(samples.notification(DiffBlock(changes=(changed,)), title=evil), is_whole=True)

    for live in ("#12", "GH-7", "https://", "@team"):
        assert live not in said


def test_a_message_of_megabytes_is_cut_at_fields() -> None:
    said = commit_message(samples.many_fields(20_000), is_whole=True)

    assert len(said) < 9000
    assert "more fields" in said


def test_a_whole_object_is_in_the_file_and_not_in_the_message_too() -> None:
    assert "NodePort" not in commit_message(samples.created(), is_whole=True)


async def test_a_repository_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"there is no such repository; make it first"):
        await sent(tmp_path / "none.git", samples.image())


async def test_an_object_without_a_name_has_no_file(repository: Path) -> None:
    with pytest.raises(PermanentError, match="the object has no name yet"):
        await sent(repository, samples.notification(resource=Resource(kind="Pod", namespace="shop")))


async def test_a_file_in_the_way_is_said(repository: Path) -> None:
    with contextlib.closing(Repo(str(repository))) as repo:
        tree, blob = Tree(), Blob.from_string(b"by hand")
        tree.add(b"prod", stat.S_IFREG | 0o644, blob.id)
        for each in (tree, blob):
            repo.object_store.add_object(each)
        ref: Any = b"refs/heads/main"
        made = {"author": b"x <x@y>", "committer": b"x <x@y>", "tree": tree.id, "ref": ref}
        repo.get_worktree().commit(message=b"by hand", **made)

    with pytest.raises(PermanentError, match="a file stands in the way of prod/shop"):
        await sent(repository, samples.image())


@pytest.mark.parametrize(
    "url", ["audit.git", "git://host/x.git", "ext::sh -c x", "-oProxyCommand=x", "https://host/a b", "host:path"]
)
def test_what_is_no_repository_is_an_error_that_says_what_is_right(url: str) -> None:
    with pytest.raises(ValidationError, match=r"is no repository; right is https://host/name\.git") as caught:
        GitConfig.model_validate({"name": "git", "url": url})

    assert url not in str(caught.value)


@pytest.mark.parametrize("branch", ["../x", "a..b", "x.lock", "-x", "a b", ""])
def test_what_is_no_branch_is_an_error(branch: str) -> None:
    with pytest.raises(ValidationError, match="branch"):
        GitConfig.model_validate({"name": "git", "url": "/x.git", "branch": branch})


class Quiet(WSGIRequestHandler):
    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def http_server(repository: Path, refusal: str = "") -> Iterator[str]:
    """Serve the repository by git's smart HTTP protocol, to whoever has the token."""
    from dulwich.server import DictBackend
    from dulwich.web import make_wsgi_chain

    repo: Any = Repo(str(repository))
    serve = make_wsgi_chain(DictBackend({"/audit.git": repo}))

    def application(environ: Any, start_response: Any) -> Any:
        if refusal or environ.get("HTTP_AUTHORIZATION") != "Basic Z2l0OmdpdFRva2VuU2VjcmV0":
            start_response(refusal or "401 Unauthorized", [("WWW-Authenticate", 'Basic realm="git"')])
            return [b"no"]
        return serve(environ, start_response)

    with contextlib.closing(repo), make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/audit.git"
        finally:
            server.shutdown()
            thread.join()


async def over_http(url: str, password: str = TOKEN) -> None:
    config = GitConfig.model_validate({"name": "git", "url": url, "username": "git", "password": password})
    sink = GitSink(config)
    try:
        await sink.send(samples.image())
    finally:
        await sink.aclose()


async def test_a_token_opens_a_repository_over_http(repository: Path) -> None:
    with http_server(repository) as url:
        await over_http(url)

    assert len(log(repository)) == 1


async def test_a_wrong_token_is_said_and_not_shown(repository: Path) -> None:
    with http_server(repository) as url, pytest.raises(PermanentError, match="does not accept the credentials") as got:
        await over_http(url, "wrongSecret")

    assert "wrongSecret" not in str(got.value)


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Internal Server Error", "503 Service Unavailable"])
async def test_a_server_in_trouble_is_tried_again(repository: Path, status: str) -> None:
    with http_server(repository, status) as url, pytest.raises(TemporaryError, match=f"answered {status[:3]}"):
        await over_http(url)


async def test_a_server_that_forbids_is_not_tried_again(repository: Path) -> None:
    with http_server(repository, "403 Forbidden") as url, pytest.raises(PermanentError, match="answered 403"):
        await over_http(url)


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    with pytest.raises(TemporaryError, match=r"127\.0\.0\.1: "):
        await over_http("http://127.0.0.1:9/audit.git")
