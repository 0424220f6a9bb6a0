"""Files for other trainers: shapes, steps and objective are the recipe's, every key is known."""

from __future__ import annotations

import ast
import dataclasses
import re
import runpy
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from planner.errors import DocumentError, QuantityError
from planner.export import EXPORTS, Settings, export, job_of
from planner.export.distillkit import bytes_per_token
from planner.export.job import scalar, step_law_batch_tokens, step_law_learning_rate
from tests.export import keys

STUDENT = {
    "layers": 17, "d_model": 2176, "heads": 17, "kv_heads": 17, "d_ff": 5888,
    "parameters": 975485568,
}  # fmt: skip
TEACHER = {
    "layers": 20, "d_model": 2560, "heads": 20, "kv_heads": 20, "d_ff": 6912,
    "parameters": 1586081280,
}  # fmt: skip
RECIPE: dict[str, Any] = {
    "schema_version": 1,
    "recipe": {
        "student": {"parameters": 975485568.0, "tokens": 42.88e9, "architecture": STUDENT},
        "teacher": {
            "parameters": 1586081280.0, "tokens": 47.04e9, "architecture": TEACHER,
            "existing": False, "name": "",
        },
    },
    "supervised": {
        "model": {"parameters": 975485568.0, "tokens": 139.1e9, "architecture": STUDENT},
    },
}  # fmt: skip
ALONE = {**RECIPE, "recommendation": {"method": "supervised"}}
FIXED = Settings(batch=1024)
STEPS = 10224  # ceil(42.88e9 / (1024 * 4096))


def names(value: Any) -> Iterator[str]:
    """Every key of nested mappings and lists."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from names(inner)
    elif isinstance(value, list):
        for each in value:
            yield from names(each)


def parsed(text: str) -> Any:
    return pytest.importorskip("yaml", reason="parsing YAML needs PyYAML").safe_load(text)


@pytest.mark.parametrize("target", EXPORTS)
def test_every_file_says_what_it_cannot_carry(target: str) -> None:
    """The source of the keys and each limit stand at the head of every file."""
    for text in export(RECIPE, target, FIXED).values():
        assert EXPORTS[target].source in text
        assert text.count("Not carried: ") == len(EXPORTS[target].cannot) > 0
        assert text.endswith("\n")
        assert "None" not in text


@pytest.mark.parametrize(
    ("target", "known"),
    [
        ("maxtext", keys.MAXTEXT),
        ("megatron-bridge", keys.MEGATRON_BRIDGE),
        ("distillkit", keys.DISTILLKIT),
        ("trl", keys.TRL),
    ],
)
@pytest.mark.parametrize("top_k", [None, 64])
def test_yaml_keys_are_those_of_the_target(target: str, known: str, top_k: int | None) -> None:
    """Each key occurs in the list made at the target's commit."""
    for name, text in export(RECIPE, target, Settings(batch=1024, top_k=top_k)).items():
        if name.endswith((".yml", ".yaml")):
            assert set(names(parsed(text))) <= set(known.split())


def test_command_line_options_are_those_of_the_target() -> None:
    """Megatron-LM's arguments and the options of the bridge's example."""
    for text in [*export(RECIPE, "megatron-lm").values(), *export(ALONE, "megatron-lm").values()]:
        body = re.sub(r"^#.*$", "", text, flags=re.M)
        assert set(re.findall(r"--([a-z0-9-]+)", body)) <= set(keys.MEGATRON_LM.split())
    script = export(RECIPE, "megatron-bridge")["distill.sh"]
    assert set(re.findall(r"--([a-z_0-9]+)", script)) <= set(keys.BRIDGE_OPTIONS.split())


def test_maxtext_carries_the_recipe_exactly() -> None:
    """Shapes, lambda, tau, steps and schedule."""
    settings = Settings(batch=1024, mixing=0.7, temperature=2.0, top_k=128, devices=64)
    files = export(RECIPE, "maxtext", settings)
    student = parsed(files["student.yml"])
    assert student["student_overrides"]["base_num_decoder_layers"] == 17
    assert student["student_overrides"]["base_mlp_dim"] == 5888
    assert student["teacher_overrides"]["base_emb_dim"] == 2560
    assert (student["distill_alpha"], student["distill_temperature"]) == (0.7, 2.0)
    assert student["steps"] == student["learning_rate_schedule_steps"] == STEPS
    assert student["per_device_batch_size"] * settings.devices == 1024
    assert round(student["warmup_steps_fraction"] * STEPS) == STEPS // 20
    assert student["offline_data_dir"] == "LOGITS"
    assert parsed(files["teacher.yml"])["base_num_decoder_layers"] == 20
    [alone] = export(ALONE, "maxtext", settings).values()
    assert parsed(alone)["steps"] == -(-139_100_000_000 // (1024 * 4096))


def test_megatron_lm_writes_logits_then_reads_them() -> None:
    """The teacher's pass covers the student's steps; alpha is lambda."""
    files = export(RECIPE, "megatron-lm", Settings(batch=1024, mixing=0.7, top_k=64))
    assert f"--train-iters {STEPS}" in files["logits.args"]
    assert "--logits-save-top-k 64" in files["logits.args"]
    assert "--num-layers 20 --hidden-size 2560" in files["logits.args"]
    assert "--group-query-attention" not in files["student.args"]
    assert "--logits-load-kd-loss-alpha 0.7" in files["student.args"]
    assert f"--train-iters {STEPS}" in files["student.args"]
    assert set(files) == {"teacher.args", "logits.args", "student.args"}
    assert set(export(ALONE, "megatron-lm")) == {"supervised.args"}


def test_megatron_lm_groups_queries_where_the_shape_does() -> None:
    """A student of 16 heads and 4 key-value heads."""
    shape = {**STUDENT, "heads": 16, "kv_heads": 4}
    recipe = {**RECIPE["recipe"], "student": {**RECIPE["recipe"]["student"], "architecture": shape}}
    text = export({**RECIPE, "recipe": recipe}, "megatron-lm", FIXED)["student.args"]
    assert "--num-attention-heads 16 --group-query-attention --num-query-groups 4 " in text


def test_distillkit_weights_are_the_lambda() -> None:
    """Eq. 7 as two weighted losses, and its bytes per stored token (about 300 and 114)."""
    files = export(RECIPE, "distillkit", Settings(batch=1024, mixing=0.75, temperature=2.0))
    losses = parsed(files["distillkit.yml"])["loss_functions"]
    assert losses[0] == {"function": "cross_entropy", "weight": 0.25}
    assert losses[1] == {"function": "kl", "weight": 0.75, "temperature": 2.0}
    assert bytes_per_token(128, 32_168) == 296
    assert bytes_per_token(50, 32_168) == pytest.approx(107.75)


@pytest.mark.parametrize(
    ("target", "settings", "says"),
    [
        ("megatron-lm", Settings(temperature=2.0), "temperature 1 only"),
        ("megatron-bridge", Settings(mixing=0.5), "cannot carry lambda"),
        ("nanochat", FIXED, "known: maxtext"),
    ],
)
def test_what_a_target_cannot_do_is_refused(target: str, settings: Settings, says: str) -> None:
    """No file that trains something else."""
    with pytest.raises(DocumentError, match=says):
        export(RECIPE, target, settings)


@pytest.mark.parametrize("target", ["planner", "slurm", "megatron-bridge"])
def test_scripts_are_valid_shell(target: str, tmp_path: Path) -> None:
    """`bash -n` reads them; sbatch finds its shebang and directives first."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    recipes = [RECIPE] if target == "megatron-bridge" else [RECIPE, ALONE]
    files = [item for recipe in recipes for item in export(recipe, target, FIXED).items()]
    for name, text in files:
        if name.endswith((".sh", ".sbatch")):
            (tmp_path / name).write_text(text)
            done = subprocess.run([bash, "-n", str(tmp_path / name)], capture_output=True)
            assert done.returncode == 0, done.stderr
    if target == "slurm":
        lines = export(RECIPE, target, Settings(devices=32))["train.sbatch"].splitlines()
        code = [n for n, line in enumerate(lines) if line and not line.startswith("#")]
        assert lines[0] == "#!/bin/bash"
        assert "#SBATCH --nodes=4" in lines[: code[0]]


def test_our_trainers_options_exist() -> None:
    """Each option is one of `planner train`."""
    from planner.cli.train import command as command

    known = {option for each in command.params for option in each.opts}
    body = export(RECIPE, "planner", Settings(top_k=64))["train.sh"]
    assert set(re.findall(r"(--[a-z-]+)", re.sub(r"^#.*$", "", body, flags=re.M))) <= known


@pytest.mark.parametrize(("recipe", "role"), [(RECIPE, "teacher"), (ALONE, "supervised")])
def test_torchtitan_gets_python_for_the_run_on_data(recipe: dict[str, Any], role: str) -> None:
    """It parses, and has a function for the run that needs no teacher, and no other."""
    text = export(recipe, "torchtitan", FIXED)["plan_config.py"]
    functions = {n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)}
    assert {name for name in functions if name.startswith("plan_")} == {f"plan_{role}"}
    assert f"layers={20 if role == 'teacher' else 17}" in text


def test_torchtitan_builds_the_configuration(tmp_path: Path) -> None:
    """The file runs under the target's own wheel and yields its configuration objects."""
    pytest.importorskip(
        "torchtitan.trainer", reason="torchtitan 0.3 is not installed", exc_type=ImportError
    )
    path = tmp_path / "plan_config.py"
    runs = []
    for recipe, role in ((RECIPE, "teacher"), (ALONE, "supervised")):
        path.write_text(export(recipe, "torchtitan", FIXED)["plan_config.py"])
        runs.append(runpy.run_path(str(path))[f"plan_{role}"]())
    teacher, supervised = runs
    assert teacher.training.steps == -(-47_040_000_000 // (1024 * 4096))
    assert len(teacher.model_spec.model.layers) == 20
    assert supervised.model_spec.model.dim == 2176
    assert supervised.training.global_batch_size == 1024


def test_trls_own_configuration_has_the_keys() -> None:
    """Each key is a field of the classes that `trl distillation` parses its file with."""
    trl = pytest.importorskip("trl", reason="TRL 1.16 is not installed", exc_type=ImportError)
    if not hasattr(trl, "DistillationConfig"):
        pytest.skip(f"TRL {trl.__version__} has no stable DistillationConfig")
    parsers = (trl.DistillationConfig, trl.ScriptArguments, trl.ModelConfig)
    known = {field.name for parser in parsers for field in dataclasses.fields(parser)}
    assert set(names(parsed(export(RECIPE, "trl", FIXED)["on_policy.yaml"]))) <= known


def test_a_batch_follows_the_step_law_unless_given() -> None:
    """Rounded to eight sequences, in whole steps that cover the tokens."""
    leg = job_of(RECIPE).student
    assert leg.batch % 8 == 0
    assert leg.batch * 4096 == pytest.approx(step_law_batch_tokens(42.88e9), rel=0.03)
    assert (leg.steps - 1) * leg.batch * 4096 < 42.88e9 <= leg.steps * leg.batch * 4096
    assert step_law_learning_rate(1e9, 1e11) == pytest.approx(1.80 * 1e9**-0.713 * 1e11**0.307)


def test_existing_teachers_are_not_trained() -> None:
    """No file for a teacher that is there; a teacher without a shape is named by its path."""
    document = {**RECIPE, "recipe": {**RECIPE["recipe"], "teacher": {
        "parameters": 7e9, "tokens": None, "existing": True, "name": "mine"}}}  # fmt: skip
    files = export(document, "maxtext", FIXED)
    assert "teacher.yml" not in files
    assert parsed(files["student.yml"])["teacher_overrides"] == {
        "load_parameters_path": "TEACHER/0/items"
    }
    with pytest.raises(DocumentError, match="teacher no architecture"):
        export(document, "megatron-lm", FIXED)
    assert "--teacher TEACHER" in export(document, "planner", FIXED)["train.sh"]


@pytest.mark.parametrize("target", EXPORTS)
def test_the_recommended_recipe_is_exported(target: str) -> None:
    """A supervised recommendation trains one model without a teacher, or the target is refused with
    the way to the distillation; `method` turns both round."""
    if EXPORTS[target].alone:
        [text] = export(ALONE, target, FIXED).values()
        assert "9.755e+08 parameters on 1.391e+11 tokens, without a teacher" in text
        assert "TEACHER" not in text
        assert "runs/teacher" not in text
        assert export(RECIPE, target, FIXED, "supervised") == export(ALONE, target, FIXED)
    else:
        with pytest.raises(DocumentError, match="--method distil"):
            export(ALONE, target, FIXED)
    assert export(ALONE, target, FIXED, "distil") == export(RECIPE, target, FIXED)


def test_the_recipe_inside_the_measured_range_is_exported() -> None:
    """Where the plan was decided inside the measured range, so is what is trained."""
    student = {**RECIPE["recipe"]["student"], "tokens": 9e9}
    inside = {"recipe": {**RECIPE["recipe"], "student": student}, "supervised": {
        "model": {**RECIPE["supervised"]["model"], "tokens": 30e9}}}  # fmt: skip
    document = {**RECIPE, "in_domain": inside, "recommendation": {"method": "distil"}}
    assert job_of(document).student.tokens == 9e9
    assert job_of(document, method="supervised").student.tokens == 30e9
    lone = {**inside, "supervised": None}
    assert job_of({**document, "in_domain": lone}).student.tokens == 42.88e9


def test_a_teacher_that_exists_leaves_torchtitan_nothing_to_train() -> None:
    """A sentence, not an empty file."""
    teacher = {**RECIPE["recipe"]["teacher"], "existing": True}
    with pytest.raises(DocumentError, match="--method supervised"):
        export({**RECIPE, "recipe": {**RECIPE["recipe"], "teacher": teacher}}, "torchtitan")


def test_documents_without_a_recipe_are_refused() -> None:
    """A sentence, not a KeyError."""
    with pytest.raises(DocumentError, match="no recipe"):
        export({"schema_version": 1}, "maxtext")


@pytest.mark.parametrize(
    "change", [{"mixing": 1.4}, {"temperature": 0.0}, {"batch": 0}, {"devices": 0}]
)
def test_impossible_settings_are_refused(change: dict[str, Any]) -> None:
    """One sentence each."""
    with pytest.raises(QuantityError):
        Settings(**change)


@pytest.mark.parametrize("value", [1e-5, 0.1, 3, True, None, "x: y", [1e-6, "a"], {"k": 2.0}])
def test_scalars_survive_yaml(value: Any) -> None:
    """Floats keep a point, without which YAML 1.1 reads 1e-05 as text."""
    assert parsed(f"key: {scalar(value)}")["key"] == value
