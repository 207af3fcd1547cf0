"""The command ``eventapi``, and ``python -m eventapi``.

Until the program runs, Ctrl-C ends the process as the system does it, because an exception in the
middle of an import would be printed as a traceback.
"""

import _signal  # type: ignore[import-not-found]  # `signal` itself takes a moment to import

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from eventapi.cli.main import main

if __name__ == "__main__":
    main()
