"""The command ``eventapi``, and ``python -m eventapi``.

Until the program runs, SIGINT has the system's default action: Python would raise
`KeyboardInterrupt` in the middle of an import and print a traceback.
"""

import _signal  # type: ignore[import-not-found]  # `signal` is slower to import

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from eventapi.cli.main import main

if __name__ == "__main__":
    main()
