/* The closed sets: activations, outputs, losses and update rules, each with its name and what its callers must
 * know. The functions are in activations.h, losses.h and update.h; Python reads these lists from here. */
#ifndef FASTBP_NAMES_H
#define FASTBP_NAMES_H

/* X(name, keeps): keeps = 1: g'(z) is computed and kept along with a = g(z), because a has lost its digits. */
#define ACTIVATIONS(X)                                                                                            \
    X(sigmoid, 1) X(tanh, 1) X(relu, 0) X(identity, 0) X(leaky_relu, 0) X(elu, 1) X(softplus, 0) X(silu, 1) X(gelu, 1)

/* X(name, lowest, highest): the range of the output, and so of the targets. */
#define OUTPUTS(X)                                                                                                \
    X(sigmoid, 0, 1) X(softmax, 0, 1) X(identity, -INFINITY, INFINITY) X(tanh, -1, 1) X(exp, 0, INFINITY)

/* X(output, loss): the pairs of docs/math.md. */
#define PAIRS(X)                                                                                                  \
    X(sigmoid, cross_entropy) X(softmax, cross_entropy) X(exp, poisson) X(sigmoid, squared_error)                 \
    X(softmax, squared_error) X(identity, squared_error) X(tanh, squared_error) X(identity, absolute_error)       \
    X(identity, huber) X(identity, quantile)

/* X(name, parameter, usual, below): the name of its parameter or NULL, the default, and the bound it must lie below. */
#define LOSSES(X)                                                                                                 \
    X(cross_entropy, "label_smoothing", 0, 1) X(squared_error, NULL, 0, 0) X(poisson, NULL, 0, 0)                 \
    X(absolute_error, NULL, 0, 0) X(huber, "huber_delta", 1, INFINITY) X(quantile, "quantile", 0.5, 1)

/* X(name, settings, scalars, slots, asks, names of the slots): the numbers of these that the rule has. If asks > 0, the
 * rule has one more slot when setting number `asks` is not 0. The settings, in order, are those of the class of the same
 * name in fastbp/optimizers.py, the learning rate first. */
#define RULES(X)                                                                                                  \
    X(sgd, 3, 0, 0, 1, "v") X(adam, 5, 0, 2, 0, "m", "v") X(adamw, 6, 0, 2, 0, "m", "v")                          \
    X(nadam, 5, 1, 2, 0, "m", "v") X(rmsprop, 4, 0, 1, 3, "v", "b") X(adagrad, 2, 0, 1, 0, "v")                   \
    X(rprop, 5, 0, 2, 0, "last", "step")

#define X(name, keeps) G_##name,
enum activation { ACTIVATIONS(X) G_COUNT };
#undef X
#define X(name, low, high) OUTPUT_##name,
enum output { OUTPUTS(X) OUTPUT_COUNT };
#undef X
#define X(name, parameter, usual, below) LOSS_##name,
enum loss { LOSSES(X) LOSS_COUNT };
/* the caller's own losses: a function pointer for either dtype, or a function in Python, which calls from outside */
enum own_loss { LOSS_OWN_F32 = LOSS_COUNT, LOSS_OWN_F64, LOSS_OWN_PYTHON, LOSS_CODES };
#undef X
#define X(name, ...) RULE_##name,
enum rule { RULES(X) RULE_COUNT };
#undef X

#endif
