"""What must hold on a home that was damaged: while stopped, while serving, while on trial."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from tests.e2e.damage import BY_NAME, MARKS, NOT_IN_PLACE, SLOW, Target, expected_version
from tests.e2e.harness import FINISHED, running_on, wait_for
from tests.e2e.patients import Patient, Template


def check(template: Template, name: str, kind: str) -> None:
    """Damage one file of a stopped hub: the best release serves, says so, and can be upgraded."""
    target = BY_NAME[name]
    with template.copy(kind == "mode 000") as patient:
        patient.prepare(target)
        patient.damage(target, kind)
        patient.start()
        serves(patient, expected_version(name, kind))
        output = patient.hub.output()
        if kind in target.told:
            word = os.path.basename(patient_word(target, patient))
            wait_for(lambda: word in patient.hub.output(), f"{word} in: {output!r}")
        if name not in SLOW:
            upgraded(patient, in_place=kind not in NOT_IN_PLACE.get(name, ()))
        leaves(patient)


def patient_word(target: Target, patient: Patient) -> str:
    """What must be named: the file, or the release that it is of."""
    if target.name in ("hub.pyz", "release"):
        return "1.1.0-"
    return target.path


def check_live(template: Template, name: str, kind: str) -> None:
    """Damage one file under a running hub: it serves on, and can be upgraded."""
    target = BY_NAME[name]
    with template.copy(kind == "mode 000") as patient:
        patient.start()
        serves(patient, "1.1.0")
        process = patient.hub.hub_pid()
        if name == "next.json":
            patient.prepare(target)
        with contextlib.suppress(FileNotFoundError):  # what was handed over may be taken up by now
            patient.damage(target, kind)
        serves(patient, "1.1.0")
        upgraded(patient, in_place=True)
        assert_true(patient.hub.hub_pid() == process, "another process serves")
        leaves(patient)


def check_on_trial(template: Template, kind: str) -> None:
    """Damage `boot.json` while a trial is in probation: the launcher knows it by heart."""
    with template.copy(kind == "mode 000") as patient:
        patient.configure(probation_s=2)
        patient.start()
        status, answer = patient.ask()
        assert_true(status == 202, f"{answer}")
        wait_for(lambda: (patient.hub.health() or {}).get("version") == "1.3.0", "the trial")
        patient.damage(BY_NAME["boot.json"], kind)
        record = patient.hub.finished(answer["operation_id"])
        assert_true(record["phase"] == "succeeded", f"{record} {patient.hub.output()}")
        serves(patient, "1.3.0")
        leaves(patient)
        assert_true(str(patient.hub.boot()["current"]).startswith("1.3.0-"), "not committed")


def check_rollback(template: Template, name: str, kind: str) -> None:
    """Damage a mark that a rollback must write or take away: the rollback is made all the same."""
    target = Target(name, MARKS[name])
    with template.copy(as_nobody=False) as patient:
        patient.start()
        upgraded(patient, in_place=True)
        patient.prepare(target)
        patient.damage(target, kind)
        status, answer = patient.ask("/api/hub/rollback")
        assert_true(status == 202, f"{status} {answer}")
        record = patient.hub.finished(answer["operation_id"])
        assert_true(record["phase"] == "succeeded", f"{record} {patient.hub.output()}")
        serves(patient, "1.1.0")
        leaves(patient)
        boot = patient.hub.boot()
        assert_true(str(boot["current"]).startswith("1.1.0-"), f"{boot}")
        assert_true(len(boot["rejected"]) == 2, f"{boot}")


def serves(patient: Patient, version: str) -> None:
    """It answers, and it is this one."""
    found = patient.hub.wait_healthy()
    assert_true(found["version"] == version, f"{found} and not {version}: {patient.hub.output()}")


def upgraded(patient: Patient, in_place: bool) -> None:
    """A new upgrade succeeds; or the record says why it cannot be one."""
    status, answer = patient.ask()
    assert_true(status == 202, f"{status} {answer} {patient.said} {patient.hub.output()}")
    if not in_place:
        assert_true(answer["mode"] == "redeploy-required", f"{answer}")
        assert_true(bool(answer["reason"]), f"{answer}")
        assert_true(patient.status()["phase"] == "redeploy-required", f"{patient.status()}")
        return

    def ended() -> Any:
        record = patient.hub.record()
        mine = record.get("operation_id") == answer["operation_id"]
        return record if mine and record.get("phase") in FINISHED else None

    record = wait_for(ended, f"an end of {answer}; {patient.hub.output()[-2000:]}")
    assert_true(record["phase"] == "succeeded", f"{record} {patient.hub.output()}")
    serves(patient, "1.3.0")


def leaves(patient: Patient) -> None:
    """It stops when it is asked to, and nothing goes on."""
    code = patient.hub.stop()
    assert_true(code == 0, f"exit code {code}: {patient.hub.output()}")
    deadline = time.monotonic() + 5
    while running_on(patient.home) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert_true(running_on(patient.home) == [], "left running")
    output = patient.hub.output()
    assert_true("Traceback" not in output, output)


def assert_true(value: bool, why: str) -> None:
    """The test fails with `why`, unless."""
    if not value:
        raise AssertionError(why)
