"""Lists of runs that people have given a name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flowlearner.catalog import Catalog
from flowlearner.errors import NotFoundError

GOLDEN = Path(__file__).parents[1] / "golden"


def test_views_are_listed_by_name_and_replaced(catalog: Catalog) -> None:
    catalog.save_view("late", "workflow=delays")
    catalog.save_view("best", "order=metric.auc")
    catalog.save_view("late", "workflow=delays&status=FAILED")
    assert [(v.name, v.query) for v in catalog.list_views()] == [
        ("best", "order=metric.auc"),
        ("late", "workflow=delays&status=FAILED"),
    ]
    assert all(v.created_at for v in catalog.list_views())


def test_a_view_is_removed(catalog: Catalog) -> None:
    catalog.save_view("late", "")
    with pytest.raises(NotFoundError, match=r"no view 'lat'; there is late. Did you mean 'late'"):
        catalog.delete_view("lat")
    catalog.delete_view("late")
    assert catalog.list_views() == []


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("catalog-*.db"))[2:], ids=lambda p: p.name)
def test_the_views_of_every_release_read(path: Path, tmp_path: Path) -> None:
    shutil.copy(path, tmp_path / "catalog.db")
    with Catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        assert [(v.name, v.query) for v in catalog.list_views()] == [
            ("late", "workflow=delays&order=metric.auc")
        ]
