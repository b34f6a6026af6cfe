"""Who was told of a change is not told again of what repeats it or follows from it; nothing else is withheld."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.recent import Recent
from app.core.review import Review
from tests.core.changes import review
from tests.core.listening import (
    ABSENT,
    DEPLOYMENTS,
    GARBAGE,
    HOUR,
    MINUTE,
    NODE,
    REPLICAS,
    SECOND,
    Heard,
    Listening,
    changed,
    config_map,
    deleted,
    deployment,
    made,
)

RS = made("ReplicaSet", "web-1", "deployment", user=DEPLOYMENTS)
POD = made("Pod", "web-1-a", "web-1", user=REPLICAS)

BINDING = made("Binding", "web-1-a", user="system:kube-scheduler", group="", resource="pods", subresource="binding")
"""It names the Pod, and has no owners."""


@pytest.fixture
def ears() -> Listening:
    return Listening()


class TestRepeats:
    def test_a_review_of_the_same_change_is_not_told_again(self, ears: Listening) -> None:
        ears.tell(deployment(generation=5), "slack", "mail")

        again = ears.tell(deployment(generation=5), "slack", "mail", after=10)

        assert again.verdict.repeat_of == "e1"
        assert again.reasons == dict.fromkeys(("slack", "mail"), "the same change as entry e1")
        assert again.verdict.quieted == ("repeat", "repeat")

    def test_every_further_review_names_the_first(self, ears: Listening) -> None:
        repeats = [ears.tell(deployment(generation=5)).verdict.repeat_of for _ in range(4)]

        assert repeats == ["", "e1", "e1", "e1"]

    @pytest.mark.parametrize(
        "other",
        [
            deployment(generation=5, user="bob"),
            deployment(new=3, generation=5),
            deployment(old=0, generation=5),
            deployment(field="replicas", generation=5),
            deployment(generation=5, subresource="scale"),
            deployment(new=None, generation=5),
            config_map(),
        ],
        ids=["who", "new value", "old value", "field", "subresource", "null", "object"],
    )
    def test_what_differs_is_told(self, ears: Listening, other: Review) -> None:
        ears.tell(deployment(generation=5))

        assert ears.tell(other).told == ["slack"]

    def test_a_sink_that_was_not_told_of_the_first_is_told_of_the_second(self, ears: Listening) -> None:
        ears.tell(deployment(generation=5), "slack")

        again = ears.tell(deployment(generation=5), "slack", "mail")

        assert (again.told, list(again.reasons)) == (["mail"], ["slack"])

    def test_what_another_playbook_says_is_told(self, ears: Listening) -> None:
        ears.tell(deployment(generation=5), playbooks=["images"])

        again = ears.tell(deployment(generation=5), playbooks=["images", "everything"])

        assert [each.withheld == "" for each in again.addressees] == [False, True]

    def test_a_conflict_with_another_field_makes_a_repeat(self, ears: Listening) -> None:
        ears.tell(deployment(generation=5))
        ears.tell(deployment(field="replicas", generation=5, user="bob"))

        # Bob's change made generation 6.
        assert ears.tell(deployment(generation=6)).verdict.repeat_of == "e1"

    def test_both_sides_of_a_conflict_may_repeat(self, ears: Listening) -> None:
        bobs = {"field": "replicas", "user": "bob"}
        ears.tell(deployment(generation=5))
        ears.tell(deployment(generation=5, **bobs))
        ears.pass_by(deployment(field="paused", generation=5, user="carol"))

        assert ears.tell(deployment(generation=6)).verdict.repeat_of == "e1"
        assert ears.tell(deployment(generation=7, **bobs)).verdict.repeat_of == "e2"

    def test_a_first_attempt_from_an_old_copy_of_the_cache_is_repeated(self, ears: Listening) -> None:
        ears.tell(deployment(generation=4))

        assert ears.tell(deployment(generation=5)).verdict.repeat_of == "e1"

    def test_a_change_that_is_made_again_after_it_was_undone_is_told(self, ears: Listening) -> None:
        ears.tell(deployment(generation=5))
        ears.pass_by(deployment(2, 1, generation=6, user="bob"))

        assert ears.tell(deployment(generation=7)).told == ["slack"]

    def test_a_change_that_was_undone_where_nobody_saw_it_is_told(self, ears: Listening) -> None:
        ears.tell(deployment(generation=5))

        assert ears.tell(deployment(generation=7)).told == ["slack"]

    def test_a_change_around_the_field_undoes_it_too(self, ears: Listening) -> None:
        ears.tell(deployment({"name": "a"}, {"name": "b"}, generation=5))
        ears.pass_by(deployment(new=None, generation=5))

        assert ears.tell(deployment({"name": "a"}, {"name": "b"}, generation=5)).told == ["slack"]

    def test_a_change_inside_the_field_undoes_it_too(self, ears: Listening) -> None:
        ears.tell(deployment(new=None, generation=5))
        ears.pass_by(deployment({"name": "a"}, {"name": "b"}, generation=5))

        assert ears.tell(deployment(new=None, generation=5)).told == ["slack"]

    def test_a_change_of_very_many_fields_is_over_with_any_other(self, ears: Listening) -> None:
        many = [dict.fromkeys(map(str, range(40)), value) for value in "ab"]
        ears.tell(deployment(*many, generation=5))
        assert ears.tell(deployment(*many, generation=5)).verdict.repeat_of == "e1"
        ears.pass_by(deployment(field="paused", generation=5))

        assert ears.tell(deployment(*many, generation=5)).told == ["slack"]

    def test_a_change_that_comes_again_and_again_is_told_again_in_the_end(self, ears: Listening) -> None:
        told = [bool(ears.tell(deployment(generation=5), after=30 * SECOND).told) for _ in range(4)]

        assert told == [True, False, True, False]

    @pytest.mark.parametrize(
        ("generation", "after", "told"), [(5, 40, False), (5, 41, True), (0, 10, False), (0, 11, True)]
    )
    def test_a_repeat_comes_while_the_request_lasts(
        self, ears: Listening, generation: int, after: int, told: bool
    ) -> None:
        ears.tell(deployment(generation=generation))

        again = ears.tell(deployment(generation=generation), after=after * SECOND)

        assert bool(again.told) is told

    def test_the_same_resource_version_shows_that_the_first_was_not_stored(self, ears: Listening) -> None:
        ears.tell(config_map(version="17"))

        assert ears.tell(config_map(version="17"), after=40 * SECOND).verdict.repeat_of == "e1"

    def test_a_status_between_them_does_not_hide_a_repeat(self, ears: Listening) -> None:
        ears.tell(deployment(generation=5))
        for _ in range(20):
            ears.pass_by(changed("Deployment", "deployment", user=DEPLOYMENTS, subresource="status"))

        assert ears.tell(deployment(generation=5)).verdict.repeat_of == "e1"

    def test_a_crowd_of_writers_repeats_itself_and_is_told_once_each(self, ears: Listening) -> None:
        crowd = [{"field": f"field-{number}", "user": f"user-{number}"} for number in range(20)]
        first = [ears.tell(deployment(generation=5, **each), after=1) for each in crowd]
        again = [ears.tell(deployment(generation=5 + number, **each), after=1) for number, each in enumerate(crowd)]

        assert [each.verdict.repeat_of for each in again] == [each.entry for each in first]

    def test_attempts_that_are_over_are_forgotten(self, ears: Listening) -> None:
        for number in range(100):
            ears.tell(config_map(field=f"field-{number}"), after=MINUTE)

        [(attempts, weight)] = ears.noise._repeats._updates._kept.values()
        assert (len(attempts), weight) == (1, 1)

    def test_a_creation_of_the_same_with_another_uid_is_a_repeat(self, ears: Listening) -> None:
        first, second = (made("Deployment", "web", user="alice", spec={"replicas": 1}) for _ in range(2))
        second.request.object["metadata"]["uid"] = "another"
        ears.tell(first)

        assert ears.tell(second).verdict.repeat_of == "e1"

    def test_a_creation_of_something_else_with_that_name_is_told(self, ears: Listening) -> None:
        ears.tell(made("Deployment", "web", user="alice", spec={"replicas": 1}))

        assert ears.tell(made("Deployment", "web", user="alice", spec={"replicas": 2})).told == ["slack"]

    def test_pods_of_one_template_are_different_pods(self, ears: Listening) -> None:
        ears.tell(made("Pod", "web-1-a", "web-1", user=REPLICAS))

        assert ears.tell(made("Pod", "web-1-b", "web-1", user=REPLICAS)).verdict.repeat_of == ""

    def test_an_object_that_was_deleted_and_created_again_is_told(self, ears: Listening) -> None:
        ears.tell(made("Deployment", "web", user="alice"))
        ears.pass_by(deleted("Deployment", "web", user="alice"))

        assert ears.tell(made("Deployment", "web", user="alice")).told == ["slack"]
        ears.tell(deleted("Deployment", "web", user="alice"))
        assert ears.tell(made("Deployment", "web", user="alice")).told == ["slack"]

    def test_the_end_of_a_deletion_is_not_told_again_whoever_brings_it(self, ears: Listening) -> None:
        ears.tell(deleted("Pod", "p", user="alice"))

        again = ears.tell(deleted("Pod", "p", user=NODE, again=True), after=59 * MINUTE)

        assert again.verdict.repeat_of == "e1"

    def test_a_deletion_after_one_that_did_not_happen_is_told(self, ears: Listening) -> None:
        ears.tell(deleted("Pod", "p", user="alice"))

        assert ears.tell(deleted("Pod", "p", user="bob"), after=MINUTE).told == ["slack"]

    def test_a_deletion_by_somebody_else_is_told(self, ears: Listening) -> None:
        ears.tell(deleted("Pod", "p", user="alice"))

        assert ears.tell(deleted("Pod", "p", user="alice")).verdict.repeat_of == "e1"
        assert ears.tell(deleted("Pod", "p", user="bob")).told == ["slack"]

    def test_a_clock_that_goes_back_far_makes_no_repeat(self, ears: Listening) -> None:
        ears.tell(config_map())

        assert ears.tell(config_map(), after=-HOUR).told == ["slack"]

    def test_repeats_are_told_where_that_is_wanted(self) -> None:
        ears = Listening(repeats=False)

        assert [ears.tell(deployment(generation=5)).told for _ in range(2)] == [["slack"], ["slack"]]


class TestStories:
    def test_a_rollout_is_told_once(self, ears: Listening) -> None:
        ears.tell(deployment())
        follow = [
            ears.tell(RS),
            ears.tell(POD),
            ears.tell(changed("ReplicaSet", "web-0", "deployment", user=DEPLOYMENTS)),
            ears.tell(deleted("Pod", "web-0-a", "web-0", user=REPLICAS)),
            ears.tell(BINDING),
            ears.tell(changed("Deployment", "deployment", user=DEPLOYMENTS)),
        ]

        assert [each.told for each in follow] == [[]] * 6
        assert {each.verdict.story for each in follow} == {"e1"}
        assert follow[1].reasons == {"slack": "follows from entry e1 (Deployment/shop/web)"}
        assert set(follow[1].verdict.quieted) == {"rollout"}

    def test_a_chain_is_known_where_nobody_is_told_of_its_links(self, ears: Listening) -> None:
        ears.tell(deployment())

        assert ears.pass_by(RS) == "e1"
        assert ears.tell(POD).told == []

    def test_who_asked_only_for_pods_gets_every_pod(self, ears: Listening) -> None:
        ears.tell(deployment(), "slack")
        pods = [made("Pod", f"web-1-{each}", "web-1", user=REPLICAS) for each in "abc"]
        ears.pass_by(RS)

        assert [ears.tell(pod, "mail").told for pod in pods] == [["mail"]] * 3

    def test_of_a_change_that_nobody_is_told_of_nothing_follows(self, ears: Listening) -> None:
        ears.pass_by(deployment())

        assert ears.tell(POD).told == ["slack"]

    def test_what_people_do_meanwhile_is_told(self, ears: Listening) -> None:
        ears.tell(deployment())
        ears.tell(RS)

        assert ears.tell(deleted("Pod", "web-1-a", "web-1", user="bob")).told == ["slack"]
        assert ears.tell(changed("ReplicaSet", "web-1", "deployment", user="bob")).told == ["slack"]

    @pytest.mark.parametrize(
        "user", ["system:kube-controller-manager", "system:serviceaccount:kube-system:horizontal-pod-autoscaler"]
    )
    def test_an_autoscaler_decides_for_itself(self, ears: Listening, user: str) -> None:
        ears.tell(deployment())

        assert ears.tell(deployment(field="replicas", user=user, subresource="scale")).told == ["slack"]

    def test_what_an_autoscaler_decided_has_consequences(self, ears: Listening) -> None:
        ears.tell(deployment(field="replicas", user="system:serviceaccount:kube-system:horizontal-pod-autoscaler"))

        assert ears.tell(RS).told == []

    def test_a_status_that_somebody_asked_for_is_told(self, ears: Listening) -> None:
        ears.tell(deployment())
        ears.tell(RS)
        ears.tell(POD)

        assert ears.tell(changed("Pod", "web-1-a", "web-1", user=NODE, subresource="status")).told == ["slack"]
        assert ears.tell(changed("ReplicaSet", "web-1", "deployment", user=DEPLOYMENTS, subresource="status")).told == [
            "slack"
        ]

    @pytest.mark.parametrize(
        "about",
        [
            changed("Pod", "web-1-a", "web-1", user=NODE),
            deleted("Pod", "web-1-a", "web-1", user="system:kube-scheduler"),
            deleted("Pod", "web-1-a", "web-1", user="system:serviceaccount:kube-system:node-controller"),
        ],
        ids=["a node's change", "preemption", "a node that is gone"],
    )
    def test_what_the_cluster_does_for_other_reasons_is_told(self, ears: Listening, about: Review) -> None:
        ears.tell(deployment())
        ears.tell(RS)
        ears.tell(POD)

        assert ears.tell(about).told == ["slack"]

    def test_what_cannot_be_a_uid_is_not_remembered(self, ears: Listening) -> None:
        ears.tell(made("Deployment", "u" * 65, user="alice"))

        assert len(ears.noise._stories) == 0

    def test_jobs_begin_by_the_clock(self, ears: Listening) -> None:
        ears.tell(changed("CronJob", "nightly", user="alice"))
        controller = "system:serviceaccount:kube-system:cronjob-controller"
        job = ears.tell(made("Job", "nightly-1", "nightly", user=controller))
        pod = ears.tell(
            made("Pod", "nightly-1-p", "nightly-1", user="system:serviceaccount:kube-system:job-controller")
        )

        assert (job.told, pod.verdict.story) == (["slack"], job.entry)

    def test_a_deletion_takes_along_what_belongs_to_it(self, ears: Listening) -> None:
        ears.tell(deleted("Deployment", "deployment", user="alice"))
        rs = ears.tell(deleted("ReplicaSet", "web-1", "deployment", user=GARBAGE))
        pod = ears.tell(deleted("Pod", "web-1-a", "web-1", user=GARBAGE))
        end = ears.tell(deleted("Pod", "web-1-a", "web-1", user=NODE, again=True))

        assert [each.told for each in (rs, pod, end)] == [[], [], []]

    def test_a_pod_that_was_told_when_it_came_is_told_when_it_goes(self, ears: Listening) -> None:
        ears.tell(POD)

        assert ears.tell(deleted("Pod", "web-1-a", "web-1", user=REPLICAS)).told == ["slack"]

    def test_the_youngest_change_is_the_one_that_things_follow_from(self, ears: Listening) -> None:
        ears.tell(deployment())
        ears.tell(RS)
        ears.tell(deployment(field="replicas"))

        assert ears.tell(changed("ReplicaSet", "web-1", "deployment", user=DEPLOYMENTS)).verdict.story == "e3"
        assert ears.tell(POD).verdict.story == "e3"

    def test_a_story_ends_after_a_pause(self, ears: Listening) -> None:
        ears.tell(deployment())

        assert ears.tell(RS, after=15 * MINUTE).told == []
        assert ears.tell(POD, after=16 * MINUTE).told == ["slack"]

    def test_a_story_ends_after_an_hour(self, ears: Listening) -> None:
        ears.tell(deployment())
        ears.tell(RS)
        told = [ears.tell(made("Pod", f"web-1-{n}", "web-1", user=REPLICAS), after=10 * MINUTE).told for n in range(7)]

        assert told == [[]] * 5 + [["slack"]] * 2

    def test_a_clock_that_goes_back_far_ends_a_story(self, ears: Listening) -> None:
        ears.tell(deployment())

        assert ears.tell(RS, after=-HOUR).told == ["slack"]

    @pytest.mark.parametrize(
        "about",
        [
            deleted("NetworkPolicy", "deny-all", "settings", user=GARBAGE),
            deleted("Deployment", "pay", "settings", user=GARBAGE),
            deleted("PersistentVolumeClaim", "data-db-0", "settings", user=GARBAGE),
            deleted("Pod", "settings-0", "settings", user=GARBAGE),
        ],
    )
    def test_what_an_owner_takes_along_that_controllers_did_not_make_is_told(
        self, ears: Listening, about: Review
    ) -> None:
        ears.tell(deleted("ConfigMap", "settings", user="mallory"))

        assert ears.tell(about).told == ["slack"]

    @pytest.mark.parametrize("kind", ["ReplicaSet", "Pod"])
    def test_an_owner_that_was_written_into_an_object_later_silences_nothing(self, ears: Listening, kind: str) -> None:
        ears.tell(deployment())
        ears.tell(RS)

        assert ears.tell(deleted(kind, "pay-1-a", "deployment", "web-1", user=GARBAGE)).told == ["slack"]

    def test_pods_that_controllers_adopt_are_told(self, ears: Listening) -> None:
        ears.tell(deployment())
        ears.tell(RS)

        assert ears.tell(changed("Pod", "pay-1-a", "web-1", user=REPLICAS)).told == ["slack"]
        assert ears.tell(deleted("Pod", "pay-1-a", "web-1", user=REPLICAS)).told == ["slack"]

    def test_the_end_of_a_long_name_is_cut_off_in_those_of_pods(self, ears: Listening) -> None:
        name = "a" * 60
        ears.tell(changed("ReplicaSet", name, user="alice"))

        assert ears.tell(made("Pod", f"{name[:58]}x7z9q", name, user=REPLICAS)).told == []

    def test_what_happens_to_a_node_does_not_follow_from_what_people_do_to_it(self, ears: Listening) -> None:
        ears.tell(changed("Node", "n1", user="alice"))

        assert ears.tell(changed("Node", "n1", user="system:kube-controller-manager")).told == ["slack"]

    def test_a_job_of_the_clock_is_told_where_all_controllers_have_one_name(self, ears: Listening) -> None:
        ears.tell(changed("CronJob", "nightly", user="alice"))

        assert ears.tell(made("Job", "nightly-1", "nightly", user="system:kube-controller-manager")).told == ["slack"]

    @pytest.mark.parametrize(
        "about",
        [
            deployment(field="replicas", user="bob"),
            deployment(field="image", user="system:serviceaccount:ci:robot"),
            deleted("Deployment", "deployment", user="bob"),
        ],
    )
    def test_what_follows_from_a_change_that_nobody_was_told_of_is_told(self, ears: Listening, about: Review) -> None:
        ears.tell(deployment())
        ears.tell(RS)
        ears.pass_by(about)

        assert ears.tell(changed("ReplicaSet", "web-1", "deployment", user=DEPLOYMENTS)).told == ["slack"]
        assert ears.tell(made("Pod", "web-1-b", "web-1", user=REPLICAS)).verdict.story == "e3"

    def test_a_pod_of_a_replica_set_that_somebody_changed_is_told(self, ears: Listening) -> None:
        ears.tell(deployment())
        ears.tell(RS)
        ears.pass_by(changed("ReplicaSet", "web-1", "deployment", user="mallory"))

        assert ears.tell(POD).told == ["slack"]
        assert ears.tell(changed("Deployment", "deployment", user=DEPLOYMENTS)).verdict.story == "e1"

    @pytest.mark.parametrize(
        "about",
        [
            changed("Deployment", "deployment", user="system:serviceaccount:kube-system:horizontal-pod-autoscaler"),
            changed("Deployment", "deployment", user=DEPLOYMENTS),
            changed("Deployment", "deployment", user="bob", subresource="status"),
            review("UPDATE", old={"metadata": {"uid": "deployment", "labels": {"a": "b"}}}, user="bob"),
        ],
        ids=["scale", "carried out", "status", "label"],
    )
    def test_what_makes_no_other_pods_does_not_end_a_story(self, ears: Listening, about: Review) -> None:
        ears.tell(deployment())
        ears.tell(RS)
        ears.pass_by(about)

        assert ears.tell(POD).verdict.story == "e1"

    def test_rollouts_are_told_where_that_is_wanted(self) -> None:
        ears = Listening(rollouts=False)
        ears.tell(deployment())

        assert ears.tell(RS).told == ["slack"]
        assert ears.tell(POD).verdict.story == ""


def flips(ears: Listening, count: int, after: int = SECOND, **options: Any) -> list[Heard]:
    values = [(1, 2), (2, 1)]
    return [ears.tell(deployment(*values[n % 2], generation=n + 1, **options), after=after) for n in range(count)]


class TestFlapping:
    def test_two_changes_back_and_forth_are_told_and_further_ones_are_held(self, ears: Listening) -> None:
        heard = flips(ears, 6)

        assert [bool(each.told) for each in heard] == [True, True, False, False, False, False]
        assert heard[2].verdict.quieted == ("flapping",)

    def test_what_is_held_is_told_together_after_a_minute(self, ears: Listening) -> None:
        third, fourth, fifth = (each.addressees[0] for each in flips(ears, 5)[2:])

        assert third == fourth == fifth
        assert third.after == ears.at - 2 * SECOND + MINUTE

    def test_what_comes_after_a_hold_is_held_anew(self, ears: Listening) -> None:
        *_, first, second = flips(ears, 4, after=59 * SECOND)

        assert first.addressees[0].fold == second.addressees[0].fold
        assert second.addressees[0].after == first.addressees[0].after + 59 * SECOND

    def test_new_values_are_no_flapping(self, ears: Listening) -> None:
        told = [ears.tell(deployment(n, n + 1, generation=n + 1)).told for n in range(10)]

        assert told == [["slack"]] * 10

    def test_a_new_value_waits_for_those_that_are_held(self, ears: Listening) -> None:
        flips(ears, 3)

        assert ears.tell(deployment(2, 3, generation=4)).held == ["slack"]
        assert ears.tell(deployment(3, 4, generation=5), after=MINUTE).told == ["slack"]

    def test_a_new_value_is_not_hidden_among_those_that_are_held(self, ears: Listening) -> None:
        values = [(1, 2), (2, 1), (1, 2), (2, 1), (1, 6), (6, 1), (1, 2)]
        heard = [ears.tell(deployment(*each, generation=n + 1)) for n, each in enumerate(values)]

        third, fourth, news, *after = (each.addressees[0] for each in heard[2:])
        assert third == fourth
        assert after[0] == after[1]
        assert len({third.fold, news.fold, after[0].fold}) == 3

    def test_who_is_new_is_not_hidden_among_others(self, ears: Listening) -> None:
        flips(ears, 4)
        hers = ears.tell(deployment(1, 2, generation=5, user="mallory")).addressees[0]
        more = [
            ears.tell(deployment(2, 1, generation=6)).addressees[0],
            ears.tell(deployment(1, 2, generation=7, user="mallory")).addressees[0],
        ]

        assert hers.after
        assert more[0].fold == more[1].fold != hers.fold

    def test_two_that_undo_each_other_are_told_together(self, ears: Listening) -> None:
        values = [(1, 2, "argo"), (2, 1, "bob")] * 3
        heard = [ears.tell(deployment(o, n, generation=g + 1, user=u)) for g, (o, n, u) in enumerate(values)]

        assert len({each.addressees[0].fold for each in heard[2:]}) == 1

    def test_a_new_value_at_the_end_of_a_hold_is_held_anew(self, ears: Listening) -> None:
        flips(ears, 3)

        late = ears.tell(deployment(2, 3, generation=4), after=59 * SECOND)

        assert late.addressees[0].after == ears.at + MINUTE

    def test_a_clock_that_goes_back_holds_no_longer_than_wanted(self, ears: Listening) -> None:
        flips(ears, 3)

        back = ears.tell(deployment(2, 1, generation=4), after=-5 * MINUTE)

        assert back.addressees[0].after == ears.at + MINUTE

    def test_a_value_that_was_only_ever_left_or_reached_is_a_value_it_had(self, ears: Listening) -> None:
        for generation, (old, new) in {1: (1, 2), 10: (1, 3)}.items():
            assert ears.tell(deployment(old, new, generation=generation)).told == ["slack"]

        assert ears.tell(deployment(1, 2, generation=20)).held == ["slack"]

    def test_what_a_spared_sink_hears_does_not_count(self) -> None:
        ears = Listening(except_sinks=["warehouse"])
        for number, values in enumerate([(1, 2), (2, 1), (1, 2)]):
            ears.tell(deployment(*values, generation=number + 1), "warehouse")

        assert ears.tell(deployment(2, 1, generation=4)).told == ["slack"]

    def test_slow_changes_back_and_forth_are_told(self, ears: Listening) -> None:
        assert all(each.told for each in flips(ears, 6, after=5 * MINUTE))

    def test_fields_and_objects_flap_by_themselves(self, ears: Listening) -> None:
        flips(ears, 4)

        assert all(each.told for each in flips(ears, 2, field="paused"))
        assert ears.tell(config_map()).told == ["slack"]

    def test_each_finding_of_a_change_is_held_by_itself(self, ears: Listening) -> None:
        flips(ears, 2)

        held = ears.tell(deployment(generation=3), playbooks=["images", "all"])

        assert len({each.fold for each in held.addressees}) == 2

    def test_what_is_remembered_counts_by_the_changes(self, ears: Listening) -> None:
        flips(ears, 5)
        flips(ears, 2, field="paused")

        assert ears.noise._flaps._fields._weight == 7

    def test_absent_and_null_are_different_states(self, ears: Listening) -> None:
        for number, (old, new) in enumerate([(None, 1), (1, 2), (2, ABSENT)]):
            assert ears.tell(deployment(old, new, generation=number + 1)).told == ["slack"]

    @pytest.mark.parametrize(
        ("flapping", "told"),
        [(False, 6), (True, 2), (None, 2), ({"after": 4}, 4), ({"window_seconds": 1}, 6), ({"hold_seconds": 3}, 2)],
    )
    def test_how_much_is_told_at_once_can_be_chosen(self, flapping: Any, told: int) -> None:
        ears = Listening(flapping=flapping)

        assert sum(bool(each.told) for each in flips(ears, 6)) == told


@pytest.mark.parametrize("sink", ["warehouse", "json_change_tracker:00c0ffee"])
def test_a_sink_that_wants_everything_gets_everything(sink: str) -> None:
    ears = Listening(except_sinks=["warehouse"])
    ears.tell(deployment(generation=1), "slack", sink)
    heard = [ears.tell(each, "slack", sink) for each in (deployment(generation=1), RS, POD)]
    heard += [ears.tell(deployment(*each, generation=9), "slack", sink) for each in [(2, 1), (1, 2), (2, 1)]]

    assert all(sink in each.told for each in heard)
    assert not all("slack" in each.told for each in heard)


def test_what_was_cleared_is_told() -> None:
    ears = Listening()
    ears.tell(deployment(generation=1))
    ears.noise.clear()

    assert ears.tell(deployment(generation=1)).told == ["slack"]
    ears.noise.clear()
    assert ears.tell(POD).told == ["slack"]


def test_an_object_without_any_metadata_is_told_every_time() -> None:
    ears = Listening()
    bare = deployment(generation=1)
    for document in (bare.request.object, bare.request.old_object):
        del document["metadata"]

    assert [ears.tell(bare).told for _ in range(4)] == [["slack"]] * 4


USERS = ["alice", DEPLOYMENTS, REPLICAS, GARBAGE, NODE]
OBJECTS: list[tuple[str, str, tuple[str, ...]]] = [
    ("Deployment", "deployment", ()),
    ("ReplicaSet", "web-1", ("deployment",)),
    ("Pod", "web-1-a", ("web-1",)),
]
MAKERS: list[Callable[..., Review]] = [made, changed, deleted]
REVIEWS = st.builds(
    lambda maker, about, user: maker(about[0], about[1], *about[2], user=user),
    st.sampled_from(MAKERS),
    st.sampled_from(OBJECTS),
    st.sampled_from(USERS),
) | st.builds(
    lambda values, generation, user: deployment(*values, generation=generation, user=user),
    st.permutations([1, 2]),
    st.integers(0, 3),
    st.sampled_from(USERS),
)
STEPS = st.lists(
    st.tuples(
        REVIEWS,
        st.sets(st.sampled_from(["slack", "mail", "pager"])),
        st.sampled_from([1, SECOND, 20 * SECOND, MINUTE, 20 * MINUTE, HOUR]),
    ),
    max_size=30,
)


def named(reason: str) -> str:
    """The entry that a reason names."""
    return reason.removeprefix("the same change as entry ").removeprefix("follows from entry ").partition(" ")[0]


def source(heard: dict[str, Heard], entry: str, sink: str) -> Heard:
    """What the sink was told of instead of this entry, after as many steps as that takes."""
    reason = heard[entry].reasons.get(sink)
    if reason is None:
        return heard[entry]
    assert int(named(reason)[1:]) < int(entry[1:])
    return source(heard, named(reason), sink)


@given(STEPS)
def test_nothing_is_lost(steps: list[tuple[Review, set[str], int]]) -> None:
    ears = Listening()
    heard = [ears.tell(about, *sorted(sinks), after=after) for about, sinks, after in steps]

    by_entry = {each.entry: each for each in heard}
    for (_, sinks, _), each in zip(steps, heard, strict=True):
        assert [addressee.sink for addressee in each.addressees] == (sorted(sinks) or ["slack"])
        for sink in each.reasons:
            told = source(by_entry, each.entry, sink)
            assert sink in told.told + told.held
        assert all(bool(addressee.fold) == bool(addressee.after) for addressee in each.addressees)


def test_a_change_that_no_sink_takes_begins_nothing() -> None:
    ears = Listening()
    unheard = [ears.untaken(deployment(generation=1)), ears.untaken(RS)]

    assert [each.verdict.addressees for each in unheard] == [((),), ((),)]
    assert ears.tell(POD).verdict.story == ""
    assert ears.tell(deployment(generation=1)).verdict.repeat_of == ""
    assert ears.untaken(made("ReplicaSet", "web-2", "deployment", user=DEPLOYMENTS)).verdict.story == "e4"


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    memory = Recent[str, int](3)
    for number, key in enumerate("abc"):
        memory.put(key, number)

    assert memory.get("a") == 0
    memory.put("d", 3)
    assert [memory.get(key) for key in "abcd"] == [0, None, 2, 3]


def test_what_weighs_much_takes_the_place_of_more() -> None:
    memory = Recent[str, int](3)
    for number, key in enumerate("abc"):
        memory.put(key, number)

    memory.put("b", 1, 2)
    assert [memory.get(key) for key in "abc"] == [None, 1, 2]
    memory.put("huge", 4, 4)
    assert len(memory) == 0
    memory.put("a", 1, 3)
    assert memory.get("a") == 1
