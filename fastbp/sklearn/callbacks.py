"""Callbacks of a fit: plain callables after each epoch, and scikit-learn's protocol where it has one (1.9 on)."""

from contextlib import contextmanager

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:     # type: ignore[no-redef]
        """scikit-learn before 1.9 has no callbacks."""


@contextmanager
def running(estimator, X, y, epochs):
    """A function to be called with the estimator after each epoch; it returns True if a callback asks to stop."""
    own = estimator.callbacks or ()
    if callable(own):
        own = (own,)
    theirs = hasattr(estimator, "_skl_callbacks") and hasattr(estimator, "_init_callback_context")
    if not own and not theirs:
        yield lambda estimator: False
        return
    root = estimator._init_callback_context(max_subtasks=epochs) if theirs else None
    if theirs:
        root.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
    current = None

    def begin():
        context = root.subcontext(task_name="epoch")
        context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
        return context

    def report(estimator):
        nonlocal current
        stop = sum(callback(estimator) is True for callback in own) > 0
        if theirs:
            current = begin()
            stop |= bool(current.call_on_fit_task_end(
                estimator=estimator, X=X, y=y, reconstruction_attributes=lambda: _snapshot(estimator)
            ))
        return stop

    yield report
    if theirs:
        root.call_on_fit_task_end(
            estimator=estimator, X=X, y=y, reconstruction_attributes=lambda: _snapshot(estimator)
        )


def _snapshot(estimator):
    """The weights as they are now: what makes a copy of the estimator one that can predict."""
    return {
        "coefs_": [W.copy() for W in estimator.coefs_],
        "intercepts_": [b.copy() for b in estimator.intercepts_],
    }
