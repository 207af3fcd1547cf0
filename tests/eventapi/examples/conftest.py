"""The fixture that an application's tests use, for the tests of the examples."""

from eventapi.testing.plugin import eventapi_server

__all__ = ["eventapi_server"]
