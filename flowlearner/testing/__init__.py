"""Suites that a codec, an artifact store or an operator of one's own should pass. They need pytest."""

import pytest

pytest.register_assert_rewrite("flowlearner.testing.codecs", "flowlearner.testing.stores")
