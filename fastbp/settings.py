"""What update rules and schedules have in common: they hold settings and nothing else."""


class Settings:
    """Compared and shown by its attributes."""

    def __repr__(self):
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None
