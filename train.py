"""Train a network: ``python train.py model=cnn data=cifar10``, see ``python train.py --help``."""

from leyden.cli import main

if __name__ == "__main__":
    main()
