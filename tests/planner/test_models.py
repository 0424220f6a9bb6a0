"""Open models by name: sizes and FLOPs from shapes, against published figures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laws.architecture import Family
from planner.errors import DocumentError, ProblemError
from planner.models import Model, find, models, parse_models, vocabulary_remark
from planner.problem import Teacher

ALL = {  # parameters with embeddings, as model cards and weight files state them
    "Llama-2-7B": 6_738_415_616,
    "Llama-3.1-8B": 8_030_261_248,
    "Llama-3.1-70B": 70_553_706_496,
    "Llama-3.1-405B": 405.85e9,
    "Llama-3.2-1B": 1_235_814_400,
    "Llama-3.2-3B": 3_212_749_824,
    "Qwen2.5-0.5B": 494_032_768,
    "Qwen2.5-7B": 7_615_616_512,
    "Qwen3-8B": 8_190_735_360,
    "Qwen3-30B-A3B": 30_532_122_624,
    "Qwen3-235B-A22B": 235.1e9,
    "OLMo-2-7B": 7_298_617_344,
    "OLMo-2-13B": 13_716_198_400,
    "OLMo-2-1B": 1_484_916_736,
    "SmolLM2-135M": 134_515_008,
    "SmolLM2-1.7B": 1_711_376_384,
    "SmolLM3-3B": 3_075_098_624,
    "Mistral-7B": 7_241_732_096,
    "Mistral-Nemo-12B": 12_247_782_400,
    "Mixtral-8x7B": 46_702_792_704,
    "Phi-4": 14_659_507_200,
    "OLMoE-1B-7B": 6_919_161_856,
    "Gemma-3-1B": 999_885_952,
}
NON_EMBEDDING = {  # as the technical reports state them, in billions
    "Qwen3-0.6B": 0.44,
    "Qwen3-1.7B": 1.41,
    "Qwen3-4B": 3.6,
    "Qwen3-14B": 13.2,
    "Qwen3-32B": 31.2,
    "Qwen2.5-72B": 70.0,
    "Gemma-2-2B": 2.024517888,
    "Gemma-2-9B": 8.324201984,
    "Gemma-2-27B": 26.047480320,
    "Gemma-3-1B": 0.698,
    "Gemma-3-4B": 3.209,
    "Gemma-3-12B": 10.759,
    "Gemma-3-27B": 25.600,
    "Pythia-12B": 11.327027200,
}


@pytest.mark.parametrize("name", ALL)
def test_parameters_are_those_of_the_weights(name: str) -> None:
    """Computed from the shape, within 0.1% of what is published."""
    assert find(name).all_parameters == pytest.approx(ALL[name], rel=1e-3)


@pytest.mark.parametrize("name", NON_EMBEDDING)
def test_non_embedding_parameters_are_those_of_the_reports(name: str) -> None:
    """To the digits printed."""
    assert find(name).parameters / 1e9 == pytest.approx(NON_EMBEDDING[name], rel=0.012)


def test_published_overrides_agree_with_the_shape() -> None:
    """A stated size is the shape's to 0.2% (biases are not counted)."""
    for model in models():
        if model.size is not None:
            assert replace(model, size=None).parameters == pytest.approx(model.size, rel=2e-3)


def test_active_parameters_of_mixtures() -> None:
    """With embeddings 12.9B, 3.3B and 1.3B; inference costs these alone."""
    for name, billions in (("Mixtral-8x7B", 12.9), ("Qwen3-30B-A3B", 3.3), ("OLMoE-1B-7B", 1.3)):
        model = find(name)
        embeddings = model.all_parameters - model.parameters
        assert (model.active_parameters + embeddings) / 1e9 == pytest.approx(billions, rel=0.03)
        assert model.forward_flops(1) < 2.1 * (model.active_parameters + embeddings)


@pytest.mark.parametrize(
    "written",
    ["llama-3.1-8b", "Llama 3.1 8B", "meta-llama/Llama-3.1-8B", "LLAMA3.1-8B", "Meta-Llama-3.1-8B"],
)
def test_names_are_forgiven(written: str) -> None:
    """Case, spaces, hyphens and the organisation do not matter."""
    assert find(written).name == "Llama-3.1-8B"


def test_every_model_is_found_and_cited() -> None:
    """By its own name, with and without the ending of base weights."""
    for model in models():
        assert find(model.name) is model
        assert find(f"org/{model.name}-Base") is model
        assert model.source
        assert model.tokens is None or 1e11 < model.tokens < 1e14


@pytest.mark.parametrize("name", ["llama-3.1-9b", "Qwen-3-8", "gemma3-28b"])
def test_unknown_models_get_suggestions(name: str) -> None:
    """The nearest names."""
    with pytest.raises(ProblemError, match="did you mean"):
        find(name)
    with pytest.raises(ProblemError, match="known: Pythia"):
        find("zzzzzzzzzz")


def test_flops_are_those_of_the_papers_count() -> None:
    """For a model of the paper's family they are the count behind Table 13."""
    for built in (Family().build(8), Family().build(30)):
        model = Model(
            "x", built.layers, built.d_model, built.heads, built.kv_heads, 128, built.d_ff,
            32_768, True, "t", "s", size=built.parameters,
        )  # fmt: skip
        assert model.forward_flops(4096) == built.forward_flops(4096, 32_768)


@given(st.integers(1, 131_072), st.sampled_from(models()))
def test_flops_grow_with_context_and_windows_save(context: int, model: Model) -> None:
    """Longer contexts cost more, local layers never more than global ones."""
    flops = model.forward_flops(context)
    assert flops < model.forward_flops(context + 1)
    assert flops <= replace(model, local_layers=0).forward_flops(context)
    assert flops > 2 * model.active_parameters


def test_a_model_becomes_a_teacher() -> None:
    """Its size with tokens, or with a measured loss; a mixture needs the loss."""
    teacher = Teacher(**find("llama-3.1-8b").as_teacher())
    assert (teacher.size, teacher.tokens) == (6_979_588_096.0, 15e12)
    assert Teacher(**find("llama-3.1-8b").as_teacher(loss=1.9)).tokens is None
    with pytest.raises(ProblemError, match="mixture of experts"):
        Teacher(**find("qwen3-30b-a3b").as_teacher())
    with pytest.raises(ProblemError, match="no published number"):
        Teacher(**find("mistral-7b").as_teacher())
    measured = Teacher(**find("qwen3-30b-a3b").as_teacher(loss=1.8))
    assert measured.size == find("qwen3-30b-a3b").active_parameters


def test_tokenizers_are_spoken_of() -> None:
    """One vocabulary, or no logits."""
    llama, smol, qwen = find("llama-3.1-8b"), find("smollm3-3b"), find("qwen3-0.6b")
    assert "needs the teacher's vocabulary" in vocabulary_remark(llama)
    assert "share" in vocabulary_remark(llama, smol)
    assert "does not describe" in vocabulary_remark(llama, qwen)


ROW = (
    '[[model]]\nname = "M"\nlayers = 2\nd_model = 64\nheads = 4\nkv_heads = 2\nhead_size = 16\n'
    'd_ff = 128\nvocabulary = 100\ntied = true\ntokenizer = "t"\nsource = "s"\n'
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must hold"),
        ("[[model", "not TOML"),
        (ROW.replace("layers = 2\n", ""), "layers is missing"),
        (ROW.replace("kv_heads = 2", "kv_heads = 3"), "divide evenly"),
        (ROW.replace("tied = true", 'tied = "yes"'), "not of its type"),
        (ROW.replace("layers = 2", "layers = true"), "not of its type"),
        (ROW + "bogus = 1\n", "unknown key"),
        (ROW + "experts = 4\nactive_experts = 5\n", "cannot be active"),
    ],
)
def test_a_wrong_catalogue_is_refused(text: str, says: str) -> None:
    """Every fault is named."""
    with pytest.raises(DocumentError, match=says):
        parse_models(text, "the file")


def test_ones_own_catalogue_is_searched_alike() -> None:
    """Models of one's own, by their names."""
    mine = parse_models(ROW, "the file")
    assert find(" m ", mine) is mine[0]
