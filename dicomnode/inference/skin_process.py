"""A process for one volume: a pickled `Scene` comes in, pickled pictures go out.

Started as a program of its own, since a child of `multiprocessing` would import all that the
parent's main module does before it draws.
"""

from __future__ import annotations

import pickle
import sys

from dicomnode.inference.skin_scene import Scene, draw

NOT_INSTALLED = 3


def main() -> int:
    scene: Scene = pickle.load(sys.stdin.buffer)  # written by our own parent
    try:
        drawn = draw(scene)
    except ImportError:
        return NOT_INSTALLED
    sys.stdout.buffer.write(pickle.dumps(drawn))
    return 0


if __name__ == "__main__":
    sys.exit(main())
