"""Settings: where the home, the catalog and the artifacts are.

Every setting is read from the environment (`FLOWLEARNER_HOME`, `FLOWLEARNER_CATALOG`, ...).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

GIB = 1 << 30


class Settings(BaseSettings):
    """What a process needs to know of its surroundings.

    Attributes:
        home: folder of everything that flowlearner keeps on this machine.
        catalog: SQLAlchemy URL; empty means a SQLite file under `home`.
        artifacts: fsspec URL of the artifact store; empty means a folder under `home`.
        ray_address: address of an existing Ray cluster; empty means none.
        file_limit_bytes: input files up to this size are stored as artifacts, larger ones by reference.
        inline_limit_bytes: encoded values below this size live in the catalog row itself.
        snapshot_limit_bytes: user source above this size in total is not captured.
        diff_limit_bytes: of changes to the commit no more than this is kept.
    """

    model_config = SettingsConfigDict(env_prefix="FLOWLEARNER_", env_ignore_empty=True, frozen=True)

    home: Path = Field(default_factory=lambda: Path.home() / ".flowlearner")
    catalog: str = ""
    artifacts: str = ""
    ray_address: str = ""
    file_limit_bytes: int = GIB
    inline_limit_bytes: int = 64 * 1024
    snapshot_limit_bytes: int = 20 * 1024 * 1024
    diff_limit_bytes: int = 1024 * 1024

    @field_validator("home")
    @classmethod
    def _check_home(cls, home: Path) -> Path:
        if "?" in str(home):
            raise ValueError("a '?' would end the path in the URL of the catalog; name another folder")
        return home

    @field_validator("artifacts")
    @classmethod
    def _check_artifacts(cls, url: str) -> str:
        if url.startswith("memory:"):
            raise ValueError("values in memory would be lost at the end of the process; name a folder or URL")
        return url

    @property
    def catalog_url(self) -> str:
        return self.catalog or f"sqlite:///{self.home_path / 'catalog.db'}"

    @property
    def artifacts_url(self) -> str:
        return self.artifacts or str(self.home_path / "artifacts")

    @property
    def home_path(self) -> Path:
        return self.home.expanduser().absolute()


def get_settings() -> Settings:
    """Read the settings from the environment as it is now."""
    return Settings()
