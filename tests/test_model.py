"""The three models: shapes, packed inputs, errors for options that do not fit."""

import numpy as np
import pytest
import torch

from src.command_line import UserError
from src.config import Config, ConvolutionOptions, DiffLogicOptions, Model
from src.logic import LogicConvolution, LogicLayer
from src.logic.learned_convolution import LearnedLogicConvolution
from src.model import DiffLogic, create_model, least_size, unpack_frames
from src.options import with_option
from tests.configs import changed

SHAPE = (2, 9, 13)  # 234 bits: the last byte of a packed frame is not full


def options(model_type="difflogic", **difflogic):
    return Model(model_type, DiffLogicOptions(**{"num_neurons": 200, **difflogic}))


def convolutional(kernels=(3, 5), **convolution):
    """A small convolutional network's options."""
    layers = ConvolutionOptions(kernels=kernels, **convolution)
    return options(architecture="convolutional", num_layers=1, convolution=layers)


def random_packed(batch=5):
    packed = torch.randint(0, 256, (batch, 30), dtype=torch.uint8)
    return packed, unpack_frames(packed, SHAPE, torch.float32)


@pytest.mark.parametrize("model_type", ["difflogic", "cnn", "mlp"])
def test_scores_have_a_column_per_class(model_type):
    model = create_model(options(model_type), SHAPE, 10)
    assert model(random_packed()[1]).shape == (5, 10)


@pytest.mark.parametrize("model_type", ["difflogic", "cnn", "mlp"])
def test_packed_frames_give_the_scores_of_the_frames(model_type):
    model = create_model(options(model_type), SHAPE, 10)
    packed, frames = random_packed()
    assert torch.equal(model.forward_packed(packed), model(frames))


def test_unpacked_frames_follow_the_order_of_the_cache():
    frames = torch.rand(4, *SHAPE) > 0.5
    bits = torch.nn.functional.pad(frames.flatten(1), (0, 6)).reshape(4, 30, 8).to(torch.uint8)
    packed = (bits << torch.arange(8, dtype=torch.uint8)).sum(-1).to(torch.uint8)
    assert torch.equal(unpack_frames(packed, SHAPE, torch.bool), frames)


def test_the_scores_of_a_discretised_network_are_counts_over_tau():
    model = create_model(options(tau=4.0), SHAPE, 10).eval()
    counts = model(random_packed()[1]) * 4
    assert torch.equal(counts, counts.round())
    assert counts.min() >= 0
    assert counts.max() <= 20


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("model_type", ["difflogic", "cnn", "mlp"])
def test_models_train_under_autocast_with_float32_weights(model_type, dtype):
    model = create_model(options(model_type), SHAPE, 10)
    with torch.autocast("cpu", dtype):
        scores = model.forward_packed(random_packed()[0])
    scores.float().logsumexp(1).sum().backward()
    assert all(p.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())


def test_implementations_draw_the_same_network_and_agree():
    scores = []
    for implementation in ("torch", "numba"):
        torch.manual_seed(0)
        model = create_model(options(implementation=implementation), SHAPE, 10)
        scores.append(model.forward_packed(torch.arange(60, dtype=torch.uint8).reshape(2, 30)))
    torch.testing.assert_close(*scores)


def test_layers_have_the_asked_for_width_and_number():
    model = create_model(options(num_layers=3), SHAPE, 10)
    assert isinstance(model, DiffLogic)
    assert [(layer.in_dim, layer.out_dim) for layer in model.layers] == [(234, 200), (200, 200), (200, 200)]


def test_convolutions_come_before_the_dense_layers():
    model = create_model(convolutional(pooling=(2, 1), receptive_field=(3, 5)), SHAPE, 10)
    first, second, dense = model.layers
    assert (first.in_shape, first.out_shape, first.receptive_field) == ((2, 9, 13), (3, 4, 6), 3)
    assert (second.in_shape, second.out_shape, second.receptive_field) == ((3, 4, 6), (5, 4, 6), 5)
    assert (dense.in_dim, dense.out_dim) == (120, 200)


def test_a_convolutional_network_counts_bits_of_packed_frames_when_discretised():
    model = create_model(convolutional(), SHAPE, 10)
    packed, frames = random_packed()
    assert torch.equal(model.forward_packed(packed), model(frames))
    counts = model.eval()(frames) * model.tau
    torch.testing.assert_close(counts, counts.round())


def test_votes_count_the_bits_of_the_last_layer():
    o = options(readout="votes", num_neurons=201, tau=4.0)  # 201: no class has neurons of its own
    model = create_model(o, SHAPE, 10)
    assert model.votes.weights.shape == (10, 201)
    torch.nn.init.normal_(model.votes.weights, std=2)
    packed, frames = random_packed()
    assert torch.equal(model.forward_packed(packed), model(frames))
    counts = model.eval()(frames).detach() * model.tau
    assert torch.equal(counts, counts.round())
    assert counts.min() >= 0
    assert np.array_equal(model.circuit()(packed.numpy()), counts.numpy())


def test_convolutions_whose_bits_have_votes_need_no_dense_layer():
    o = changed(convolutional(), {"difflogic.num_layers": 0, "difflogic.readout": "votes"})
    model = create_model(o, SHAPE, 10)
    assert [type(layer) for layer in model.layers] == [LogicConvolution, LogicConvolution]
    torch.nn.init.normal_(model.votes.weights, std=2)
    packed, frames = random_packed()
    scores = model.eval()(frames).detach()
    assert torch.equal(model.forward_packed(packed), scores)
    assert np.array_equal(model.circuit().simplified()(packed.numpy()).astype(np.float32) / 10, scores.numpy())


@pytest.mark.parametrize(("architecture", "readout"), [("dense", "votes"), ("convolutional", "sum")])
def test_a_network_of_no_dense_layers_needs_convolutions_and_votes(architecture, readout):
    with pytest.raises(UserError, match=r"num_layers = 0: only .*architecture=convolutional with .*readout=votes"):
        create_model(options(architecture=architecture, readout=readout, num_layers=0), SHAPE, 10)


def of_members(members, candidates=1):
    o = convolutional()
    o = changed(o, {"difflogic.num_layers": 0, "difflogic.readout": "votes", "difflogic.members": members})
    o = changed(o, {"difflogic.convolution.kernels": [4, 8], "difflogic.convolution.candidates": [candidates]})
    model = create_model(o, SHAPE, 10)
    torch.nn.init.normal_(model.votes.weights)
    return model


def test_members_have_scores_of_their_own_whose_mean_is_the_models():
    model, (packed, _) = of_members(4), random_packed()
    scores = model.forward_training(packed)
    assert scores.shape == (len(packed), 4, 10)
    torch.testing.assert_close(scores.mean(1).softmax(1), model.forward_packed(packed).softmax(1))
    assert not torch.allclose(scores[:, 0].softmax(1), scores[:, 1].softmax(1))


@pytest.mark.parametrize("candidates", [1, 3])
def test_members_share_nothing_that_is_learned(candidates):
    model = of_members(2, candidates)
    model.forward_training(random_packed()[0])[:, 0].square().sum().backward()
    for layer in model.logic_layers():
        mine, others = layer.weights.grad.chunk(2)
        assert mine.any()
        assert not others.any()
    mine, others = model.votes.weights.grad.chunk(2, 1)
    assert mine.any()
    assert not others.any()


@pytest.mark.parametrize("model_type", ["difflogic", "cnn", "mlp"])
def test_a_model_without_votes_trains_on_the_scores_that_it_classifies_by(model_type):
    model = create_model(options(model_type=model_type), SHAPE, 10)
    packed, _ = random_packed()
    assert torch.equal(model.forward_training(packed)[:, 0], model.forward_packed(packed))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "members = 3: only .*readout=votes without dense layers"),
        ({"readout": "votes"}, "members = 3: only .*num_layers=0, has members"),
        (
            {"readout": "votes", "num_layers": 0},
            r"kernels = \[32, 128\] must be multiples of model.difflogic.members = 3",
        ),
    ],
)
def test_members_need_votes_alone_and_to_share_the_kernels_equally(changes, message):
    with pytest.raises(UserError, match=message):
        create_model(options(architecture="convolutional", members=3, **changes), SHAPE, 10)


def test_votes_are_learned_and_their_first_gradient_goes_to_them():
    model = create_model(options(readout="votes"), SHAPE, 10)
    model.forward_packed(random_packed()[0])[:, 0].sum().backward()
    assert model.votes.weights.grad[0].count_nonzero() > 100
    assert model.votes.weights.grad[1:].count_nonzero() == 0


def test_by_default_convolutions_begin_as_pass_throughs_and_dense_layers_do_not():
    o = convolutional()

    def kinds(of):
        layers = create_model(o, SHAPE, 10).layers
        return {gate for layer in layers if isinstance(layer, of) for gate in layer.discretised_gates().tolist()}

    assert kinds(LogicConvolution) == {3}
    assert len(kinds(LogicLayer)) > 5
    o = with_option(o, "difflogic.initialisation", "residual")
    assert kinds(LogicLayer) == {3}
    o = with_option(o, "difflogic.initialisation", "normal")
    assert len(kinds(LogicConvolution)) > 5


def test_a_convolution_s_leaves_are_learned_where_it_has_candidates():
    first, second, _ = create_model(convolutional(candidates=(1, 4)), SHAPE, 10).logic_layers()
    assert type(first) is LogicConvolution
    assert isinstance(second, LearnedLogicConvolution)
    assert second.logits.shape == (5, second.shape.leaves, 4)


def test_more_candidates_than_a_receptive_field_has_pixels_are_a_user_s_error():
    with pytest.raises(UserError, match="convolution, layer 1: 51 candidates cannot be told apart among 50 pixels"):
        create_model(convolutional(candidates=(51,)), SHAPE, 10)


def test_implementations_draw_the_same_convolutional_network_and_agree():
    scores = []
    for implementation in ("torch", "numba"):
        torch.manual_seed(0)
        o = convolutional()
        o = with_option(o, "difflogic.implementation", implementation)
        scores.append(create_model(o, SHAPE, 10).forward_packed(torch.arange(60, dtype=torch.uint8).reshape(2, 30)))
    torch.testing.assert_close(*scores)


def test_frames_too_small_for_the_pooling_are_a_user_s_error():
    message = "model.difflogic.convolution, layer 4: 1 x 1 pixels are left, too few for pooling windows of 2 x 2"
    with pytest.raises(UserError, match=message):
        create_model(convolutional(kernels=(2, 2, 2, 2)), SHAPE, 10)


def test_a_list_of_another_length_than_the_layers_is_a_user_s_error():
    message = r"receptive_field = \[3, 3, 3\] must have one entry, or one for each of the 2 entries of .*kernels"
    with pytest.raises(UserError, match=message):
        create_model(convolutional(receptive_field=(3, 3, 3)), SHAPE, 10)


def test_neurons_that_do_not_divide_by_the_classes_are_a_user_s_error():
    with pytest.raises(UserError, match=r"num_neurons = 200 must be a multiple of the 7 classes, such as 203"):
        create_model(options(), SHAPE, 7)


def test_last_neurons_that_do_not_divide_by_the_classes_are_named():
    with pytest.raises(UserError, match=r"last_neurons = 205 must be a multiple of the 10 classes, such as 200"):
        create_model(options(last_neurons=205), SHAPE, 10)


def test_too_few_neurons_for_the_frame_are_a_user_s_error():
    with pytest.raises(UserError, match="num_neurons = 100: 100 neurons cannot use all of 234 inputs"):
        create_model(options(num_neurons=100), SHAPE, 10)


def test_too_few_pairs_for_unique_connections_are_a_user_s_error():
    with pytest.raises(UserError, match="unique"):
        create_model(options(num_neurons=30_000, connections="unique"), SHAPE, 10)


@pytest.mark.parametrize(("model_type", "levels"), [("cnn", 0), ("mlp", 0), ("difflogic", 1), ("difflogic", 3)])
def test_counts_reach_the_model_as_they_are(model_type, levels):
    model = create_model(options(model_type, thermometer_levels=levels, num_neurons=400), SHAPE, 10, "counts")
    counts = torch.randint(0, 256, (5, *SHAPE), dtype=torch.uint8)
    assert torch.equal(model.forward_packed(counts.reshape(5, 234)), model(counts.float()))


@pytest.mark.parametrize("model_type", ["cnn", "mlp"])
def test_counts_of_at_most_one_give_the_scores_of_the_binary_frame(model_type):
    packed, frames = random_packed()
    scores = []
    for dtype, content in (("binary", packed), ("counts", frames.to(torch.uint8).reshape(5, 234))):
        torch.manual_seed(0)
        scores.append(create_model(options(model_type), SHAPE, 10, dtype).forward_packed(content))
    assert torch.equal(*scores)


def test_a_thermometer_of_one_level_gives_the_scores_of_the_binary_frame():
    packed, frames = random_packed()
    scores = []
    for levels, dtype, content in ((0, "binary", packed), (1, "counts", frames.to(torch.uint8).flatten(1) * 9)):
        torch.manual_seed(0)
        scores.append(create_model(options(thermometer_levels=levels), SHAPE, 10, dtype).forward_packed(content))
    assert torch.equal(*scores)


def test_learnable_thresholds_are_trained_with_the_gates():
    model = create_model(options(thermometer_levels=2, thermometer="learnable", num_neurons=300), SHAPE, 10, "counts")
    model.forward_packed(torch.randint(0, 4, (5, 234), dtype=torch.uint8)).logsumexp(1).sum().backward()
    assert model.thermometer.thresholds.grad.count_nonzero() == 2


@pytest.mark.parametrize("thermometer", ["fixed", "learnable"])
def test_a_circuit_of_a_model_with_a_thermometer_counts_what_the_model_does(thermometer):
    model = create_model(
        options(thermometer_levels=2, thermometer=thermometer, num_neurons=300), SHAPE, 10, "counts"
    ).eval()
    counts = torch.randint(0, 4, (70, 234), dtype=torch.uint8)
    found = model.circuit()(model.circuit_inputs(counts).numpy())
    assert torch.equal(torch.from_numpy(found) / model.tau, model.forward_packed(counts))


def test_logic_gates_on_counts_without_a_thermometer_are_a_user_s_error():
    with pytest.raises(UserError, match=r"data.frame_dtype = counts: .* difflogic takes bits; use .*=binary"):
        create_model(options(), SHAPE, 10, "counts")


def test_a_thermometer_on_binary_frames_is_a_user_s_error():
    with pytest.raises(UserError, match=r"thermometer_levels = 2: there are no counts .* use data.frame_dtype=counts"):
        create_model(options(thermometer_levels=2), SHAPE, 10)


def test_a_cnn_on_too_small_frames_is_a_user_s_error():
    with pytest.raises(UserError, match="too small to pool twice"):
        create_model(options("cnn"), (2, 3, 8), 10)


@pytest.mark.parametrize(
    "options",
    [
        "model.difflogic.num_neurons=3000",
        "model.difflogic.num_neurons=3000 model.difflogic.connections=learned model.difflogic.parametrisation=walsh",
        "model.difflogic.num_neurons=3000 model.difflogic.fan_in=6 model.difflogic.connections=learned "
        "model.difflogic.parametrisation=light",
        "model.difflogic.num_neurons=8000 model.difflogic.architecture=convolutional",
        "model.model_type=cnn",
        "model.model_type=mlp",
    ],
)
def test_the_least_size_is_nearly_that_of_the_model_and_never_more(tmp_path, options):
    (tmp_path / "small.yaml").write_text("model: {model_type: difflogic}")
    config = Config.from_yaml(tmp_path / "small.yaml", [options])
    parameters = sum(parameter.numel() for parameter in create_model(config.model, (2, 34, 34), 10).parameters())
    assert 0.9 * parameters <= sum(least_size(config.model, (2, 34, 34), 10).parameters.values()) <= parameters


@pytest.mark.parametrize("parametrisation", ["light", "walsh"])
def test_a_network_of_truth_tables_has_a_weight_for_each_corner(parametrisation):
    o = options(fan_in=6, parametrisation=parametrisation, num_neurons=500, num_layers=2, last_neurons=100)
    layers = create_model(o, SHAPE, 10).logic_layers()
    assert [layer.weights.shape for layer in layers] == [(500, 64), (100, 64)]
    assert [len(layer.indices) for layer in layers] == [6, 6]


def test_a_network_of_truth_tables_needs_a_parametrisation_that_has_them():
    message = "model.difflogic.fan_in = 4: parametrisation 'softmax' has gates of two inputs only"
    with pytest.raises(UserError, match=message):
        create_model(options(fan_in=4), SHAPE, 10)


def test_the_price_of_a_convolution_counts_every_position():
    o = changed(convolutional(), {"difflogic.parametrisation": "light"})
    model = create_model(o, SHAPE, 10)
    first = model.logic_layers()[0]
    torch.nn.init.zeros_(first.weights)
    torch.nn.init.constant_(first.weights[:, 3], 40.0)
    torch.nn.init.constant_(first.weights[:, :3], -40.0)  # every gate is AND, whose excess influence is a half
    for layer in model.logic_layers()[1:]:
        torch.nn.init.constant_(layer.weights, 40.0)  # constants are free
    positions = first.shape.pool**2 * first.shape.out_height * first.shape.out_width
    assert model.hardware_price().item() == pytest.approx(0.5 * len(first.weights) * positions)
