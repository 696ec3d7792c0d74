"""The optimizer, its learning rates and the loss are PyTorch's own."""

import contextlib
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from src.config import DataLoader, Teacher, Train
from src.logic.thermometer import Thermometer
from src.options import with_option
from src.training.optimisation import (
    averaged_weights,
    create_average,
    create_optimizer,
    frames_of_group,
    learning_rate,
    set_learning_rate,
    training_loss,
    update_average,
)

UPDATES = 7  # an epoch


def rates_of(options):
    """Return the learning rate of every update of the run."""
    return [learning_rate(options, update, UPDATES) for update in range(options.epochs * UPDATES)]


def pytorch_rates(options, make, count, warmup=0):
    """What a chain of PyTorch's LinearLR, for the warm-up, and another scheduler gives."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=options.learning_rate)
    schedulers = [make(optimizer)]
    if warmup:
        schedulers.append(lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup))
    chain = lr_scheduler.ChainedScheduler(schedulers)
    rates = []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        chain.step()
    return rates


def test_the_default_learning_rate_is_constant_and_exactly_the_option():
    assert set(rates_of(Train(epochs=3, learning_rate=0.013))) == {0.013}


@pytest.mark.parametrize("warmup_epochs", [1, 1.5, 0.01])
def test_warm_up_rises_as_pytorchs_linear_schedule(warmup_epochs):
    options = Train(epochs=4, learning_rate=0.02, warmup_epochs=warmup_epochs)
    warmup = round(warmup_epochs * UPDATES)
    constant = lambda optimizer: lr_scheduler.ConstantLR(optimizer, factor=1)  # noqa: E731
    assert rates_of(options) == pytest.approx(pytorch_rates(options, constant, 4 * UPDATES, warmup))
    assert rates_of(options)[warmup:] == [0.02] * (4 * UPDATES - warmup)


@pytest.mark.parametrize("lowest", [0.0, 0.003])
def test_cosine_is_pytorchs_cosine_annealing(lowest):
    options = Train(epochs=5, learning_rate=0.02, scheduler="cosine", min_learning_rate=lowest)
    expected = pytorch_rates(
        options, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=5 * UPDATES, eta_min=lowest), 5 * UPDATES
    )
    assert rates_of(options) == pytest.approx(expected)


def test_cosine_begins_after_the_warm_up():
    options = Train(epochs=5, learning_rate=0.02, scheduler="cosine", warmup_epochs=2)
    rest = Train(epochs=3, learning_rate=0.02, scheduler="cosine")
    rates = rates_of(options)
    assert rates[2 * UPDATES :] == rates_of(rest)
    assert rates[: 2 * UPDATES] == [pytest.approx(0.02 * (i + 1) / (2 * UPDATES + 1)) for i in range(2 * UPDATES)]


@pytest.mark.parametrize("warmup_epochs", [0, 3])
def test_step_is_pytorchs_step_schedule_and_no_lower_than_the_lowest(warmup_epochs):
    options = Train(
        epochs=9, learning_rate=0.5, scheduler="step", step_epochs=2, step_factor=0.3, warmup_epochs=warmup_epochs
    )
    expected = pytorch_rates(
        options,
        lambda o: lr_scheduler.StepLR(o, step_size=2 * UPDATES, gamma=0.3),
        9 * UPDATES,
        warmup_epochs * UPDATES,
    )
    assert rates_of(options) == pytest.approx(expected)
    options = with_option(options, "min_learning_rate", 0.1)
    assert min(rates_of(options)[warmup_epochs * UPDATES :]) == 0.1


@given(
    scores=st.lists(st.sampled_from([0.25, 0.5, 0.75, -math.inf]), max_size=30),
    patience=st.integers(0, 4),
    lowest=st.sampled_from([0.0, 0.02]),
)
def test_plateau_is_pytorchs_reduction_on_a_plateau(scores, patience, lowest):
    options = Train(
        learning_rate=0.5,
        min_learning_rate=lowest,
        scheduler="plateau",
        plateau_patience=patience,
        plateau_factor=0.5,
    )
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", factor=0.5, patience=patience, threshold=0, min_lr=lowest, eps=0
    )
    for epoch in range(len(scores)):
        assert learning_rate(options, epoch, 1, scores[:epoch]) == pytest.approx(optimizer.param_groups[0]["lr"])
        scheduler.step(scores[epoch])


@given(
    scheduler=st.sampled_from(["constant", "cosine", "step"]),
    epochs=st.integers(1, 20),
    updates=st.integers(1, 9),
    warmup=st.floats(0, 0.999),
)
def test_a_learning_rate_is_above_0_and_at_most_the_option(scheduler, epochs, updates, warmup):
    options = Train(epochs=epochs, learning_rate=0.1, scheduler=scheduler, warmup_epochs=warmup * epochs)
    for update in range(epochs * updates):
        assert 0 < learning_rate(options, update, updates) <= 0.1


def updated(options, rates):
    """A parameter after steps down the same gradients, with create_optimizer's optimizer."""
    parameter = torch.nn.Parameter(torch.linspace(-1, 1, 5))
    optimizer = create_optimizer(torch.nn.ParameterList([parameter]), options)
    for rate in rates:
        set_learning_rate(optimizer, rate)
        parameter.grad = parameter.detach() ** 2
        optimizer.step()
    return parameter.detach()


def test_without_weight_decay_the_optimizer_is_adam():
    assert type(create_optimizer(torch.nn.Linear(1, 1), Train())) is torch.optim.Adam


def test_weight_decay_is_decoupled_from_the_gradients_and_follows_the_learning_rate():
    rates, decay = [0.1, 0.05], 0.2
    expected = torch.linspace(-1, 1, 5)
    plain = torch.optim.Adam([moving := torch.nn.Parameter(expected.clone())], lr=1.0)
    for rate in rates:  # AdamW: shrink by rate * decay, then Adam's step
        plain.param_groups[0]["lr"] = rate
        moving.grad = moving.detach() ** 2
        with torch.no_grad():
            moving *= 1 - rate * decay
        plain.step()
    torch.testing.assert_close(updated(Train(weight_decay=decay), rates), moving.detach())


def test_weight_decay_leaves_learnable_thresholds_where_their_gradients_take_them():
    model = torch.nn.Sequential(Thermometer(3, channels=1, learnable=True), torch.nn.Linear(3, 2))
    optimizer = create_optimizer(model, Train(weight_decay=0.1))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 3
    thresholds, weights = model[0].thresholds.detach().clone(), model[1].weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_learning_rate(optimizer, 0.5)
    optimizer.step()
    assert torch.equal(model[0].thresholds, thresholds)
    torch.testing.assert_close(model[1].weight, weights * 0.95)


def test_label_smoothing_spreads_a_part_of_the_target_over_all_classes():
    scores = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 3, 9, 9, 1, 2])
    targets = 0.8 * torch.nn.functional.one_hot(labels, 10) + 0.2 / 10
    expected = -(targets * scores.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(training_loss(scores[:, None], labels, Train(label_smoothing=0.2)), expected)
    assert training_loss(scores[:, None], labels, Train()) == torch.nn.functional.cross_entropy(scores, labels)


def test_a_teachers_part_of_the_loss_is_its_softened_cross_entropy_times_t_squared():
    scores, taught = torch.randn(2, 6, 10).unbind()
    labels = torch.tensor([0, 3, 9, 9, 1, 2])
    options = Train(teacher=Teacher(weight=0.25, temperature=3.0))
    softened = -((taught / 3).softmax(1) * (scores / 3).log_softmax(1)).sum(1).mean()
    expected = 0.75 * torch.nn.functional.cross_entropy(scores, labels) + 0.25 * 9 * softened
    torch.testing.assert_close(training_loss(scores[:, None], labels, options, taught), expected)


def test_the_loss_of_groups_of_scores_is_the_mean_of_what_each_has_by_itself():
    groups, taught = torch.randn(6, 3, 10), torch.randn(6, 10)
    labels = torch.tensor([0, 3, 9, 9, 1, 2])
    options = Train(label_smoothing=0.1, teacher=Teacher(weight=0.25, temperature=3.0))
    for teacher in (None, taught):
        alone = [training_loss(scores[:, None], labels, options, teacher) for scores in groups.unbind(1)]
        torch.testing.assert_close(training_loss(groups, labels, options, teacher), torch.stack(alone).mean())


def test_the_loss_is_taken_in_float32():
    assert training_loss(torch.zeros(2, 1, 10, dtype=torch.float16), torch.tensor([0, 1]), Train()).item() == (
        pytest.approx(math.log(10), rel=1e-6)
    )


@given(frames=st.integers(1, 100), batch_size=st.integers(1, 9), group=st.integers(1, 5))
def test_the_frames_of_an_epochs_groups_are_those_of_their_batches(frames, batch_size, group):
    options = Train(accumulate_batches=group, dataloader=DataLoader(batch_size=batch_size))
    sizes = [min(batch_size, frames - first) for first in range(0, frames, batch_size)]
    for batch in range(len(sizes)):
        first = batch - batch % group
        assert frames_of_group(batch, frames, options) == sum(sizes[first : first + group])


def test_the_average_is_a_hand_written_one_without_weights_before_the_first_update():
    decay, history = 0.9, [torch.randn(3, 2, generator=torch.Generator().manual_seed(i)) for i in range(5)]
    model = torch.nn.Linear(2, 3, bias=False)
    average = create_average(model, Train(ema_decay=decay))
    for number, weights in enumerate(history):
        model.weight.data.copy_(weights)
        update_average(average, model, decay, number + 1)
    shares = [decay ** (len(history) - 1 - i) for i in range(len(history))]
    expected = sum(share * weights for share, weights in zip(shares, history, strict=True)) / sum(shares)
    torch.testing.assert_close(average[0], expected)


def test_many_updates_later_the_average_is_pytorchs():
    decay, model = 0.5, torch.nn.Linear(1, 1)
    pytorchs = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
    )
    average = create_average(model, Train(ema_decay=decay))
    for number in range(40):
        torch.nn.init.normal_(model.weight)
        pytorchs.update_parameters(model)
        update_average(average, model, decay, number + 1)
    torch.testing.assert_close(average[0], pytorchs.module.weight.detach())


def test_the_model_has_the_averages_weights_only_for_a_while_whatever_happens():
    model = torch.nn.Linear(2, 2)
    own = model.weight.detach().clone()
    average = [torch.ones(2, 2), torch.ones(2)]
    with contextlib.suppress(KeyError), averaged_weights(model, average):
        assert model.weight.eq(1).all()
        raise KeyError
    assert model.weight.equal(own)
    with averaged_weights(model, create_average(model, Train())):
        assert model.weight.equal(own)
