"""Checks that a codec, an artifact store or an operator of one's own should pass. They need pytest."""

import pytest

pytest.register_assert_rewrite("flowlearner.testing.codecs", "flowlearner.testing.stores")

from flowlearner.testing.codecs import Case, CodecConformance  # noqa: E402 - after the registration
from flowlearner.testing.operators import check_operator  # noqa: E402
from flowlearner.testing.stores import ArtifactStoreConformance  # noqa: E402

__all__ = ["ArtifactStoreConformance", "Case", "CodecConformance", "check_operator"]
