"""Fields of pydantic-settings that come from the vault."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from hexr import BatchError, UnavailableError, VaultClient
from hexr.settings import HexrSettingsSource


class FromVault(BaseSettings):
    @classmethod
    def settings_customise_sources(cls, settings_cls: type[BaseSettings], init_settings: Any, **rest: Any) -> Any:
        return init_settings, HexrSettingsSource(settings_cls)


class Settings(FromVault):
    api_key: SecretStr = Field(json_schema_extra={"hexr": "api-keys/openai"})
    port: int = Field(default=1, json_schema_extra={"hexr": "db/port"})
    region: str = "eu"


def test_fields_come_from_the_vault(vault: VaultClient) -> None:
    vault.put("api-keys/openai", "sk-settings")
    settings = Settings()
    assert (settings.api_key.get_secret_value(), settings.port, settings.region) == ("sk-settings", 1, "eu")
    assert "sk-settings" not in repr(settings)
    vault.put("db/port", "5432")
    assert (Settings().port, Settings(port=2).port) == (5432, 2)


def test_what_is_required_is_named(vault: VaultClient) -> None:
    class Two(FromVault):
        a: str = Field(json_schema_extra={"hexr": "none/a"})
        b: str = Field(json_schema_extra={"hexr": "none/b"})

    with pytest.raises(BatchError, match="none/a, none/b"):
        Two()


def test_no_vault_is_no_default(vault: VaultClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Optional(BaseSettings):
        a: str = Field(default="d", json_schema_extra={"hexr": "none/a"})

    with VaultClient("127.0.0.1:9", timeout=0.3) as nobody, pytest.raises(UnavailableError):
        HexrSettingsSource(Optional, nobody)()
    assert HexrSettingsSource(Optional, vault)() == {}
    assert HexrSettingsSource(type("Plain", (BaseSettings,), {}))() == {}
