"""`python -m wholegpt`, the same as `wholegpt`; `torchrun -m wholegpt` starts it on many processes."""

from wholegpt.cli import main

if __name__ == "__main__":
    main()
