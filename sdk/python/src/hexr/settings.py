"""A source for pydantic-settings (extra ``settings``): fields that name a secret.

class Settings(BaseSettings):
    api_key: SecretStr = Field(json_schema_extra={"hexr": "api-keys/openai"})
    region: str = "eu"

    @classmethod
    def settings_customise_sources(cls, settings_cls, init_settings, env_settings, dotenv_settings, file_secret_settings):
        return init_settings, HexrSettingsSource(settings_cls), env_settings
"""

from __future__ import annotations

from typing import Any, cast

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from . import _api
from ._client import VaultClient
from ._default import client
from .errors import HexrError


class HexrSettingsSource(PydanticBaseSettingsSource):
    """Fills the fields whose ``json_schema_extra`` has ``hexr``: a secret's path. They come in
    one round trip. A required one that can't be had is a BatchError that names all of them; one
    with a default may be missing."""

    def __init__(self, settings_cls: type[BaseSettings], vault: VaultClient | None = None) -> None:
        super().__init__(settings_cls)
        self._vault = vault

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        extra = field.json_schema_extra
        path = cast(dict[str, Any], extra).get("hexr") if isinstance(extra, dict) else None
        return path, field_name, False

    def __call__(self) -> dict[str, Any]:
        paths: dict[str, str] = {}
        for name, field in self.settings_cls.model_fields.items():
            path, _, _ = self.get_field_value(field, name)
            if path:
                paths[name] = str(path)
        vault = self._vault or client()
        found = vault.find_secrets(paths.values())
        required = {path for name, path in paths.items() if self.settings_cls.model_fields[name].is_required()}
        secrets = _api.all_or_error({p: r for p, r in found.items() if p in required or not _api.is_missing(r)})
        if isinstance(secrets, HexrError):
            raise secrets
        return {name: secrets[path].reveal() for name, path in paths.items() if path in secrets}
