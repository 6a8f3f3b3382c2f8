"""`python -m bench`, in a clean environment."""

from .environment import restart

if __name__ == "__main__":
    restart()  # before anything loads NumPy
    from .command import main

    main()
