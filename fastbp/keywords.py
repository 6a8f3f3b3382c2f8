"""Errors for unknown keywords: they suggest the closest known one, or the equivalent of another library's keyword."""

from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

from .words import key

F = TypeVar("F", bound=Callable[..., Any])
Table = dict[str, str]
ARGUMENTS: dict[str, tuple[str, ...]] = {}    # arguments of each function that `explained` has decorated, by its name


def _table(lines: Mapping[str, str]) -> Table:
    """{key of a word: hint} of {words: hint}"""
    return {key(word): hint for words, hint in lines.items() for word in words.split()}


RATE = "use optimizer=fastbp.Adam(learning_rate)"
STEPS = {
    "lr learning_rate learning_rate_init eta step_size": RATE,
    "momentum nesterov": "use optimizer=fastbp.SGD(learning_rate, momentum=0.9)",
    "beta_1 beta_2 betas epsilon eps": "it belongs to the optimizer: fastbp.Adam(0.001, beta_1=0.9)",
    "solver algorithm method optimiser opt": "use optimizer",
    "scheduler lr_scheduler schedule lr_schedule": "use optimizer=fastbp.Adam(schedule), see fastbp.schedules",
    "alpha l2 l2_reg reg_lambda lambda lambda_ regularization": "use weight_decay",
    "loss criterion loss_fn objective output hidden_layer_sizes layer_sizes": "it belongs to fastbp.Network",
    "random_state rng random_seed generator": "use seed",
    "grad_clip max_norm max_grad_norm gradient_clip_val": "use clip_norm",
    "n_jobs workers num_threads threads num_workers": "use n_threads",
    "class_weight class_weights": "use sample_weight, a weight for each example",
    "param_groups lr_mult lr_multipliers learning_rates layer_lr lr_factors": "use learning_rate_factors",
    "freeze frozen trainable trainable_layers": "use free, the numbers of the layers to train",
    "device gpu": "fastbp computes on the CPU",
}
HINTS: dict[str, Table] = {
    "train": _table({
        **STEPS,
        "verbose verbosity bar disp": "progress=True shows a bar",
        "max_iter maxiter n_epochs nb_epoch num_epochs n_iter iterations": "use epochs",
        "bs minibatch_size mini_batch_size": "use batch_size",
        "eval_set val_data validation_set X_val test_data": "use validation_data=(X, Y)",
        "y_val": "use validation_data=(X, Y)",
        "validation_fraction val_split test_size": "use validation_split",
        "early_stopping patience n_iter_no_change": "use callbacks=[fastbp.callbacks.EarlyStopping(patience=10)]",
        "x x_train data": "the examples are X",
        "y_train labels target targets": "the targets are Y",
    }),
    "train_many": _table({
        **STEPS,
        "network networks models estimators": "the networks are nets",
        "validation_data validation_split eval_set val_data X_val test_size": "use validation_rows",
        "indices index subset folds train_indices": "use rows",
        "max_iter n_epochs num_epochs n_iter": "use epochs",
        "verbose bar disp": "progress=True shows a bar",
        "errors error_score": 'use on_error="keep"',
        "early_stopping patience n_iter_no_change": "use callbacks=[fastbp.callbacks.EarlyStopping(patience=10)]",
        "window": "the examples are in memory, and are shuffled as a whole",
        "sync_every": "ranks share the networks, not the examples",
    }),
    "Trainer": _table({
        **STEPS,
        "epochs max_iter callbacks validation_data validation_split metrics verbose progress checkpoint":
            "fastbp.train has epochs; a Trainer takes single steps",
        "batch_size order": "Trainer.epoch has it",
        "model network": "the network is net",
        "lam": "use weight_decay, or batch_lam",
        "class_weight class_weights sample_weight": "Trainer.step has sample_weight, a weight for each example",
    }),
    "minimize": _table({
        "lr learning_rate learning_rate_init": "none is needed, each step searches along a line",
        "epochs max_iter n_iter iterations n_epochs": "use maxiter",
        "optimizer solver algorithm": "use method",
        "batch_size shuffle": "it takes all examples at once; fastbp.train takes batches",
        "verbose disp progress": "use callback, or options of SciPy",
        "seed random_state": "nothing is random here",
        "callbacks": "use callback, a function",
        "jac gradient": "it is D of the network",
        "alpha l2 lambda lambda_": "use weight_decay",
        "ftol gtol": "use tol, or options={'ftol': 1e-9}",
        "n_jobs threads num_threads": "use n_threads",
    }),
    "Network": _table({
        "units hidden hidden_units hidden_layers hidden_layer_sizes hidden_sizes n_hidden sizes layers input_dim "
        "input_size input_shape output_size n_inputs n_outputs": "use layer_sizes, such as Network([64, 100, 10])",
        "hidden_activation activations activation_function nonlinearity act": "use activation",
        "output_activation out_activation final_activation last_activation": "use output",
        "criterion objective loss_fn loss_function": "use loss",
        "kernel_initializer initializer weight_init weights_init weights theta Theta": "use init",
        "random_state rng random_seed": "use seed",
        "lr learning_rate learning_rate_init": f"fastbp.train has the optimizer: {RATE}",
        "solver": "fastbp.train has the optimizer",
        "alpha l2": "fastbp.train has weight_decay",
        "max_iter": "fastbp.train has epochs",
        "delta": "use huber_delta",
        "smoothing smooth": "use label_smoothing",
        "tau q": "use quantile",
        "use_bias bias": "every layer has a bias",
        "device": "fastbp computes on the CPU",
        "precision": "use dtype",
    }),
    "optimizers": _table({
        "lr rate eta step_size alpha": "use learning_rate",
        "betas beta": "use beta_1 and beta_2",
        "eps": "use epsilon",
        "rho": "use decay",
        "weight_decay l2": "use weight_decay of fastbp.train, or fastbp.AdamW",
        "params parameters model": "fastbp.train brings optimizer and network together",
        "initial_accumulator_value": "use initial",
        "etas": "use eta_minus and eta_plus",
        "clipnorm clip_norm": "use clip_norm of fastbp.train",
        "amsgrad foreach fused maximize decoupled": "there is no such form of it here",
    }),
    "lbfgs": _table({
        "lr learning_rate": "a line search finds each step",
        "maxcor history_size m": "use memory",
        "tol tolerance_grad pgtol": "use gtol",
        "tolerance_change factr": "use ftol",
        "max_eval max_ls line_search_fn": "use maxls",
        "max_iter maxiter": "fastbp.train has epochs: one is an iteration",
        "weight_decay l2": "use weight_decay of fastbp.train",
        "params parameters model": "fastbp.train brings optimizer and network together",
    }),
    "schedules": _table({
        "lr initial_lr base_lr max_lr initial_learning_rate": "use learning_rate",
        "gamma decay_rate": "use factor",
        "step_size": "use every",
        "decay_steps T_max T_0 total_steps max_steps": "use steps",
        "eta_min min_lr": "use least",
        "T_mult": "use growth",
        "warmup_steps": "use warmup",
        "pct_start": "use rise",
        "optimizer": "the optimizer takes the schedule as its learning_rate",
        "epochs": "a schedule counts steps, of which an epoch has ceil(m / batch_size)",
    }),
    "callbacks": _table({
        "restore_best_weights": "use restore_best",
        "threshold tol": "use min_delta",
        "min_lr": "use least",
        "n_iter_no_change": "use patience",
        "verbose": "callbacks print nothing; history.stopped tells why the training ended",
    }),
}
HINTS["rprop"] = HINTS["optimizers"]      # their modules
ATTRIBUTES = _table({
    "fit train": "fastbp.train(net, X, Y, epochs=20) trains it",
    "partial_fit train_on_batch": "fastbp.Trainer(net).step(X, Y) takes a step",
    "compile": "the loss belongs to the Network, the optimizer to fastbp.train",
    "predict_proba": "net.predict(X) returns the outputs, with softmax and sigmoid probabilities",
    "predict_classes": "net.predict(X).argmax(axis=1) are the classes",
    "score": "net.evaluate(X, Y) returns the cost and the accuracy",
    "grad gradient": "net.cost_and_gradient(X, Y) returns J and D",
    "save save_weights dump": "fastbp.save(path, net) writes it",
    "load load_weights load_state_dict": "fastbp.load(path) reads a network",
    "parameters weights state_dict get_weights set_weights coefs_ intercepts_":
        "net.theta are all parameters, net.Theta the matrices by layer",
    "units": "net.layer_sizes are the units of the layers",
    "count_params": "net.n_parameters is their number",
    "to": "net.copy(dtype) is a copy in another dtype",
})


def explained(function: F) -> F:
    """A function or `__init__` whose unknown and missing keywords raise a TypeError that says what to use instead.

    The signature stays as it is. A correct call costs two comparisons of sets.
    """
    code = function.__code__
    names = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    known, places = frozenset(names), code.co_argcount
    needed = frozenset(names[places:]) - (function.__kwdefaults__ or {}).keys()
    name = function.__qualname__.removesuffix(".__init__")
    hints = HINTS.get(name) or HINTS[function.__module__.rpartition(".")[2]]
    ARGUMENTS[name] = names

    @wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        if len(args) > places or not needed <= given.keys() <= known:
            raise TypeError(_wrong(name, names, hints, places, len(args), needed, given))
        return function(*args, **given)

    return cast(F, call)


def attribute(name: str) -> str:
    """The message for an attribute that a network does not have."""
    hint = ATTRIBUTES.get(key(name))
    return f"'Network' object has no attribute {name!r}{f'; {hint}' if hint else ''}"


def _wrong(
    name: str, names: tuple[str, ...], hints: Table, places: int, args: int, needed: Collection[str],
    given: Collection[str],
) -> str:
    """The message for a call with wrong arguments."""
    wrong = [f"{word!r}{_hint(name, names, hints, word)}" for word in given if word not in names]
    if wrong:
        return f"{name}() has no argument {', and no '.join(wrong)}"
    own = 1 if names[0] == "self" else 0
    if args > places:
        by_place, by_name = names[own:places], names[places:]
        rest = f"; pass the others by name: {', '.join(f'{each}=' for each in by_name[:3])} ..." if by_name else ""
        one = ", one list such as [64, 100, 10]," if name == "Network" else ""
        return f"{name}() takes {', '.join(by_place)}{one} by position; got {args - own} arguments{rest}"
    missing = [each for each in needed if each not in given]
    number = ", the number of times to go over the examples, such as epochs=20" if missing == ["epochs"] else ""
    return f"{name}() needs {', '.join(missing)}{number}"


def _hint(name: str, names: tuple[str, ...], hints: Table, word: str) -> str:
    """What to use instead of this argument, after a colon or semicolon; every word gets a hint."""
    own = [each for each in names if each != "self"]
    hint = hints.get(key(word))
    if hint is not None:
        return f": {hint}"
    for other in "train", "Network":
        if other != name and word in ARGUMENTS.get(other, ()):
            return f": it is an argument of fastbp.{other}"
    from difflib import get_close_matches  # imported here, since it would slow down every import of fastbp

    by_key = {key(each): each for each in own}
    close = get_close_matches(key(word), by_key, n=1)
    return f": did you mean {by_key[close[0]]!r}?" if close else f"; it has {', '.join(own)}"

